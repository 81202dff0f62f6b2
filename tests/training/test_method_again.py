"""A method object that served one run serves the next as a new one would."""

from collections.abc import Callable

import numpy as np
import pytest
from small_runs import make_stream
from torch import nn

from holdfast.methods import AGEM, APD, EWC, GPM, L2, WSN, DERpp, LwF, Method, Replay
from holdfast.methods.halrp import HALRP
from holdfast.nets.learner import Learner, build_learner
from holdfast.seeds import seeded
from holdfast.streams.stream import Scenario
from holdfast.training.options import Training
from holdfast.training.run import run

TRAINING = Training(epochs=2, batch_size=4, lr=0.05)


def learner(scenario: Scenario, width: int) -> Learner:
    with seeded(0, "test"):
        net = nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 4))
    return build_learner(net, make_stream(scenario))


@pytest.mark.parametrize(
    ("make", "scenario"),
    [
        (EWC, "class_incremental"),
        (L2, "class_incremental"),
        (lambda: Replay(memory=6), "class_incremental"),
        (lambda: DERpp(memory=6), "class_incremental"),
        (lambda: AGEM(memory=6), "class_incremental"),
        (LwF, "class_incremental"),
        (GPM, "task_incremental"),
        (WSN, "task_incremental"),
        (lambda: APD(consolidate=2, groups=1), "task_incremental"),
        (lambda: HALRP(growth=None), "task_incremental"),
    ],
)
def test_nothing_of_an_earlier_run_is_left(make: Callable[[], Method], scenario: Scenario) -> None:
    stream, method = make_stream(scenario), make()
    run(stream, learner(scenario, 8), method, TRAINING)
    again = run(stream, learner(scenario, 6), method, TRAINING)
    new = run(stream, learner(scenario, 6), make(), TRAINING)
    np.testing.assert_array_equal(again.loss, new.loss)
    np.testing.assert_array_equal(again.accuracy, new.accuracy)
