"""The learning rate warmed up again when new data arrive."""

import math

from holdfast.nets.learner import Learner
from holdfast.starts.checked import check_factor
from holdfast.starts.start import Start
from holdfast.streams.context import Context


def rewarm(step: int, steps: int, factor: float = 10.0, over: float | None = 0.5) -> float:
    """By what the learning rate is multiplied at step `step` (0-based) of a phase of `steps`.

    With s = step / (over * steps):

        1 + (factor - 1) (1 + cos(pi s)) / 2   for s < 1,   1 from there on;

    `factor` throughout where `over` is `None`. It goes with any schedule, by multiplication, and
    fits `torch.optim.lr_scheduler.LambdaLR`.

    Args:
        step: of the phase, from 0.
        steps: of the phase.
        factor: at the first step.
        over: share of the phase in which it falls back to 1, above 0 and at most 1, or `None`.

    Raises:
        ValueError: a factor that is not above 0, or another `over`.

    >>> [rewarm(step, 8) for step in (0, 2, 4, 7)]
    [10.0, 5.5, 1.0, 1.0]
    """
    _check(factor, over)
    if over is None:
        return float(factor)
    passed = step / (over * steps)
    return 1 + (factor - 1) * (1 + math.cos(math.pi * min(passed, 1.0))) / 2


class Rewarm(Start):
    """From the second task on the learning rate begins `factor` times as high, see `rewarm`.

    The weights stay as they are. The rate is that of the training's schedule, which begins anew
    with each task, times `rewarm`; the record's curve holds the product. Berariu et al. ("A study
    on the plasticity of neural networks", 2021) tune at ten times the rate throughout
    (``over=None``), and put the gap that is left down to the rate staying high. That it falls back,
    and how, is ours. A rate is high or low by the size of the weights it moves: where weights have
    grown, `holdfast.methods.WeightNormProjection` holds them and has a cycle of its own.

    Args:
        factor: at the first step of a task.
        over: share of the task's steps in which it falls back to 1; `None`: it stays.

    Raises:
        ValueError: see `rewarm`.
    """

    def __init__(self, factor: float = 10.0, over: float | None = 0.5) -> None:
        _check(factor, over)
        self.factor, self.over = factor, over

    def prepare(self, learner: Learner, context: Context) -> None:
        """The weights stay."""

    def rate(self, index: int, step: int, steps: int) -> float:
        """1 in the first task, `rewarm` after it."""
        return 1.0 if index == 0 else rewarm(step, steps, self.factor, self.over)


def _check(factor: float, over: float | None) -> None:
    check_factor("factor", factor)
    if factor == 0:
        raise ValueError("factor must be above 0, got 0")
    if over is not None:
        check_factor("over", over, 1.0)
        if over == 0:
            raise ValueError("over must be a share above 0 and at most 1, or None; got 0")
