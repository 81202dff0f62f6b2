"""What may be asked beside the theory itself: networks, and a phase diagram."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.config import Config
from holdfast.signatures import typed_options
from holdfast.theory.compare import check_widths
from holdfast.theory.finite import seed_list
from holdfast.theory.solve import SOLVERS


@dataclass(frozen=True)
class Compared:
    """Networks to train beside the theory.

    Args:
        widths: N.
        seeds: of each, or their number.
        gamma0: those of the prediction at which to train them; all by default.
        centred: whether their outputs at the start are subtracted, see `holdfast.theory.networks`.
    """

    widths: Sequence[int] = (64, 128, 256, 512, 1024)
    seeds: int | Sequence[int] = 10
    gamma0: Sequence[float] | None = None
    centred: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", check_widths(self.widths))
        seed_list(self.seeds)

    @property
    def drawn(self) -> tuple[int, ...]:
        """The seeds."""
        return seed_list(self.seeds)


@dataclass(frozen=True)
class Phased:
    """A phase diagram.

    Args:
        similarity: of the tasks: values of the option ``similarity`` of the stream, or of
            ``gaussian``.
        gamma0: in the units of the prediction; its own by default.
        seeds: of the data, or their number.
        solver: in place of that of the prediction, such as one with fewer samples.
    """

    similarity: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0)
    gamma0: Sequence[float] | None = None
    seeds: int | Sequence[int] = 1
    solver: str | Config | None = None

    def __post_init__(self) -> None:
        for value in self.similarity:
            if not 0 <= value <= 1:
                raise ValueError(f"phase.similarity must hold values in [0, 1], got {value!r}")
        if not self.similarity or len(set(self.similarity)) < len(self.similarity):
            raise ValueError(f"phase.similarity needs values, each once; got {self.similarity!r}")
        object.__setattr__(self, "similarity", tuple(sorted(self.similarity)))
        seed_list(self.seeds)
        if self.gamma0 is not None:
            object.__setattr__(self, "gamma0", grid("phase.gamma0", self.gamma0))
        if self.solver is not None:
            named_solver(self.solver)

    @property
    def drawn(self) -> tuple[int, ...]:
        """The seeds."""
        return seed_list(self.seeds)


def named_solver(solver: str | Config) -> tuple[str, Config]:
    """Name and options of a solver.

    Raises:
        ValueError: it has no name, or an unknown one.
    """
    options = {"name": solver} if isinstance(solver, str) else dict(solver)
    name = options.pop("name", None)
    if name not in ("auto", *SOLVERS):
        raise ValueError(
            f"solver must be 'auto' or one of {', '.join(SOLVERS)}, or a mapping of such a name "
            f"and options; got {solver!r}"
        )
    return name, options


def section(key: str, given: Config | None, kind: type[Any]) -> Any:
    """A part of a configuration as its type, checked; None stays None."""
    return None if given is None else kind(**typed_options(key, kind, given))


def grid(name: str, values: object) -> tuple[float, ...]:
    """Positive finite numbers, ascending.

    Raises:
        ValueError: something else, none, or one twice.
    """
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(f"{name} must be a list of numbers, got {values!r}")
    for value in values:  # as given, for YAML may hold anything
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value < math.inf:
            raise ValueError(f"{name} must hold positive finite numbers, got {value!r}")
        if values.count(value) > 1:
            raise ValueError(f"{name} holds {value} twice")
    return tuple(sorted(map(float, values)))
