"""What the nonlinearities of a network put out, summed up in one forward pass."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from holdfast.nets.learner import Learner
from holdfast.probes.as_found import as_found
from holdfast.probes.nonlinearities import OUTPUT, Nonlinearity, nonlinearity, unit_axis
from holdfast.probes.saturation import checked_eps, saturated_shares
from holdfast.probes.shown import evenly_spaced
from holdfast.probes.units import magnitudes, nonzero_shares, relative, shares_within
from holdfast.streams.batches import Batch

POSITIONS = 16
"""Positions of space, or tokens, of which the signs are kept."""


@dataclass(frozen=True)
class Activations:
    """What one pass saw of one nonlinearity: h (n, positions, units), summed up.

    Args:
        name: of the innermost module that calls it; with the function's name where that module has
            parts of its own, and a number from the second call on.
        known: what is known of the function.
        features: (n, units), the mean over positions: space, or tokens.
        magnitudes: (units,) E|h_i| over samples and positions.
        nonzero: (units,) share of samples and positions with h_i not 0.
        linear: (units,) share of them in that piece on which the nonlinearity is linear in which
            the unit lies most; `None` where it is linear nowhere, or that is not known.
        saturated: (units,) share of them at a bound; `None` where there are no bounds.
        pattern: (n, positions, units) whether h_i > 0, at up to 16 positions evenly spaced.
    """

    name: str
    known: Nonlinearity
    features: Float[Tensor, "n units"] = field(repr=False)
    magnitudes: Float[Tensor, " units"] = field(repr=False)
    nonzero: Float[Tensor, " units"] = field(repr=False)
    linear: Float[Tensor, " units"] | None = field(repr=False)
    saturated: Float[Tensor, " units"] | None = field(repr=False)
    pattern: Bool[Tensor, "n positions units"] = field(repr=False)

    @property
    def units(self) -> int:
        """How many."""
        return len(self.magnitudes)

    @property
    def dormancy(self) -> Float[Tensor, " units"]:
        """`holdfast.probes.dormancy` of each unit."""
        return relative(self.magnitudes)


def activations(
    model: nn.Module,
    batch: object,
    mode: str = "eval",
    outputs: Sequence[str] = (),
    eps: float = 0.01,
) -> tuple[Activations, ...]:
    """One forward pass without gradients, and what its nonlinearities put out, in order.

    A nonlinearity is seen where torch computes it, as a module (`nn.ReLU`) or as a function
    (`functional.relu`, `torch.tanh`, ``x.sigmoid()``) alike. What torch does not compute as one is
    not: ``x.clamp(min=0)``, a max, ``x * (x > 0)``, the inside of an LSTM, a scripted or compiled
    part; name the module in `outputs` then. The model is left as it was found (`as_found`).

    Units lie along axis 1 if the last linear map before was a convolution, along the last one after
    any other; with none before, or where its output was reshaped since, along axis 1, of three axes
    the last. The axes between are positions. Where a model folds positions into the first axis they
    are unfolded again, if samples come first. What has no samples (a gate that is a parameter) is
    left out.

    Args:
        model: any module.
        batch: what it is called with: a tensor; a mapping of keyword arguments; a `Batch` of
            Holdfast, with its task for a `Learner`; or a list or tuple as data loaders give it, of
            which the first entry is taken.
        mode: ``eval``, or ``train``, in which batch norm takes the statistics of the batch and
            dropout zeroes units, which then are no longer what they are in evaluation.
        outputs: names of modules (`named_modules`) whose outputs are summed up too.
        eps: of `holdfast.probes.saturation`.

    Raises:
        ValueError: another mode or eps, a name that the model does not have, an empty batch, or
            nothing seen: what to do is said.
        TypeError: a batch of another kind.
    """
    checked_eps(eps)
    inputs = _Inputs.of(batch)
    model = getattr(model, "_orig_mod", model)  # of torch.compile
    named = dict(model.named_modules())
    unknown = [name for name in outputs if name not in named]
    if unknown:
        raise ValueError(
            f"outputs holds {unknown[0]!r}, which is no module of the model; it has "
            f"{', '.join(name for name in named if name)}"
        )
    watch = _Watch(inputs.samples, eps)
    with as_found(model, mode), torch.no_grad(), watch.places(named, outputs), watch:
        inputs.passed(model)
    if not watch.found:
        raise ValueError(
            f"no nonlinearity was seen in {type(model).__name__}: it has none, or computes it by "
            "other means than torch's functions for it (clamp, where, a compiled, scripted or "
            "recurrent part); name modules in outputs to look at what they put out"
        )
    return tuple(watch.found)


@dataclass(frozen=True)
class _Inputs:
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    samples: int

    @classmethod
    def of(cls, batch: object) -> "_Inputs":
        if isinstance(batch, Batch):
            return cls((batch.x, batch.task), {}, cls._count(batch.x))
        if isinstance(batch, Mapping):
            first = next((v for v in batch.values() if isinstance(v, Tensor)), None)
            return cls((), batch, cls._count(first))
        x = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
        return cls((x,), {}, cls._count(x))

    @staticmethod
    def _count(x: object) -> int:
        if not isinstance(x, Tensor) or x.ndim == 0:
            raise TypeError(
                "batch must be a tensor, a mapping of tensors, a Batch or a tuple that begins with "
                f"a tensor, with samples along the first axis; got {type(x).__name__}"
            )
        if len(x) == 0:
            raise ValueError("batch is empty: pass at least one sample")
        return len(x)

    def passed(self, model: nn.Module) -> object:
        args = self.args if isinstance(model, Learner) else self.args[:1]
        return model(*args, **self.options)


class _Watch(TorchFunctionMode):
    """Sums up nonlinearities as torch computes them, beneath whichever module calls them."""

    def __init__(self, samples: int, eps: float) -> None:
        super().__init__()
        self.samples, self.eps = samples, eps
        self.found: list[Activations] = []
        self._calls: Counter[str] = Counter()
        self._inside: list[str] = []
        self._units = (0, 0)  # their axis after the last linear map, and the axes it put out

    @contextmanager
    def places(self, named: Mapping[str, nn.Module], outputs: Sequence[str]) -> Iterator[None]:
        """Know inside which module a function is called; hooks are gone afterwards."""
        handles = []
        try:
            for name, module in named.items():
                has_parts = next(module.children(), None) is not None
                enter = partial(self._enter, f"{name}." if has_parts else name)
                leave = partial(self._leave, name if name in outputs else None)
                handles.append(module.register_forward_pre_hook(enter))
                handles.append(module.register_forward_hook(leave))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, place: str, module: nn.Module, args: object) -> None:
        self._inside.append(place)

    def _leave(self, name: str | None, module: nn.Module, args: object, out: object) -> None:
        self._inside.pop()
        if name is not None:
            parts = tuple(out.values()) if isinstance(out, Mapping) else out
            parts = parts if isinstance(parts, (tuple, list)) else (parts,)
            self._see(name, OUTPUT, next((p for p in parts if isinstance(p, Tensor)), None))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        axis, known = unit_axis(func), nonlinearity(func, kwargs)
        if axis is not None:
            self._units = (axis, out.ndim)
        if known is not None:
            place = self._inside[-1] if self._inside else ""
            name = place if place and place[-1] != "." else f"{place}{known.kind}"
            self._see(name.removeprefix("."), known, out)
        return out

    def _see(self, name: str, known: Nonlinearity, out: Tensor | None) -> None:
        """Sum up one output, unless it is not one a sample."""
        if out is None or not out.is_floating_point() or out.ndim < 2 or not out.numel():
            return
        if out.shape[0] % self.samples:
            return
        axis, axes = self._units
        if axes != out.ndim:  # nothing linear yet, or its output has been reshaped
            axis = -1 if out.ndim == 3 else 1
        h = out.detach().movedim(axis, -1)
        h = h.reshape(self.samples, -1, h.shape[-1])
        h = h.float() if h.dtype in (torch.float16, torch.bfloat16) else h
        self._calls[name] += 1
        number = f"#{self._calls[name]}" if self._calls[name] > 1 else ""
        self.found.append(_summed_up(name + number, known, h, self.eps))


def _summed_up(
    name: str, known: Nonlinearity, h: Float[Tensor, "n positions units"], eps: float
) -> Activations:
    """`Activations` of one output."""
    features = h.mean(dim=1)
    nonzero = nonzero_shares(h)
    linear = [
        nonzero if known.nonnegative and piece == (0.0, float("inf")) else shares_within(h, *piece)
        for piece in known.linear
    ]
    return Activations(
        name,
        known,
        features,
        features.mean(dim=0) if known.nonnegative else magnitudes(h),
        nonzero,
        torch.stack(linear).amax(dim=0) if linear else None,
        saturated_shares(h, *known.bounds, eps) if known.bounds else None,
        h[:, evenly_spaced(h.shape[1], POSITIONS).to(h.device)] > 0,
    )
