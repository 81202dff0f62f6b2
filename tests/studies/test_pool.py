import multiprocessing
import os
import time

import pytest
from study_cases import study

from holdfast.config import run_config
from holdfast.records.record import Record
from holdfast.studies import Job, ProcessPool, pool


def test_a_pool_outlives_its_workers_and_ends_them_when_closed(tmp_path, monkeypatch) -> None:
    halted = tmp_path / "halted"
    monkeypatch.setenv("HOLDFAST_TEST_HALT", str(halted))
    before = dict(os.environ)
    methods = [f"small_parts:{name}" for name in ("Raises", "Dies", "Shrink", "Halts")]
    runs = study(grid={"method": methods}, seeds=[1]).runs()
    reports = ProcessPool(1).run([Job(run.config, run.folder(tmp_path)) for run in runs])
    told = []
    errors = {}
    for report in reports:
        told.append((report.index, report.ended))
        if report.ended:
            errors[report.index] = report.error
        if report.index == 3:
            break
    assert told == [(0, False), (0, True), (1, False), (1, True), (2, False), (2, True), (3, False)]
    assert errors[0].strip().endswith("RuntimeError: the second task is too much")
    assert errors[1].startswith("the worker process was killed by SIGKILL")
    assert errors[2] is None
    assert dict(os.environ) == before

    until = time.monotonic() + 120
    while not halted.exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    reports.close()
    assert multiprocessing.active_children() == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(halted.read_text()), 0)

    record = Record.load(runs[2].folder(tmp_path))
    assert record.digest() == run_config(runs[2].config).digest()
    assert record.environment["threads"] == 1


def test_workers_that_cannot_start_stop_the_study(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pool, "_work", print)
    with pytest.raises(RuntimeError, match=r"could not start \(exit code 0\); .*__main__"):
        study().run(tmp_path, ProcessPool(1))
    assert multiprocessing.active_children() == []


def test_the_size_of_a_pool() -> None:
    assert ProcessPool().workers == pool.cores() >= 1
    with pytest.raises(ValueError, match="workers must be a positive integer, got 0"):
        ProcessPool(0)
