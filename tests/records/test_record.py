import errno
import json
import math
import os

import numpy as np
import pytest

from holdfast.records import Record, matrix_text

TASKS = ("zero", "one", "two")


@pytest.fixture
def record():
    """A complete run of three tasks with everything in it, infinity and NaN too."""
    made = Record.empty(TASKS, "class_incremental", 7, {"lr": 0.1, "width": (2, 3)}, {"cpu": "x"})
    made.accuracy[:] = [[0.8, np.nan, np.nan], [0.7, 0.9, np.nan], [0.1 + 0.2, 0.5, 1.0]]
    made.loss[:] = [[0.5, np.nan, np.nan], [0.6, 0.3, np.nan], [np.inf, 0.7, 1e-300]]
    for task in range(3):
        for epoch in range(2):
            step = 20 * task + 10 * (epoch + 1)
            made.curve.append(
                {"task": task, "epoch": epoch, "step": step, "loss": 0.5, "accuracy": None, "lr": 1}
            )
        for step, value in ((6, 0.25 + task / 16), (12, 0.6)):
            accuracy = [value] * (task + 1) + [None] * (2 - task)
            entry = {"task": task, "step": 20 * task + step, "accuracy": accuracy}
            made.evaluations.append({**entry, "loss": [math.inf, math.nan, 0.1]})
    made.probes.append({"task": 0, "step": 20, "probe": "rank", "values": {"effective": 3.5}})
    made.seconds, made.cpu_seconds, made.eval_seconds = [1.0, 2.0, 3.0], [1.5] * 3, [0.1] * 3
    made.status = "complete"
    return made


def test_an_empty_record_knows_nothing():
    made = Record.empty(["a", "b"], "task_incremental", 0)
    assert made.accuracy.shape == made.loss.shape == (2, 2)
    assert made.accuracy.dtype == np.float64
    assert made.finished == 0
    assert all(math.isnan(value) for value in made.metrics().values())
    assert repr(made) == "Record(task_incremental, 0 of 2 tasks, seed 0, running)"


def test_saved_and_loaded_it_is_the_same(record, tmp_path):
    record.save(tmp_path / "run")
    back = Record.load(tmp_path / "run")
    assert back.digest() == record.digest()
    assert back.to_dict() == record.to_dict()
    np.testing.assert_array_equal(back.accuracy, record.accuracy)
    np.testing.assert_array_equal(back.loss, record.loss)
    assert back.evaluations[0]["loss"] == [math.inf, None, 0.1]
    assert back.tasks == TASKS
    np.testing.assert_equal(back.metrics(), record.metrics())


def test_the_file_is_strict_json_with_metrics(record, tmp_path):
    record.save(tmp_path)
    data = json.loads((tmp_path / "record.json").read_text(), parse_constant=pytest.fail)
    assert data["accuracy"][0] == [0.8, None, None]
    assert data["loss"][2][0] == "Infinity"
    assert data["metrics"]["acc"] == record.metrics()["acc"]
    assert data["metrics"]["fwt"] is None
    assert os.listdir(tmp_path) == ["record.json"]


def test_a_full_disk_keeps_the_record_of_before(record, tmp_path, monkeypatch):
    record.save(tmp_path)
    digest = record.digest()

    def refuse(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    record.accuracy[2, 2] = 0.0
    with pytest.raises(OSError, match="No space left"):
        record.save(tmp_path)
    assert Record.load(tmp_path).digest() == digest


def test_the_digest_is_of_results_alone(record):
    digest = record.digest()
    record.seconds[0], record.environment["cpu"] = 99.0, "y"
    record.config["out"] = "elsewhere"
    assert record.digest() == digest
    record.accuracy[2, 0] = np.nextafter(record.accuracy[2, 0], 1)
    assert record.digest() != digest


@pytest.mark.parametrize("part", ["curve", "evaluations", "probes"])
def test_the_digest_sees_every_result(record, part):
    digest = record.digest()
    getattr(record, part).pop()
    assert record.digest() != digest


def test_a_folder_without_a_record(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere holds no record.json; give the folder"):
        Record.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match=r"file holds no record.json"):
        Record.load(tmp_path / "file")


def test_a_record_cut_short_anywhere_is_refused(record, tmp_path):
    record.save(tmp_path)
    path = tmp_path / "record.json"
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"record.json is cut short or no JSON"):
            Record.load(tmp_path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"record.json is cut short or no JSON"):
        Record.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "no Holdfast record"),
        ({"version": 99}, "a record of version 99; this Holdfast reads 1"),
        ({"accuracy": [[0.1]]}, r"accuracy must have shape \(3, 3\), got \(1, 1\)"),
        ({"accuracy": [[0.1], [0.1, 0.2]]}, "accuracy cannot be read"),
        ({"loss": "x"}, "loss cannot be read"),
        ({"initial_loss": None}, r"initial_loss must have shape \(3,\)"),
        ({"curve": 3}, "curve cannot be read"),
        ({"status": "fine"}, "status must be one of .* got 'fine'"),
        ({"tasks": ["a", "a", "b"]}, "one or more different names"),
        ({"tasks": []}, "one or more different names"),
    ],
)
def test_a_foreign_record_is_refused(record, tmp_path, change, message):
    (tmp_path / "record.json").write_text(json.dumps({**record.to_dict(), **change}))
    with pytest.raises(ValueError, match=rf"record.json: .*{message}"):
        Record.load(tmp_path)


