import torch
from torch import nn

from holdfast.nets.heads import GrowingHead, SharedHead
from holdfast.nets.learner import Learner
from holdfast.probes import LearnerSize, Phase, Size, measured_size
from holdfast.streams.batches import Batch

BATCHES = [Batch(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), task) for task in range(2)]


def test_counts_all_tensors_of_a_learner() -> None:
    learner = Learner(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), SharedHead(4, [0, 1]))
    # 16 + 8 parameters and 8 statistics, a counter; 10 of the head and two labels
    assert measured_size(learner.backbone, learner) == Size(4 * (16 + 16 + 10) + 8 * 3, 34)


def test_growth_is_against_the_learner_with_one_task() -> None:
    learner, probe = Learner(nn.Linear(3, 4, bias=False), GrowingHead(4)), LearnerSize()
    learner.heads.accommodate(0, [0, 1])
    assert probe.measure(learner, BATCHES[0]) == {
        "bytes": 4.0 * 22 + 16, "growth": 0.0, "growth_counted": 0.0,
    }  # fmt: skip
    learner.heads.accommodate(1, [2])
    second = LearnerSize()
    second.load_state_dict(probe.state_dict())
    wanted = {"bytes": 4.0 * 27 + 24, "growth": 132 / 104 - 1, "growth_counted": 27 / 22 - 1}
    for one in (probe, second):
        assert [one.measure(learner, batch) for batch in BATCHES] == [wanted, wanted]


def test_another_run_has_another_base() -> None:
    probe, small = LearnerSize(), Learner(nn.Linear(3, 4), SharedHead(4, [0]))
    probe.measure(small, BATCHES[0])
    large = Learner(nn.Linear(3, 40), SharedHead(40, [0]))
    probe.before(large, BATCHES[0], Phase(0, {}))
    assert probe.measure(large, BATCHES[0])["growth"] == 0
