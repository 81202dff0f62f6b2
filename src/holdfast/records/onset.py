"""How training on a task sets in: loss and accuracy from before its first update on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from holdfast.records.within import Part, steps_to

LEVELS = (90, 95, 99)
"""Per cent of a final accuracy, to which steps are counted."""

_NAN = float("nan")


@dataclass(frozen=True, eq=False)
class Onset:
    """The course of a task on a part of the tasks: ``new``, ``old`` or ``all``.

    Loss and accuracy are means over the samples of the part's tasks, as `Record.onset` makes them.

    Args:
        steps: updates since the task began, ascending; 0 is before the first one, the last entry
            the end of the task.
        loss: then.
        accuracy: likewise; NaN at the end of a task that has not ended.
        loss_before: what the loss was when the task before had ended, before its start did
            anything. Of ``all`` that of the old tasks: what a curve over the tasks seen shows last.

    Raises:
        ValueError: no entries, arrays of different lengths, or steps that descend.
    """

    steps: Int[np.ndarray, " evaluations"]
    loss: Float[np.ndarray, " evaluations"]
    accuracy: Float[np.ndarray, " evaluations"]
    loss_before: float = _NAN

    def __post_init__(self) -> None:
        lengths = {len(self.steps), len(self.loss), len(self.accuracy)}
        if lengths & {0} or len(lengths) > 1:
            raise ValueError(
                "steps, loss and accuracy must be of one length, 1 or more; got "
                f"{len(self.steps)}, {len(self.loss)} and {len(self.accuracy)}"
            )
        if (np.diff(self.steps) < 0).any() or self.steps[0] < 0:
            raise ValueError(f"steps must ascend from 0 or more, got {self.steps.tolist()}")

    @property
    def watched(self) -> bool:
        """Whether there are evaluations within the task: its ends alone say nothing of when."""
        return bool((self.steps[:-1] > 0).any())

    @property
    def initial_loss(self) -> float:
        """L(0), the loss before the first update; NaN without an evaluation there."""
        return self._at_start(self.loss)

    @property
    def zero_step_accuracy(self) -> float:
        """The accuracy before the first update; NaN without an evaluation there."""
        return self._at_start(self.accuracy)

    @property
    def final_accuracy(self) -> float:
        """The accuracy at the end of the task."""
        return float(self.accuracy[-1])

    @property
    def spike_ratio(self) -> float:
        """L(0) / `loss_before`: by how much the loss jumps when the classes of the task come in.

        1 is no jump. NaN where the part could not be predicted before, as classes without rows.
        """
        return self.initial_loss / self.loss_before if self.loss_before > 0 else _NAN

    def area_above(self, level: float | None = None, updates: int | None = None) -> float:
        """Area between the loss and its final value, integral_0^K max(0, L(s) - level) ds.

        By trapezoids between evaluations, of the excess there; in units of loss x updates.

        Args:
            level: by default L at the end of the task. Give one of all arms, such as that of the
                best, where arms are compared: one that ends higher has less above its own end.
            updates: K, linearly interpolated; by default the whole task.

        Returns:
            NaN without an evaluation before the first update and others within the task, of an
            unknown loss, or where K lies beyond the task.

        Raises:
            ValueError: `updates` that is not positive.
        """
        if updates is not None and not updates > 0:
            raise ValueError(f"updates must be positive, got {updates}")
        last = float(self.steps[-1]) if updates is None else float(updates)
        if self.steps[0] != 0 or not self.watched or last > self.steps[-1]:
            return _NAN
        excess = self.loss - (self.loss[-1] if level is None else level)
        excess = np.where(np.isnan(excess), np.nan, np.maximum(0, excess))
        inside = self.steps < last
        steps = np.append(self.steps[inside], last)
        values = np.append(excess[inside], np.interp(last, self.steps, excess))
        return float(np.trapezoid(values, steps))

    def steps_to(self, share: float = 0.95, final: float | None = None) -> float:
        """Updates until the accuracy reaches `share` of a final one.

        The first evaluation at which it does, 0 included, so that the resolution is that of
        ``evaluate_every``: it is reached at most so many updates earlier. No interpolation, which
        would promise more than was looked at. It may fall below again.

        Args:
            share: in (0, 1].
            final: the accuracy of which the share is; by default that at the end of this task.

        Returns:
            NaN when it is not reached, or unknown, as without evaluations within the task.

        Raises:
            ValueError: `share` out of range.
        """
        if not 0 < share <= 1:
            raise ValueError(f"share must lie in (0, 1], got {share}")
        if not self.watched:
            return _NAN
        final = self.final_accuracy if final is None else final
        return steps_to(self.steps, self.accuracy, share * final)

    def _at_start(self, values: Float[np.ndarray, " evaluations"]) -> float:
        return float(values[0]) if self.steps[0] == 0 else _NAN


def onset_metrics(onsets: Sequence[Mapping[Part, Onset]]) -> dict[str, float]:
    """Means over the tasks after the first of what their onsets say; NaN where one is unknown.

    | name | mean of |
    |---|---|
    | ``initial_loss_new``, ``_old``, ``_all`` | `Onset.initial_loss` |
    | ``zero_step_accuracy_new``, ``_old``, ``_all`` | `Onset.zero_step_accuracy` |
    | ``spike_ratio_old``, ``spike_ratio_all`` | `Onset.spike_ratio` |
    | ``area_above_final`` | `Onset.area_above` the run's own final loss, all tasks seen |
    | ``steps_to_90``, ``_95``, ``_99`` | `Onset.steps_to` of the run's own end, all tasks seen |

    Args:
        onsets: of each task after the first, by part; none of a run that has not ended.
    """
    parts: tuple[Part, ...] = ("new", "old", "all")
    found = {
        **{f"initial_loss_{p}": [o[p].initial_loss for o in onsets] for p in parts},
        **{f"zero_step_accuracy_{p}": [o[p].zero_step_accuracy for o in onsets] for p in parts},
        **{f"spike_ratio_{p}": [o[p].spike_ratio for o in onsets] for p in parts[1:]},
        "area_above_final": [o["all"].area_above() for o in onsets],
        **{f"steps_to_{n}": [o["all"].steps_to(n / 100) for o in onsets] for n in LEVELS},
    }
    return {name: float(np.mean(values)) if values else _NAN for name, values in found.items()}
