"""Learning-rate schedules as pure functions of the step, so that nothing need be saved."""

import bisect
import math

from holdfast.training.options import Training


def lr_factor(
    training: Training, step: int, steps_per_epoch: int, epochs: int | None = None
) -> float:
    """What the learning rate is multiplied by before step `step` (0-based) of a task.

    With n = steps_per_epoch * epochs, those of `training` unless others are given, and
    e = step / steps_per_epoch:
    ``constant`` 1; ``cosine`` (1 + cos(pi step / n)) / 2; ``exponential`` decay^e; ``step``
    decay^(milestones at or before e); ``one_cycle`` half cosines 1/25 -> 1 over the steps up to
    0.3 n - 1 and 1 -> 4e-6 over the rest, as `torch.optim.lr_scheduler.OneCycleLR` (the momentum
    stays as it is).

    >>> lr_factor(Training(schedule="cosine", epochs=2), 10, 10)
    0.5
    """
    total = steps_per_epoch * (training.epochs if epochs is None else epochs)
    epoch = step / steps_per_epoch
    match training.schedule:
        case "constant":
            return 1.0
        case "cosine":
            return (1 + math.cos(math.pi * step / total)) / 2
        case "exponential":
            return float(training.decay**epoch)
        case "step":
            passed = bisect.bisect_right(sorted(training.milestones), epoch)
            return float(training.decay**passed)
        case "one_cycle":
            peak = 0.3 * total - 1
            if step <= peak:
                return _half_cosine(1 / 25, 1.0, step / peak)
            return _half_cosine(1.0, 4e-6, (step - peak) / (total - 1 - peak))


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
