"""What the command says while a run or a study goes on."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.text import Text

from holdfast.studies.progress import Progress

_LONGEST = 30
"""Letters of a name before it is cut short."""


class Telling:
    """Prints a line at a time, and in a terminal shows beneath them what is going on.

    As a context it takes that last line away when the work ends, and notes on an exception that
    leaves it half done how to go on.

    Args:
        out: folder of the work.
        quiet: say nothing at all.
    """

    def __init__(self, out: Path, quiet: bool = False) -> None:
        self.out, self.quiet = out, quiet
        self.begun = False
        self._console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
        self._live: Status | None = None
        if self._console.is_terminal and not quiet:
            self._live = self._console.status("")

    def line(self, text: str) -> None:
        """Print a line."""
        if not self.quiet:
            self._console.print(text)

    def now(self, text: str) -> None:
        """Show what is going on, in a terminal."""
        if self._live is not None:
            self._live.update(Text(text, no_wrap=True, overflow="ellipsis"))
            self._live.start()

    def __enter__(self) -> "Telling":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if error is not None and self.begun:
            error.add_note(f"`holdfast resume {self.out}` goes on from the last checkpoint")


class RunLines:
    """Tells of a run: a line a task, with the accuracy on it and on all tasks so far.

    Args:
        telling: says it.
        epochs: of a task.
        tasks: names of the tasks of a run that is gone on with.
    """

    def __init__(self, telling: Telling, epochs: int, tasks: Sequence[str] = ()) -> None:
        self.telling, self.epochs, self.tasks = telling, epochs, list(tasks)
        self._since = time.monotonic()

    def __call__(self, event: dict[str, Any]) -> None:
        """Take an event of the run."""
        kind, telling = event["event"], self.telling
        telling.begun = telling.begun or kind != "end"
        if kind == "begin":
            self.tasks = event["tasks"]
            telling.line(f"{len(self.tasks)} tasks, seed {event['seed']}, in {telling.out}")
        elif kind == "task":
            self._since = time.monotonic()
            telling.now(f"{self._place(event)}: {event['samples']} samples")
        elif kind == "epoch":
            at = f"epoch {event['epoch'] + 1}/{self.epochs}, loss {event['loss']:.4g}"
            telling.now(f"{self._place(event)}: {at}, {self._seconds()}")
        elif kind == "task_end":
            self._task(event)
        elif kind == "diverged":
            telling.line(
                f"{self._place(event)}: diverged at step {event['step']}, {event['reason']}"
            )

    def _task(self, event: dict[str, Any]) -> None:
        place = event["task"]
        measured = "loss" if event["accuracy"][place] is None else "accuracy"
        values = [math.nan if v is None else v for v in event[measured][: place + 1]]
        known = [value for value in values if not math.isnan(value)]
        mean = sum(known) / len(known) if known else math.nan
        longest = max((len(shortened(name)) for name in self.tasks), default=0)
        width = len("/ ") + 2 * len(str(len(self.tasks))) + longest
        self.telling.line(
            f"{self._place(event):{width}}  {measured} {values[-1]:.3f}, "
            f"mean so far {mean:.3f}, {self._seconds()}"
        )

    def _place(self, event: dict[str, Any]) -> str:
        place, count = event["task"] + 1, len(self.tasks)
        name = self.tasks[place - 1] if place <= count else ""
        return f"{place:{len(str(count))}}/{count or '?'} {shortened(name)}".rstrip()

    def _seconds(self) -> str:
        return duration(time.monotonic() - self._since)


class StudyLines:
    """Tells of a study: a line a run that ends, with the time left.

    Args:
        telling: says it.
    """

    def __init__(self, telling: Telling) -> None:
        self.telling = telling

    def __call__(self, event: Progress) -> None:
        """Take an event of the study."""
        telling = self.telling
        telling.begun = True
        left = "" if math.isnan(event.seconds_left) else f", {duration(event.seconds_left)} left"
        if event.event == "begin":
            there = f", {event.ended} of them there already" if event.ended else ""
            # Of the studies within a tuning, the width.
            which = f"{event.cell}: " if event.cell else ""
            telling.line(f"{which}{event.total} runs{there}, in {telling.out}")
        elif event.event in ("complete", "diverged", "failed"):
            counted = f"{event.ended:{len(str(event.total))}}/{event.total}"
            about = left if event.ended < event.total else ""
            telling.line(f"{counted} {event.cell}, seed {event.seed}: {event.event}{about}")
        if event.event != "end":
            telling.now(f"{event.ended}/{event.total} runs ended, {event.running} under way{left}")


def duration(seconds: float) -> str:
    """A time in words.

    >>> duration(0.53), duration(75.0), duration(7300.0)
    ('0.5 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def shortened(name: str) -> str:
    """`name`, cut short where it is too long for a line.

    >>> shortened("classes 10, 11, 12, 13, 14, 15, 16")
    'classes 10, 11, 12, 13, 14, 1…'
    """
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
