"""Whom a run tells of its events: the file in its folder, and a listener."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.records.files import EventLog

Listener = Callable[[dict[str, Any]], None]
"""Called with each event as it happens."""


class Announcer:
    """Tells of events: ``announce("epoch", task=0, loss=0.1)``.

    Args:
        folder: of the run, whose ``events.jsonl`` grows; `None` writes nothing.
        listener: called with each event, a dict.
    """

    def __init__(self, folder: Path | None, listener: Listener | None) -> None:
        self.log = EventLog(folder / "events.jsonl") if folder else None
        self.listener = listener

    def __call__(self, event: str, **values: Any) -> None:
        """Tell of one event."""
        if self.log is not None:
            self.log.append(event, **values)
        if self.listener is not None:
            self.listener({"event": event, **values})

    def sync(self) -> int:
        """How much of the file belongs to a checkpoint written now (`EventLog.sync`)."""
        return 0 if self.log is None else self.log.sync()

    def back_to(self, position: int) -> None:
        """Drop the events of the file after a position (`EventLog.truncate`)."""
        if self.log is not None:
            self.log.truncate(position)

    def close(self) -> None:
        """Close the file."""
        if self.log is not None:
            self.log.close()