def test_a_record_with_a_part_missing_is_refused(record):
    data = record.to_dict()
    del data["probes"], data["seed"]
    with pytest.raises(ValueError, match="the record lacks seed, probes"):
        Record.from_dict(data)
    with pytest.raises(ValueError, match="no Holdfast record"):
        Record.from_dict([1, 2])


def test_what_json_cannot_hold_is_named(record):
    record.config["model"] = object()
    with pytest.raises(TypeError, match=r"record.config.model is a object"):
        record.to_dict()


def test_a_trace_counts_steps_from_the_start_of_its_task(record):
    steps, values = record.trace(1)
    assert steps.tolist() == [6, 12]
    np.testing.assert_array_equal(values, [[0.3125, 0.3125, np.nan], [0.6, 0.6, np.nan]])
    with pytest.raises(ValueError, match=r"task must be in 0..2, got 3"):
        record.trace(3)


def test_steps_to_a_target_within_a_task(record):
    assert record.steps_to(0.5, 1) == 12
    assert record.steps_to(0.25, 1, "old") == 6
    assert record.steps_to(0.9, 1) == 20  # reached at the end of the task alone
    assert math.isnan(record.steps_to(0.95, 1))
    assert math.isnan(record.steps_to(0.7, 2, "old"))
    assert record.steps_to(0.6, 2, "all") == 12
    with pytest.raises(ValueError, match="part='old' of task 0"):
        record.steps_to(0.5, 0, "old")


def test_metrics_come_from_all_that_was_measured(record):
    found = record.metrics()
    assert found["acc"] == pytest.approx(0.6)
    assert found["min_acc"] == pytest.approx((0.3 + 0.375) / 2)
    assert found["forgetting"] == pytest.approx((0.5 + 0.4) / 2)
    assert found["loss_forgetting"] == math.inf
    assert math.isnan(found["fwt"])


@pytest.mark.parametrize("known", [0, 1, 2])
def test_a_run_that_diverged_has_no_final_metrics(record, known):
    record.status, record.diverged = "diverged", {"task": known, "step": 41, "reason": "loss inf"}
    for matrix in (record.accuracy, record.loss):
        matrix[known:] = np.nan
    assert record.finished == known
    assert all(math.isnan(value) for value in record.metrics().values())
    assert "diverged: task" in record.summary()


def test_the_summary_shows_the_matrix(record):
    lines = record.summary().splitlines()
    assert lines[0] == "Record(class_incremental, 3 of 3 tasks, seed 7, complete)"
    assert lines[4].split() == ["one", "0.700", "0.900", "-"]
    assert "acc 0.600, forgetting 0.450" in lines[6]
    assert lines[7] == "training 6.00 s, CPU 4.50 s"


def test_the_summary_of_a_regression_shows_losses(record):
    record.accuracy[:] = np.nan
    assert "loss, test on columns:" in record.summary()
    assert "average_loss inf" in record.summary()


def test_many_tasks_are_shown_one_a_row():
    names = [f"task {i}" for i in range(50)]
    text = matrix_text(names, np.full((50, 50), 0.25))
    assert len(text.splitlines()) == 51
    assert max(map(len, text.splitlines())) < 40


def test_long_names_of_tasks_do_not_make_long_lines():
    names = [f"classes {10 * i}..{10 * i + 9} of the larger part" for i in range(8)]
    lines = matrix_text(names, np.full((8, 8), 0.25)).splitlines()
    assert lines[0].split() == ["after", *map(str, range(8))]
    assert lines[3].startswith(f"2: {names[2]}  0.250")
    assert max(map(len, lines)) <= 100
