"""A record packed for a checkpoint comes back as it was."""

from typing import Any

import numpy as np
import pytest
import torch

from holdfast.records.packed import columns, entries_of, packed, unpacked
from holdfast.records.record import Record


def record(**lists: Any) -> Record:
    made = Record.empty(["a", "b"], "task_incremental", 3, config={"x": [1, None]})
    made.accuracy[0] = [0.1 + 0.2, np.nan]
    made.loss[0] = [np.inf, -np.inf]
    for name, entries in lists.items():
        setattr(made, name, entries)
    return made


@pytest.mark.parametrize(
    "lists",
    [
        {},
        {"curve": [{"task": 0, "loss": 1 / 3, "at": None}, {"task": 1, "loss": 2.0, "at": 0.5}]},
        {"curve": [{"task": 0, "loss": float("inf")}]},
        {"evaluations": [{"task": 0, "loss": [0.1, None]}, {"task": 1, "loss": [None, None]}]},
        # not alike: kept as they are
        {"curve": [{"task": 0, "loss": 1}, {"task": 1, "loss": 0.5}]},
        {"curve": [{"task": 0}, {"task": 1, "loss": 0.5}]},
        {"evaluations": [{"loss": [0.1]}, {"loss": [0.1, 0.2]}]},
        {"evaluations": [{"loss": [1, 2]}, {"loss": [0.1, 0.2]}]},
        {"evaluations": [{"task": True, "name": "x"}]},
        {"curve": [{}, {}]},
        {"probes": [{"values": {"rank": float("nan")}}], "samples": [3, 4]},
    ],
)  # fmt: skip
def test_what_is_packed_comes_back(lists: dict[str, Any]) -> None:
    made = record(**lists)
    back = unpacked(packed(made))
    # as from a file: NaN in lists is None there too
    assert back.to_dict() == made.to_dict()
    assert back.digest() == made.digest()
    both = zip(back.curve + back.evaluations, made.curve + made.evaluations, strict=True)
    for ours, theirs in both:
        assert list(ours) == list(theirs)
        assert [type(v) for v in ours.values()] == [type(v) for v in theirs.values()]


def test_records_of_before_are_read() -> None:
    made = record(curve=[{"task": 0, "loss": 0.5}])
    assert unpacked(made.to_dict()).to_dict() == made.to_dict()


def test_columns_are_tensors_of_alike_entries() -> None:
    entries = [
        {"step": 1, "loss": None, "of": [0.5, None]},
        {"step": 2, "loss": 0.5, "of": [1.0, 2.0]},
    ]
    found = columns(entries)
    assert found is not None
    assert found["step"].dtype == torch.int64
    assert found["of"].shape == (2, 2)
    assert entries_of(found) == entries
    assert columns([]) is None
