"""What a coordinate check is asked for, looked at before any training."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.richness.activations import Forward, common_paths, paths_of
from holdfast.richness.registry import Matrix, describe_layer
from holdfast.seeds import generator, seeded

Build = Callable[[int, int], nn.Module]
Over = Literal["width", "depth"]

_DRAWN = 64
"""Samples, where a shape is given alone."""


def check_numbers(lr: float, steps: int, seeds: Sequence[int], band: float) -> None:
    """Refuse (`ValueError`) numbers that will not do."""
    for name, value in (("lr", lr), ("band", band)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")
    if steps < 1:
        raise ValueError(f"steps must be a positive integer, got {steps!r}")
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be one or more different integers, got {list(seeds)}")


def sizes_of(
    widths: Sequence[int] | None, depths: Sequence[int] | None
) -> tuple[Over, tuple[int, ...]]:
    """What is varied, and its values in order.

    Raises:
        ValueError: both or none are given, or fewer than two different positive integers.
    """
    if (widths is None) == (depths is None):
        raise ValueError("give widths or depths, one of the two")
    over: Over = "width" if depths is None else "depth"
    given = list(depths if widths is None else widths)  # type: ignore[arg-type]
    if len(set(given)) < 2 or not all(type(size) is int and size > 0 for size in given):
        raise ValueError(f"{over}s must be two or more different positive integers, got {given}")
    return over, tuple(sorted(set(given)))


def built(build: Build, size: int, seed: int, x: Tensor | None = None) -> nn.Module:
    """The model of a size and seed, of the float type and on the device of the batch.

    What it draws from torch's global generators follows the seed too, and leaves them as they were.

    Raises:
        TypeError: what was built is no module.
    """
    with seeded(seed, "coordinate check", "build"):
        model = build(size, seed)
    if not isinstance(model, nn.Module):
        raise TypeError(f"build({size}, {seed}) must give a module, got {type(model).__name__}")
    if x is None:
        return model
    return model.to(x.device, x.dtype if x.is_floating_point() else None)


def batch(
    model: nn.Module, x: Tensor | Sequence[int], y: Tensor | None, forward: Forward
) -> tuple[Tensor, Tensor]:
    """The batch given, or what is lacking drawn: normal samples, uniform classes.

    Raises:
        ValueError: x and y differ in length, or the model does not take x or gives no matrix.
    """
    draws = generator(0, "coordinate check", "batch")
    if not isinstance(x, Tensor):
        x = torch.randn(_DRAWN, *x, generator=draws)
    if y is not None:
        if len(y) != len(x):
            raise ValueError(f"y must hold one target a sample: got {len(y)} for {len(x)} samples")
        return x, y
    model.to(x.device, x.dtype if x.is_floating_point() else None)
    with torch.no_grad():
        output = forward(model.eval(), x)
    if output.ndim != 2:
        raise ValueError(
            f"y must be given for outputs of shape {tuple(output.shape)}; classes are drawn for "
            "(n, outputs) alone"
        )
    return x, torch.randint(output.shape[1], (len(x),), generator=draws).to(x.device)


def check_together(build: Build, over: Over, sizes: Sequence[int], seed: int) -> list[str]:
    """The paths to look at in the models of all sizes; widths that do not scale together refused.

    The fan-in of each layer must stay, as of an input, or be in one ratio with all others that
    change: a layer that stays narrow would move as in a narrow net.

    Raises:
        ValueError: naming layers and fan-ins.
    """
    paths, fans = [], []
    for size in sizes:
        model = built(build, size, seed)
        paths.append(paths_of(model))
        fans.append(_fans(model))
    if over == "width":
        for width, other_paths, other_fans in zip(sizes[1:], paths[1:], fans[1:], strict=True):
            pair = f"models of width {sizes[0]} and {width}"
            if strange := sorted(set(other_paths) ^ set(paths[0])):
                raise ValueError(f"{pair} differ in their modules: {', '.join(strange[:5])}")
            _check_ratios(pair, fans[0], other_fans)
    elif all(other == paths[0] for other in paths):
        raise ValueError(
            "models of all depths have the same modules: build takes no notice of the depth"
        )
    return common_paths(paths)


def _check_ratios(pair: str, narrow: dict[str, int], wide: dict[str, int]) -> None:
    changed: dict[float, str] = {}
    for path, fan in wide.items():
        if fan != narrow[path]:
            changed.setdefault(fan / narrow[path], path)
    if not changed:
        raise ValueError(f"{pair} are equally wide: build takes no notice of the width")
    if len(changed) > 1:
        shown = ", ".join(f"{p or 'the model'} {narrow[p]} -> {wide[p]}" for p in changed.values())
        raise ValueError(
            f"{pair} do not scale together: fan-ins go {shown}; make all hidden layers wider by "
            "one factor"
        )


def _fans(model: nn.Module) -> dict[str, int]:
    found = ((path, describe_layer(module)) for path, module in model.named_modules())
    return {p: d.fan_in for p, d in found if isinstance(d, Matrix) and d.fan_in is not None}


def check_seeds(
    seeds: Sequence[int],
    start: Float[np.ndarray, "sizes seeds layers"],
    moved: Float[np.ndarray, "sizes seeds layers"],
) -> None:
    """Refuse (`ValueError`) seeds of which two gave the very same numbers."""
    both: Any = np.stack([start, moved])
    for i in range(1, len(seeds)):
        for j in range(i):
            if np.array_equal(both[:, :, i], both[:, :, j]) and np.isfinite(both).all():
                raise ValueError(
                    f"seeds {seeds[j]} and {seeds[i]} give the same weights: pass the seed that "
                    "build is given on to what draws them, such as parametrize(..., seed=seed)"
                )
