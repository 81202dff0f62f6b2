"""A problem of the inputs and targets of tasks."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.theory.activation import Given, activation
from holdfast.theory.memory import require_memory
from holdfast.theory.problem import PROBE, Loss, Problem, absolute_gamma0, number
from holdfast.theory.schedule import Schedule


def problem(
    inputs: Sequence[Float[Tensor, "_ features"]],
    targets: Sequence[Tensor],
    steps: int | Sequence[int] = 200,
    *,
    lr: float | Sequence[float] = 0.1,
    gamma0: float,
    units: Literal["absolute", "base_64"] = "absolute",
    depth: int = 1,
    phi: Given = "relu",
    readout_std: float = 1.0,
    heads: Literal["single", "per_task"] = "single",
    loss: Loss = "mse",
    probes: tuple[Tensor, Tensor, Sequence[int] | int] | None = None,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    batch_size: int | None = None,
    seed: int = 0,
) -> Problem:
    """A problem from the inputs and targets of tasks, each trained for some steps in turn.

    Args:
        inputs: (P_k, D) of each task.
        targets: (P_k,) or (P_k, C) of each task; for cross-entropy also class labels (P_k,) int64,
            0 .. C - 1 in each head.
        steps: of each task.
        lr: eta, of all steps or one a task.
        gamma0: richness.
        units: of `gamma0`: ``absolute``, gamma = gamma_0 sqrt(N), or ``base_64``, as the rest of
            the library has it, an eighth.
        depth: hidden layers.
        phi: activation: a name (linear, relu, tanh, erf, gelu), or a function of torch operations,
            alone or with its derivative.
        readout_std: 0 or more.
        heads: one readout for all tasks, or one a task.
        loss: ``mse`` or ``cross_entropy``.
        probes: (inputs, targets, heads) of points that are watched and never trained on.
        momentum: of the gradient steps.
        weight_decay: lambda (see `Schedule`).
        batch_size: points of a step, drawn in epochs without replacement; all by default.
        seed: of the batches.

    Raises:
        TypeError, ValueError: naming the argument, its value and what is allowed.
    """
    if units not in ("absolute", "base_64"):
        raise ValueError(f"units must be 'absolute' or 'base_64', got {units!r}")
    if heads not in ("single", "per_task"):
        raise ValueError(f"heads must be 'single' or 'per_task', got {heads!r}")
    richness = number("gamma0", gamma0)
    _check_lists(inputs, targets)
    counts = [len(x) for x in inputs]
    head = torch.arange(len(counts)) * (heads == "per_task")
    every, wanted, answering = list(inputs), list(targets), [head.repeat_interleave(_of(counts))]
    names = [(f"inputs[{k}]", f"targets[{k}]") for k in range(len(counts))]
    if probes is not None:
        x, y, which = _probes(probes, int(head.max()) + 1)
        every, wanted, answering = [*every, x], [*wanted, y], [*answering, which]
        names.append(("inputs of probes", "targets of probes"))
    _check_shapes(every, wanted, names)
    _check_memory(sum(map(len, every)))
    x = torch.cat([x.double() for x in every])
    y = _columns(wanted, names, loss)
    task = torch.full((len(x),), PROBE)
    task[: sum(counts)] = torch.arange(len(counts)).repeat_interleave(_of(counts))
    schedule = Schedule.in_turn(counts, steps, lr, len(x), momentum, weight_decay, batch_size, seed)
    absolute = richness if units == "absolute" else absolute_gamma0(richness)
    return Problem(
        x @ x.T / x.shape[1], y, task, torch.cat(answering), schedule, absolute, depth,
        activation(phi), number("readout_std", readout_std), loss, x,
    )  # fmt: skip


def _of(counts: list[int]) -> Tensor:
    return torch.tensor(counts)


def _check_lists(inputs: object, targets: object) -> None:
    for name, given in (("inputs", inputs), ("targets", targets)):
        if not isinstance(given, Sequence):
            shape = f" of shape {tuple(given.shape)}" if isinstance(given, Tensor) else ""
            raise TypeError(
                f"{name} must be a list of tensors, one a task, got {type(given).__name__}{shape}"
            )
        for k, values in enumerate(given):
            if not isinstance(values, Tensor):
                raise TypeError(
                    f"{name}[{k}] must be a tensor, got {type(values).__name__}; "
                    "torch.as_tensor makes one of an array"
                )
    assert isinstance(inputs, Sequence)
    assert isinstance(targets, Sequence)
    if not inputs or len(inputs) != len(targets):
        raise ValueError(
            f"inputs and targets need one entry a task, got {len(inputs)} and {len(targets)}"
        )


def _probes(probes: object, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and heads of probes, a head each."""
    if not isinstance(probes, tuple) or len(probes) != 3:
        raise ValueError("probes must be (inputs, targets, heads)")
    x, y, which = probes
    _check_lists([x], [y])
    own = torch.tensor([which] * len(x) if isinstance(which, int) else list(which)).long()
    if len(own) != len(x):
        raise ValueError(f"probes need a head each, got {len(own)} heads for {len(x)} points")
    if len(own) and not 0 <= int(own.min()) <= int(own.max()) < heads:
        raise ValueError(f"heads of probes must lie in 0 .. {heads - 1}, got {which!r}")
    return x, y, own


