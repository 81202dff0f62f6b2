import math

import numpy as np
import pytest

from holdfast.records import Record, probe_means


def entries(tasks: int, key: str = "moved", probe: str = "P") -> list[dict]:
    """The value of task j after task i is 10 i + j."""
    return [
        {"task": i, "on": j, "step": 4 * i, "probe": probe, "values": {key: 10.0 * i + j}}
        for i in range(tasks)
        for j in range(i + 1)
    ]


def test_means_are_of_the_last_row_and_of_the_diagonal() -> None:
    values = np.array([[10.0 * i + j for j in range(4)] for i in range(4)])
    assert probe_means(entries(4), 4) == {
        "P.moved": values[3, :3].mean(), "P.moved.own": np.diagonal(values).mean()
    }  # fmt: skip


def test_probes_and_keys_are_told_apart() -> None:
    found = probe_means(
        [*entries(2), *entries(2, "drift"), *entries(2, probe="P 2"), *entries(2, "x", "Q")], 2
    )
    assert set(found) == {
        f"{name}{which}"
        for name in ("P.moved", "P.drift", "P 2.moved", "Q.x")
        for which in ("", ".own")
    }


def test_what_is_not_known_makes_the_mean_unknown() -> None:
    cut = probe_means(entries(2), 3)
    assert list(cut) == ["P.moved", "P.moved.own"]
    assert np.isnan(list(cut.values())).all()
    some = entries(3)
    some[-2]["values"]["moved"] = None  # as a record has it that was read
    assert math.isnan(probe_means(some, 3)["P.moved"])
    assert probe_means(some, 3)["P.moved.own"] == 11
    some[0]["values"]["moved"] = math.inf
    assert probe_means(some, 3)["P.moved.own"] == math.inf


def test_names_are_there_for_what_is_measured() -> None:
    assert probe_means([], 3) == {}
    assert probe_means(entries(1), 1) == {"P.moved.own": 0.0}
    current = [entry for entry in entries(3) if entry["task"] == entry["on"]]
    assert probe_means(current, 3) == {"P.moved.own": 11.0}


def test_a_record_has_them_again_when_it_is_read(tmp_path) -> None:
    record = Record.empty(["a", "b"], "task_incremental", 0)
    record.probes += [*entries(2), *entries(2, "x", "Q")]
    record.probes[0]["values"]["moved"] = math.nan
    record.save(tmp_path)
    back = Record.load(tmp_path).probe_means()
    assert back == pytest.approx(record.probe_means(), nan_ok=True)
    assert math.isnan(back["P.moved.own"])
    assert (back["P.moved"], back["Q.x"], back["Q.x.own"]) == (10.0, 10.0, 5.5)
