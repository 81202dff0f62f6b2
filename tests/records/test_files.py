import errno
import os
import stat
import subprocess
import sys

import pytest

from holdfast.records import EventLog, write_atomic


@pytest.fixture
def full_disk(monkeypatch):
    """A disk on which nothing can be forced out any more."""

    def refuse(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)


def test_text_and_bytes_are_written_into_a_new_folder(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_atomic(path, "grün")
    assert path.read_bytes() == "grün".encode()
    write_atomic(str(path), b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    assert os.listdir(path.parent) == ["file"]


def test_a_file_has_the_usual_permissions(tmp_path):
    write_atomic(tmp_path / "file", "x")
    (tmp_path / "other").write_text("x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "other")}
    assert len(modes) == 1


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, full_disk):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match=r"could not write: No space left.*file") as caught:
        write_atomic(path, "new")
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_interrupt_while_writing_leaves_nothing_aside(tmp_path, monkeypatch):
    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", "new")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"could not write.*file/below"):
        write_atomic(tmp_path / "file" / "below", "x")


def test_events_are_there_at_once(tmp_path):
    path = tmp_path / "run" / "events.jsonl"
    with EventLog(path) as log:
        log.append("begin", tasks=["a", "b"])
        log.append("epoch", loss=float("nan"), kind="kept")
        assert EventLog.read(path) == [
            {"event": "begin", "tasks": ["a", "b"]},
            {"event": "epoch", "loss": None, "kind": "kept"},
        ]
        assert log.position == log.sync() == path.stat().st_size


def test_a_log_goes_back_to_where_a_checkpoint_stood(tmp_path):
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append("one")
        position = log.sync()
        log.append("lost")
    with EventLog(path) as log:
        log.truncate(position)
        log.append("two")
    assert [e["event"] for e in EventLog.read(path)] == ["one", "two"]
    with EventLog(path) as log:
        log.truncate(0)
        log.append("three")
    assert [e["event"] for e in EventLog.read(path)] == ["three"]


def test_a_line_cut_by_a_kill_is_dropped(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "one"}\n{"event": "tw')
    assert EventLog.read(path) == [{"event": "one"}]
    with EventLog(path) as log:
        log.append("two")
    assert [e["event"] for e in EventLog.read(path)] == ["one", "two"]


def test_a_position_of_another_file_is_refused(tmp_path):
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append("one")
        with pytest.raises(ValueError, match="cannot go back to 999; it is not the file"):
            log.truncate(999)
        with pytest.raises(ValueError, match="no event that starts at byte 3"):
            log.truncate(3)
    assert EventLog.read(path) == [{"event": "one"}]


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "events.jsonl"
    for line in (b"{", b"NaN", b"[1]", b"\xff"):
        path.write_bytes(b'{"event": "one"}\n' + line + b"\n")
        with pytest.raises(ValueError, match=r"events.jsonl, line 2: no JSON event"):
            EventLog.read(path)


def test_a_field_json_cannot_hold_writes_nothing(tmp_path):
    with EventLog(tmp_path / "events.jsonl") as log:
        with pytest.raises(TypeError, match=r"epoch.where is a PosixPath"):
            log.append("epoch", where=tmp_path)
        assert log.position == 0


def test_a_disk_that_fills_up_leaves_whole_lines(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append("one")
        file = log._file

        class Filling:
            """Takes three bytes, then none."""

            taken = False

            def write(self, data):
                if self.taken:
                    raise OSError(errno.ENOSPC, "No space left on device")
                self.taken = True
                return file.write(data[:3])

            def __getattr__(self, name):
                return getattr(file, name)

        monkeypatch.setattr(log, "_file", Filling())
        with pytest.raises(OSError, match=r"could not append: No space left.*events.jsonl"):
            log.append("two")
        assert path.read_bytes() == b'{"event": "one"}\n'


@pytest.mark.skipif(os.name == "nt", reason="no POSIX locks")
def test_a_log_is_written_by_one_process_at_a_time(tmp_path):
    path = tmp_path / "events.jsonl"
    other = [
        sys.executable,
        "-c",
        "import sys; from holdfast.records.files import EventLog; EventLog(sys.argv[1]).close()",
        str(path),
    ]
    with EventLog(path) as log:
        log.append("begin")
        refused = subprocess.run(other, capture_output=True, text=True, check=False)
        assert refused.returncode == 1
        assert "another process is at work on this run" in refused.stderr
    subprocess.run(other, check=True)
    assert [e["event"] for e in EventLog.read(path)] == ["begin"]
