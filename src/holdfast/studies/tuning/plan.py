"""What a tuning of gamma0 is to do: the two studies that it is made of."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from holdfast.config import Config, build, read_config, resolve
from holdfast.signatures import check_keys
from holdfast.studies.plan import check_runs
from holdfast.studies.study import Study
from holdfast.studies.tuning.widths import at_width, own_width, standard_rate

GRID = (0.01, 0.032, 0.1, 0.18, 0.32, 0.56, 1.0, 1.8)
"""Half decades where a net is lazy, quarters up to a little past muP's 1."""

RICH = 1.0
"""The gamma0 at which muP is NTP at the base width: the rich end, run for comparison."""

Metric = Literal["ae", "average_loss"]

_SHOWN = {
    "ae": ("ae", "le", "cfr"),
    "average_loss": ("average_loss", "learning_loss", "loss_forgetting"),
}


@dataclass(frozen=True)
class Tuning:
    """A search for gamma0* on a narrow copy of a net, and its trial at the width that is wanted.

    Args:
        config: of a run, whose net takes a ``width``. ``richness`` holds the other options of muP,
            ``training.lr`` is eta_0.
        width: of the narrow copy.
        target_width: of the net that is wanted; by default ``net.width`` of `config`.
        gamma0: the grid, three values or more.
        seeds: their number, or the seeds themselves, at both widths; that of `config` is not used.
        neighbours: how many values of the grid on either side of the one found are run at the
            target too.
        metric: what is to be small: ``ae``, or ``average_loss``, for regression too.
        verify: run the whole grid at the target.
        standard_lr: learning rates, or one, of the net in standard parametrization, which is run
            at the target for comparison; an empty list leaves it out. By default that of `config`
            if it has no ``richness``, else one derived from eta_0 (see
            `holdfast.studies.tuning.widths.standard_rate`).
        workers: number of processes; one a core by default, 1 runs all in this process.

    Raises:
        ValueError: one of these is of another form, the net takes no width, or `config` asks for a
            parametrization other than muP.
    """

    config: Config
    width: int = 64
    target_width: int | None = None
    gamma0: Sequence[float] = GRID
    seeds: int | Sequence[int] = 3
    neighbours: int = 1
    metric: Metric = "ae"
    verify: bool = False
    standard_lr: float | Sequence[float] | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        _check_count("width", self.width, 1)
        target = own_width(self.config) if self.target_width is None else self.target_width
        _check_count("target_width", target, 1)
        if target <= self.width:
            raise ValueError(
                f"target_width must be above width, that of the narrow copy; got {target} and "
                f"{self.width}"
            )
        _check_count("neighbours", self.neighbours, 0)
        if self.metric not in get_args(Metric):
            raise ValueError(f"metric must be one of {get_args(Metric)}, got {self.metric!r}")
        if not isinstance(self.verify, bool):
            raise ValueError(f"verify must be True or False, got {self.verify!r}")
        grid = tuple(sorted(_numbers("gamma0", self.gamma0)))
        if len(grid) < 3:
            raise ValueError(
                f"gamma0 needs three values or more, for one to lie between others; got {grid}"
            )
        config = at_width(self.config, target)
        rates = standard_rate(config) if self.standard_lr is None else self.standard_lr
        rates = (rates,) if isinstance(rates, int | float) else rates
        settled = {
            "config": config,
            "target_width": target,
            "gamma0": grid,
            "standard_lr": _numbers("standard_lr", rates),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        self.narrow_study()

    @property
    def target(self) -> int:
        """The width that is wanted."""
        assert self.target_width is not None
        return self.target_width

    @property
    def grid(self) -> tuple[float, ...]:
        """The values of gamma0, ascending."""
        return tuple(self.gamma0)

    @property
    def standard_rates(self) -> tuple[float, ...]:
        """The learning rates of the standard parametrization."""
        assert isinstance(self.standard_lr, tuple)
        return self.standard_lr

    def at(self, width: int, gamma0: float | None = None) -> Config:
        """The configuration of a run in muP, resolved; with the gamma0 of `config` unless given."""
        net = {**self.config["net"], "width": width}
        richness = dict(self.config["richness"] or {"parametrization": "mup"})
        if gamma0 is not None:
            richness["gamma0"] = gamma0
        return resolve({**self.config, "net": net, "richness": richness})

    def near(self, gamma0: float) -> tuple[float, ...]:
        """A value of the grid and its neighbours."""
        place = self.grid.index(gamma0)
        return self.grid[max(0, place - self.neighbours) : place + self.neighbours + 1]

    def narrow_study(self) -> Study:
        """The whole grid at the small width."""
        return self._study(self.width, grid={"richness.gamma0": list(self.grid)})

    def target_study(self, gamma0: float) -> Study:
        """What is run at the target width where `gamma0` is the one found at the small width."""
        values = {*self.grid} if self.verify else {*self.near(gamma0), self.grid[0]}
        variants: dict[str, Any] = {
            cell_label(value): {"richness.gamma0": value} for value in sorted({*values, RICH})
        }
        for rate in self.standard_rates:
            variants[standard_label(rate)] = {"richness": None, "training.lr": rate}
        return self._study(self.target, variants=variants)

    def check(self) -> None:
        """Put together one run of each kind at the target, as far as that goes untrained.

        Raises:
            ValueError, TypeError: a net or richness that cannot be made, or a metric that the
                stream has not.
        """
        if self.metric == "ae" and build(self.at(self.width)).stream[0].is_regression:
            raise ValueError("metric 'ae' is of classes; of regression give 'average_loss'")
        kinds = {cell_label(self.grid[0]), *map(standard_label, self.standard_rates)}
        runs = self.target_study(self.grid[0]).runs()
        check_runs([run for run in runs if run.cell.label in kinds])

    def to_config(self) -> Config:
        """The arguments as YAML and JSON have them."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            k: list(v) if isinstance(v, tuple) else v for k, v in found.items() if v is not None
        }

    @classmethod
    def read(cls, folder: str | Path) -> "Tuning":
        """The tuning that a folder holds.

        Raises:
            FileNotFoundError: it holds none.
            ValueError: its ``tuning.yaml`` holds something else.
        """
        path = Path(folder) / "tuning.yaml"
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no tuning: there is no tuning.yaml in it")
        found = read_config(path)
        check_keys("tuning", found, cls.__dataclass_fields__)
        return cls(**found)

    def _study(self, width: int, **axes: Any) -> Study:
        return Study(
            base=self.at(width),
            seeds=self.seeds,
            name=f"gamma0 at width {width}",
            metrics=_SHOWN[self.metric],
            workers=self.workers,
            **axes,
        )


def cell_label(gamma0: float) -> str:
    """Of a cell of the study at the target."""
    return f"gamma0 {gamma0}"


def standard_label(lr: float) -> str:
    """Of a cell of the study at the target."""
    return f"standard, lr {lr}"


def _check_count(name: str, value: object, least: int) -> None:
    if type(value) is not int or value < least:
        kind = "a positive integer" if least else "0 or a positive integer"
        raise ValueError(f"{name} must be {kind}, got {value!r}")


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    """Positive finite numbers, each once."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{name} must be a list of numbers, got {values!r}")
    values = tuple(values)
    for value in values:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value < math.inf:
            raise ValueError(f"{name} must hold positive finite numbers, got {value!r}")
        if values.count(value) > 1:
            raise ValueError(f"{name} holds {value} twice")
    return tuple(map(float, values))
