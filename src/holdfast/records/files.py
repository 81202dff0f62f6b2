"""Files that survive a kill and a full disk."""

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from uuid import uuid4

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

from holdfast.records.strict_json import dumps, loads


def write_atomic(path: str | Path, content: bytes | str) -> None:
    """Write `content` aside and rename it to `path`, which holds the old or the new, never a part.

    The folder is made when missing. Text is written as UTF-8.

    Raises:
        OSError: it could not be written (full disk, no permission ...); the file of before is
            untouched and nothing is left beside it.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    aside = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(aside, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise _failed("write", path, error) from error


def _failed(doing: str, path: Path, error: OSError) -> OSError:
    return OSError(error.errno, f"could not {doing}: {error.strerror or error}", str(path))


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system can sync a folder (not on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class EventLog:
    """A file of JSON lines that grows as a run goes: one line an event, written at once.

    Opening drops a last line that a kill cut short. `position` belongs into a checkpoint (after
    `sync`, so that the lines are on disk before the checkpoint that counts on them); `truncate`
    takes a resumed run back to it. One process at a time may hold it open, where the system has
    locks; they end with their process.

    Raises:
        OSError: the file cannot be opened, or another process writes to it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a line is with the system when `append` returns, whatever becomes of us.
            self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115 (it outlives this)
        except OSError as error:
            raise _failed("open", self.path, error) from error
        _lock(self._file, self.path)
        self._file.seek(0)
        self.position = self._file.read().rfind(b"\n") + 1
        self._file.truncate(self.position)

    def append(self, kind: str, /, **fields: Any) -> None:
        """Write one event: a line ``{"event": kind, ...fields}``.

        Raises:
            TypeError: a field that JSON cannot hold.
            OSError: it could not be written; the lines before it are whole.
        """
        line = memoryview((dumps({"event": kind, **fields}, where=kind) + "\n").encode())
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:]) or 0
        except OSError as error:
            self._file.truncate(self.position)
            raise _failed("append", self.path, error) from error
        self.position += len(line)

    def sync(self) -> int:
        """Force all lines to disk and return the position after the last.

        Raises:
            OSError: they could not be written.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _failed("write", self.path, error) from error
        return self.position

    def truncate(self, position: int) -> None:
        """Drop every event after `position`.

        Raises:
            ValueError: the file is shorter, or `position` is not at the start of a line.
        """
        if not 0 <= position <= self.position:
            raise ValueError(
                f"{self.path} holds {self.position} bytes and cannot go back to {position}; it is "
                "not the file the checkpoint was written with"
            )
        self._file.seek(max(position - 1, 0))
        if position and self._file.read(1) != b"\n":
            raise ValueError(f"{self.path} has no event that starts at byte {position}")
        self._file.truncate(position)
        self.position = position

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @staticmethod
    def read(path: str | Path) -> list[dict[str, Any]]:
        """All whole events of a file, in order; a last line cut short by a kill is left out.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a line that is no event, with its number.
        """
        *lines, _ = Path(path).read_bytes().split(b"\n")
        events = []
        for number, line in enumerate(lines, 1):
            try:
                event = loads(line.decode())
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: no JSON event ({error})") from error
            if not isinstance(event, dict) or "event" not in event:
                raise ValueError(f"{path}, line {number}: no JSON event")
            events.append(event)
        return events


def _lock(file: IO[bytes], path: Path) -> None:
    """Claim a file for this process; children that are forked later do not inherit the claim."""
    if fcntl is None:
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            file.close()
            raise OSError(
                error.errno, "another process is at work on this run; wait for it", str(path)
            ) from error
        # Some network file systems know no locks: then nothing is claimed.
