"""Parts that do not fit each other, and questions that a learner cannot answer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

import holdfast
from holdfast.data import Split
from holdfast.nets import GrowingHead, Learner, SharedHead, TaskHeads, build_learner, mlp
from holdfast.records import Record
from holdfast.streams import Stream, Task
from holdfast.training.run import run
from refusals import net


def test_a_learner_that_does_not_fit_the_stream(untrained: None, stream: Stream) -> None:
    large = mlp((1, 9, 9), hidden=[4])
    for learner, message in (
        (large, r"the net does not take inputs of shape \(1, 8, 8\)"),
        (Learner(large, GrowingHead(4)), r"the net does not take inputs of shape \(1, 8, 8\)"),
        (Learner(net(), GrowingHead(5)), r"its heads take 5 features, its backbone gives 4"),
        (Learner(net(), TaskHeads(4)), r"TaskHeads need the task at test time.*use GrowingHead"),
        (Learner(net(), SharedHead(4, 10)), r"gives 10 regression outputs.*make it with its cla"),
    ):
        with pytest.raises(ValueError, match=message):
            run(stream, learner)


def test_targets_that_the_heads_do_not_give(untrained: None) -> None:
    y = torch.zeros(6, 3)
    samples = Split(torch.zeros(6, 1, 8, 8), y)
    targets = Stream([Task("targets", samples, samples)], "domain_incremental")
    for heads, message in (
        (GrowingHead(4), "regression targets need a SharedHead with 3 outputs, got GrowingHead"),
        (SharedHead(4, 1), "its SharedHead gives 1 outputs, the stream has 3 targets a sample"),
    ):
        with pytest.raises(ValueError, match=message):
            run(targets, Learner(net(), heads))
    with pytest.raises(ValueError, match="regression outputs, which stand for no classes"):
        Learner(net(), SharedHead(4, 3)).predict(torch.zeros(1, 1, 8, 8))


def test_a_task_that_does_not_exist(stream: Stream, complete: Path) -> None:
    learner = build_learner(net(), Stream(stream.tasks, "task_incremental"))
    learner.accommodate(0, stream[0])
    x = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"task 9 does not exist: heads are there for \[0\]"):
        learner.predict(x, 9)
    with pytest.raises(ValueError, match=r"tasks \[9\] do not exist: heads are there for \[0\]"):
        learner(x, torch.tensor([0, 9]))
    with pytest.raises(ValueError, match=r"task must be given: TaskHeads have a head for each"):
        learner.predict(x)
    with pytest.raises(IndexError, match=r"there is no task 2: the stream has tasks 0..1"):
        stream[2]
    with pytest.raises(ValueError, match=r"task must be in 0..1, got 2"):
        Record.load(complete).trace(2)


def test_predict_before_fit(stream: Stream) -> None:
    x = np.zeros((2, 4))
    for call in ("predict", "predict_proba", "decision_function"):
        with pytest.raises(NotFittedError, match=r"is not fitted yet. Call 'fit'"):
            getattr(holdfast.ContinualClassifier(), call)(x)
    with pytest.raises(ValueError, match=r"the learner knows no classes yet; train it"):
        build_learner(net(), stream).predict(torch.zeros(1, 1, 8, 8))


def test_a_head_asked_for_an_unknown_class(untrained: None, stream: Stream) -> None:
    growing = GrowingHead(4)
    growing.accommodate(0, [0, 1])
    for head in (SharedHead(4, [0, 1]), growing):
        with pytest.raises(
            ValueError, match=r"labels \[7\] are unknown to this .*which has \[0, 1"
        ):
            head.columns(torch.tensor([0, 7]), 0)
    fixed = Learner(net(), SharedHead(4, range(5)))
    with pytest.raises(ValueError, match=r"classes \[5, 6, 7, 8, 9\] are unknown.*use GrowingHead"):
        run(stream, fixed)
