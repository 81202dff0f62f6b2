import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from shards import samples, streamed

from holdfast.starts import FeatureStatistics

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes left."""
    folder = tmp_path_factory.mktemp("reduced")
    meeting = (folder / "meeting").as_uri()
    done = subprocess.run(
        [sys.executable, str(HERE / "reducing.py"), meeting, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder


def seen():
    """The samples of both processes, rank by rank."""
    x, y = samples(100, 4, 6)
    odd = torch.arange(100) % 2
    parts = [(y < 4) & (odd == 0), (y >= 2) & (odd == 1)]
    return [(x[part], y[part]) for part in parts]


@pytest.mark.parametrize("name", ["pooled", "apart"])
def test_reduced_statistics_are_merged_ones_on_every_process(folder, name):
    one, other = (FeatureStatistics.load(folder / f"{name}{rank}") for rank in (0, 1))
    assert one.classes == other.classes
    assert torch.equal(one.gram, other.gram)
    shards = [streamed(x, y, per_class=name == "apart") for x, y in seen()]
    merged = shards[0] + shards[1]
    assert one.classes == merged.classes
    assert torch.equal(one.counts, merged.counts)
    assert torch.equal(one.sums, merged.sums)
    assert one.batches == merged.batches
    for weighting in ("frequency", "balanced")[: 1 + one.per_class]:
        found, expected = one.moments(None, weighting), merged.moments(None, weighting)
        torch.testing.assert_close(found.gram, expected.gram, rtol=1e-14, atol=1e-14)
    if name == "apart":
        assert set(one.settled) == {0, 1, 4, 5}
        assert one.backbone == "aa"


def test_a_process_without_samples_gets_those_of_the_others(folder):
    for rank in (0, 1):
        found = FeatureStatistics.load(folder / f"lonely{rank}")
        assert torch.equal(found.gram, streamed(*samples(100, 4, 6)).gram)


def test_all_processes_refuse_together(folder):
    one, other = (str((folder / f"refused{rank}").read_text()).splitlines() for rank in (0, 1))
    assert one == other
    for said, expected in zip(one, ["[3, 4] features", "['a', 'b']", "per_class"], strict=True):
        assert expected in said


def test_without_processes():
    with pytest.raises(RuntimeError, match="init_process_group"):
        FeatureStatistics(2).all_reduce()