def _check_shapes(
    inputs: Sequence[Tensor], targets: Sequence[Tensor], names: Sequence[tuple[str, str]]
) -> None:
    for x, y, (own, other) in zip(inputs, targets, names, strict=True):
        if x.ndim != 2:
            raise ValueError(
                f"{own} must be (points, features), got {tuple(x.shape)}; flatten images"
            )
        if x.shape[1] != inputs[0].shape[1] or not x.numel():
            features = inputs[0].shape[1]
            raise ValueError(
                f"{own} must be (points, {features}), one point or more, got {tuple(x.shape)}"
            )
        if not bool(torch.isfinite(x).all()):
            raise ValueError(f"{own} holds values that are not finite")
        if y.ndim not in (1, 2) or not y.numel():
            raise ValueError(
                f"{other} must be (points,) or (points, outputs), got {tuple(y.shape)}"
            )
        if len(x) != len(y):
            raise ValueError(f"{own} has {len(x)} points, {other} has {len(y)}")


def _check_memory(points: int) -> None:
    """The kernel, and as much again thrice while it is looked at."""
    require_memory(
        lambda count: 32 * count**2, points, "points", "the kernel", remedy="Take fewer",
    )  # fmt: skip


def _columns(
    targets: Sequence[Tensor], names: Sequence[tuple[str, str]], loss: Loss
) -> Float[Tensor, "points outputs"]:
    """Targets of all points, one-hot where they are classes."""
    if loss == "cross_entropy" and any(y.ndim == 1 for y in targets):
        for y, (_, name) in zip(targets, names, strict=True):
            if y.ndim != 1 or y.is_floating_point():
                raise ValueError(
                    "targets of cross-entropy must be classes in integers (points,), or "
                    "distributions (points, outputs), the same for all; "
                    f"{name} is {tuple(y.shape)} of {y.dtype}"
                )
        labels = torch.cat([y.long() for y in targets])
        if int(labels.min()) < 0:
            raise ValueError(f"targets must be classes 0, 1, ..., got {int(labels.min())}")
        return torch.nn.functional.one_hot(labels).double()
    columns = [y.double().reshape(len(y), -1) for y in targets]
    for y, (_, name) in zip(columns, names, strict=True):
        if y.shape[1] != columns[0].shape[1]:
            raise ValueError(
                f"{name} has {y.shape[1]} outputs, {names[0][1]} {columns[0].shape[1]}; all need "
                "the same number"
            )
    return torch.cat(columns)
