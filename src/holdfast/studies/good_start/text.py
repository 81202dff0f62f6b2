"""The findings on starts as a person reads them."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from textwrap import wrap

import numpy as np

from holdfast.records.intervals import Interval
from holdfast.records.speed import SpeedUp
from holdfast.studies.good_start.measures import StartMeasures
from holdfast.studies.text import table_text

_NUMBER = re.compile(r"(?<![\w.])\d[\d.,]*(?:e[+-]?\d+)?")

_WIDTH = 110
"""Letters in a line of notes."""

_NOTES = 3
"""Notes of a start that are shown; all are in the findings."""


def condition_lines(
    starts: Mapping[str, StartMeasures], baseline: str, level: float, harm: float
) -> list[str]:
    """Two tables with a row a start, before the first update and after it, and what is to be noted.

    Args:
        starts: of a condition.
        baseline: among them.
        level: share of the best final accuracy at which the speed-up is shown.
        harm: loss of accuracy on old classes before the first update, against the baseline, from
            which on there is a warning.
    """
    head = ["loss new", "old", "all", "accuracy new", "old", "all", "spike"]
    before = [["before the first update", *head]]
    after = [["from there on", *_head(starts), "sooner", "lowest old", "end all", "gaps s, p, k"]]
    for name, start in starts.items():
        v = start.values
        means = [_mean(v[f"initial_loss_{part}"]) for part in ("new", "old")]
        hits = [_mean(v[f"zero_step_accuracy_{part}"]) for part in ("new", "old")]
        all_of = [_full(v["initial_loss_all"]), _full(v["zero_step_accuracy_all"])]
        spike = _mean(v["spike_ratio_all"])
        before.append([name, *means, all_of[0], *hits, all_of[1], spike])
        gaps = ("stability_gap", "plasticity_gap", "continual_knowledge_gap")
        after.append(
            [
                name,
                *(_steps(speed) for speed in start.speed.values()),
                _sooner(start.speed[level]),
                _mean(v["lowest_accuracy_old"]),
                _full(v["final_accuracy_all"]),
                " ".join(_mean(v[gap]) for gap in gaps),
            ]
        )
    notes = [
        *_bounds(starts, level),
        *_harms(starts, baseline, harm),
        *_lost(starts, level),
        *_told(starts),
    ]
    return [*table_text(before).splitlines(), *table_text(after).splitlines(), *notes]


def _head(starts: Mapping[str, StartMeasures]) -> list[str]:
    levels = next(iter(starts.values())).speed
    return [f"to {100 * level:.3g} %" for level in levels]


def _steps(speed: SpeedUp) -> str:
    """Mean updates; marked where some never arrived."""
    if np.isnan(speed.steps.mean):
        return "-"
    return f"{'> ' if speed.censored else ''}{speed.steps.mean:.3g}"


def _sooner(speed: SpeedUp) -> str:
    if np.isnan(speed.ratio.mean):
        return "-"
    sign = {"": "", "at least": ">= ", "at most": "<= ", "unknown": "? "}[speed.bound]
    form = ".3g" if speed.ratio.mean < 1000 else ".0f"
    if np.isnan(speed.ratio.low):
        return f"{sign}{speed.ratio.mean:{form}} x"
    mean, low, high = (f"{value:{form}}" for value in speed.ratio)
    return f"{sign}{mean} x [{low}, {high}]"


def _bounds(starts: Mapping[str, StartMeasures], level: float) -> list[str]:
    never = []
    for name, start in starts.items():
        of = [
            f"{s.censored} at {100 * share:.3g} %" for share, s in start.speed.items() if s.censored
        ]
        if of:
            never.append(f"{name} {', '.join(of)} (of {start.speed[level].cases})")
    soon = [
        f"{name} {start.speed[level].immediate} of {start.speed[level].cases}"
        for name, start in starts.items()
        if start.speed[level].immediate
    ]
    lines = []
    if never:
        lines.append(f"tasks that never came so far, counted with their length: {'; '.join(never)}")
    if soon:
        lines.append(
            f"tasks at {100 * level:.3g} % before the first update, counted as 1: {'; '.join(soon)}"
        )
    return [line for text in lines for line in wrap(text, _WIDTH, subsequent_indent="  ")]


def _harms(starts: Mapping[str, StartMeasures], baseline: str, harm: float) -> list[str]:
    level = starts[baseline].values["zero_step_accuracy_old"].mean
    lines = []
    for name, start in starts.items():
        fallen = level - start.values["zero_step_accuracy_old"].mean
        if fallen > harm:
            lines.append(
                f"warning: {name} takes {100 * fallen:.1f} points from the accuracy on old classes "
                f"before the first update"
            )
    return lines


def _lost(starts: Mapping[str, StartMeasures], level: float) -> list[str]:
    lines = []
    for name, start in starts.items():
        if start.speed[level].left_out:
            seeds = ", ".join(map(str, start.speed[level].left_out))
            lines.append(f"{name}: speed without seeds {seeds}, not known here or of the baseline")
        cut = start.runs - start.known.get("final_accuracy_all", start.runs)
        if cut:
            lines.append(f"{name}: {cut} of {start.runs} runs did not come to their end")
    return lines


def _told(starts: Mapping[str, StartMeasures]) -> list[str]:
    """What the starts fitted, and what they noted most often."""
    lines = []
    for name, start in starts.items():
        fitted = [f"{what} {_range(value)}" for what, value in start.fitted.items()]
        if fitted:
            lines.append(f"{name}: {', '.join(fitted)}")
        # Notes that differ in their numbers alone say one thing.
        alike: Counter[str] = Counter()
        for note, count in start.notes.items():
            alike[note if count > 1 else _NUMBER.sub("#", note)] += count
        lines += [f"{name}: {note} (tasks: {count})" for note, count in alike.most_common(_NOTES)]
        if len(alike) > _NOTES:
            lines.append(f"{name}: and {len(alike) - _NOTES} other notes")
    return [line for text in lines for line in wrap(text, _WIDTH, subsequent_indent="  ")]


def _range(value: Interval) -> str:
    if value.low == value.high:
        return f"{value.mean:.2g}"
    return f"{value.mean:.2g} ({value.low:.2g} to {value.high:.2g})"


def _mean(value: Interval) -> str:
    return (
        "-"
        if np.isnan(value.mean)
        else f"{value.mean:.3g}"
        if value.mean >= 10
        else f"{value.mean:.3f}"
    )


def _full(value: Interval) -> str:
    if np.isnan(value.low):
        return _mean(value)
    low, high = (_mean(Interval(end, end, end)) for end in value[1:])
    return f"{_mean(value)} [{low}, {high}]"


def head_line(arms: Sequence[str], baseline: str, seeds: int, task: int | None) -> str:
    """What is compared."""
    where = "the tasks after the first" if task is None else f"task {task}"
    counted = f"{seeds} seed{'s' if seeds > 1 else ''}"
    return f"{len(arms)} starts, {counted}, {where}; sooner than {baseline}"
