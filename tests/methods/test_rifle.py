from typing import Any

import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream, tensors
from torch import Tensor

import holdfast
from holdfast import nets
from holdfast.methods import Finetune, Rifle
from holdfast.nets.learner import HeadKind
from holdfast.streams.stream import Scenario


class Traced(Rifle):
    """Keeps what an epoch left, before and after the head is drawn, and the optimizer's state."""

    def __init__(self, *, times: int = 1, first: bool = False) -> None:
        super().__init__(times=times, first=first)
        self._seen: list[tuple[int, int, dict[str, Tensor], dict[str, Tensor]]] = []
        self._steps: list[float] = []

    def after_epoch(self, learner, context, epoch):  # type: ignore[no-untyped-def]
        before = tensors(learner)
        again = super().after_epoch(learner, context, epoch)
        self._seen.append((context.index, epoch, before, tensors(learner)))
        state = context.optimizer().state
        self._steps.append(max(float(s["step"]) for p, s in state.items() if p.ndim == 1))
        return again


def run(method: Rifle, scenario: Scenario, heads: HeadKind = "auto", epochs: int = 6) -> None:
    stream = make_stream(scenario)
    learner = make_learner(stream, heads)
    training = holdfast.Training(epochs=epochs, batch_size=7, optimizer="adam", lr=0.01)
    holdfast.run(stream, learner.backbone, method, training, heads=heads)


@pytest.mark.parametrize("times", [1, 2, 4])
@pytest.mark.parametrize("first", [False, True])
def test_drawn_in_even_periods(times: int, first: bool) -> None:
    method = Traced(times=times, first=first)
    run(method, "domain_incremental")
    changed = {
        (i, epoch)
        for i, epoch, before, after in method._seen
        if any(not torch.equal(before[k], after[k]) for k in before)
    }
    ends = [round(j * 6 / (times + 1)) - 1 for j in range(1, times + 1)]
    assert changed == {(i, e) for i in range(3) for e in ends if first or i > 0}


@pytest.mark.parametrize(
    ("scenario", "heads"),
    [
        ("domain_incremental", "shared"),
        ("class_incremental", "growing"),
        ("class_incremental", "shared"),
        ("task_incremental", "per_task"),
    ],
)
def test_rows_of_the_task_alone_are_drawn(scenario: Scenario, heads: HeadKind) -> None:
    method = Traced()
    run(method, scenario, heads, epochs=2)
    stream = make_stream(scenario)
    bound = 8**-0.5
    for index, epoch, before, after in method._seen:
        own = {int(c) for c in stream[index].classes}
        for key in before:
            kept = index == 0 or epoch != 0 or not key.startswith("heads") or "known" in key
            if kept or (heads == "per_task" and f"heads.{index}." not in key):
                assert torch.equal(before[key], after[key]), key
                continue
            known = after[key.replace("linear.", "").rsplit(".", 1)[0] + ".known"].tolist()
            for row, label in enumerate(known):
                same = bool((before[key][row] == after[key][row]).any())
                assert same == (label not in own), (key, label)
                if label in own:
                    assert after[key][row].abs().max() <= bound


def test_the_optimizer_counts_anew_for_a_head_that_was_drawn_whole() -> None:
    method = Traced(first=True)
    run(method, "domain_incremental", epochs=2)
    # The backbone's bias has the larger count; the head's begins anew and ends below it.
    assert method._steps[0] > 0
    stream = make_stream("domain_incremental")
    learner = make_learner(stream)
    loop = TinyLoop(Finetune(), learner, stream)
    loop.index = 1
    context = loop.begin()
    loop.optimizer = torch.optim.Adam(learner.parameters())
    learner(torch.randn(4, 5)).square().sum().backward()
    loop.optimizer.step()
    Rifle().after_epoch(learner, context, 0)
    head = learner.heads.linear
    assert all(float(v.abs().max()) == 0 for v in loop.optimizer.state[head.weight].values())
    first = learner.backbone[0].weight
    assert float(loop.optimizer.state[first]["step"]) == 1


def test_regression_and_repetition() -> None:
    def after() -> dict[str, Tensor]:
        stream = make_stream("domain_incremental", regression=True)
        learner = make_learner(stream)
        holdfast.run(
            stream, learner.backbone, Rifle(), holdfast.Training(epochs=2, lr=0.01, batch_size=7)
        )
        return tensors(learner.backbone)

    one, two = after(), after()
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="times must be a positive integer, got 0"):
        Rifle(times=0)
    stream = make_stream("domain_incremental")
    with pytest.raises(ValueError, match="times must be below the number of epochs of a task, 2"):
        run(Rifle(times=2, first=True), "domain_incremental", epochs=2)
    # Before the first task too, which it leaves alone.
    events: list[dict[str, Any]] = []
    with pytest.raises(ValueError, match="times must be below the number of epochs of a task, 2"):
        holdfast.run(
            stream, make_learner(stream), Rifle(times=2), holdfast.Training(epochs=2),
            listener=events.append,
        )  # fmt: skip
    assert not events
    Rifle(times=2).check_epochs([2, 3])

    class Other(nets.Head):
        pass

    learner = make_learner(stream)
    learner.heads = Other()
    with pytest.raises(ValueError, match=r"got Other; split a model into a backbone"):
        Rifle().check(learner, stream)
