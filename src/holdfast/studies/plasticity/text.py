"""The findings on plasticity as a person reads them."""

from collections.abc import Mapping, Sequence

import numpy as np

from holdfast.records.intervals import Interval
from holdfast.studies.plasticity.measures import ArmMeasures
from holdfast.studies.text import table_text


def generalisation_lines(
    arms: Mapping[str, ArmMeasures], references: Sequence[str], last: float, phases: int
) -> list[str]:
    """A row an arm: test and training accuracy in percent, and points less each reference."""
    where = "the last phase" if phases == 1 else f"the last {phases} tasks"
    head = [
        f"generalisation, last {100 * last:.3g} % of {where}",
        "seeds",
        "test %",
        "train %",
        *(f"test less {name}" for name in references),
        "updates",
        "s",
    ]
    rows = [head]
    for label, arm in arms.items():
        gaps = [points(arm.gaps.get(name)) for name in references]
        rows.append(
            [
                label,
                str(arm.runs) if arm.runs == arm.of else f"{arm.runs} of {arm.of}",
                _percent(arm.accuracy),
                _percent(arm.train_accuracy),
                *gaps,
                "-" if np.isnan(arm.updates) else f"{arm.updates:.0f}",
                "-" if np.isnan(arm.seconds.mean) else f"{arm.seconds.mean:.1f}",
            ]
        )
    return table_text(rows).splitlines()


def trainability_lines(
    arms: Mapping[str, ArmMeasures], references: Sequence[str], phases: int
) -> list[str]:
    """A row an arm: training loss at the end of phases, and less each reference."""
    span = "phase" if phases == 1 else f"{phases} tasks"
    probed = any(not np.isnan(arm.probe_gap.mean) for arm in arms.values())
    head = [
        "trainability, training loss in the last epoch",
        f"first {span}",
        f"last {span}",
        *(f"last less {name}" for name in references),
        *(["probe tasks less fresh"] if probed else []),
    ]
    rows = [head]
    for label, arm in arms.items():
        rows.append(
            [
                label,
                _loss(arm.first_loss),
                _loss(arm.loss),
                *(_signed(arm.loss_gaps.get(name)) for name in references),
                *([_signed(arm.probe_gap)] if probed else []),
            ]
        )
    return table_text(rows).splitlines()


def points(gap: Interval | None) -> str:
    """A difference of accuracies in points, with its interval.

    >>> points(Interval(-0.0108, -0.0152, -0.0064))
    '-1.08 [-1.52, -0.64]'
    """
    return _signed(None if gap is None else Interval(*(100 * value for value in gap)), "+.2f")


def _percent(value: Interval) -> str:
    return "-" if np.isnan(value.mean) else f"{100 * value.mean:.2f}"


def _loss(value: Interval) -> str:
    return "-" if np.isnan(value.mean) else f"{value.mean:.3g}"


def _signed(gap: Interval | None, form: str = "+.3g") -> str:
    if gap is None or np.isnan(gap.mean):
        return "-"
    mean, low, high = (format(value, form) for value in gap)
    if np.isnan(gap.low):
        return mean
    return f"{mean} [{low}, {high}]"
