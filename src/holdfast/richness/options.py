"""The options of a parametrization, checked when made."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

Parametrization = Literal["mup", "ntp", "sp"]
BatchNormChoice = Literal["refuse", "keep", "group"]


@dataclass(frozen=True)
class Richness:
    """How far a net moves: its parametrization and gamma_0.

    The options of `holdfast.richness.parametrize`, which says what they mean, for configurations.

    Args:
        parametrization: ``mup``, ``ntp`` or ``sp``.
        gamma0: from lazy (towards 0) to rich (1), in units of the base width.
        base_width: N_0, where muP and NTP are one.
        readout_std: of the raw readout weights at the start: 0 or 1.
        readout_bias: whether heads have a bias.
        depth_scaling: whether residual branches are multiplied by 1 / sqrt(L).
        gain: of hidden layers; ``auto`` takes sqrt(2) behind a ReLU.
        weights: ``draw`` new ones, or ``keep`` the function of the backbone as it is.
        batch_norm: ``refuse``, ``keep``, or replace by ``group`` norm.
        width: N, where it is not the number of features or channels of the last hidden layer.
        base_head_dim: width of an attention head at the base width, where heads get wider.
        readout: name of the readout layer, where there are no heads and it cannot be inferred.
        inputs: names of the layers that see data, where they are not the first or embeddings.
        branches: names of modules that are residual branches, where their blocks have no rule.

    Raises:
        TypeError, ValueError: naming the option, its value and what is allowed.
    """

    parametrization: Parametrization = "mup"
    gamma0: float = 1.0
    base_width: int = 64
    readout_std: int = 0
    readout_bias: bool = True
    depth_scaling: bool = True
    gain: float | Literal["auto"] = "auto"
    weights: Literal["draw", "keep"] = "draw"
    batch_norm: BatchNormChoice = "refuse"
    width: int | None = None
    base_head_dim: int | None = None
    readout: str | None = None
    inputs: tuple[str, ...] | None = None
    branches: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        self._one_of("parametrization", get_args(Parametrization))
        self._one_of("batch_norm", get_args(BatchNormChoice))
        self._one_of("weights", ("draw", "keep"))
        if self.base_width is None:
            raise ValueError(
                "base_width must be given: the width at which gamma0 is measured and muP is NTP; "
                "without one muP would silently be another parametrization. 64 is usual"
            )
        for name in ("base_width", "width", "base_head_dim"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(f"{name} must be a positive integer, got {value!r}")
        self._positive("gamma0")
        if self.gain != "auto":
            self._positive("gain")
        if self.readout_std not in (0, 1) or isinstance(self.readout_std, bool):
            raise ValueError(f"readout_std must be 0 or 1, got {self.readout_std!r}")
        for name in ("readout_bias", "depth_scaling"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("inputs", "branches"):
            value = getattr(self, name)
            if isinstance(value, str) or not isinstance(value, list | tuple | None):
                raise TypeError(f"{name} must be a list of names, got {value!r}")
            object.__setattr__(self, name, None if value is None else tuple(value))

    def _one_of(self, name: str, allowed: tuple[str, ...]) -> None:
        if getattr(self, name) not in allowed:
            raise ValueError(
                f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}"
            )

    def _positive(self, name: str) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, got {value!r}")
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")
        object.__setattr__(self, name, float(value))
