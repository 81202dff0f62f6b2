import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors
from torch import nn

from holdfast.methods import Finetune, Method, SingleTask
from holdfast.nets.heads import SharedHead
from holdfast.nets.learner import HeadKind, Learner
from holdfast.starts.fresh import Fresh
from holdfast.streams.stream import Scenario

CASES = [
    ("task_incremental", "auto", False),
    ("domain_incremental", "auto", False),
    ("domain_incremental", "auto", True),
]


class Starting(TinyLoop):
    """Prepares each task with a start that redraws all it may."""

    def begin(self):
        i = self.index
        self.learner.accommodate(i, self.stream[i])
        Fresh().prepare(self.learner, self.context())
        return super().begin()


@pytest.mark.parametrize("loop_class", [TinyLoop, Starting])
@pytest.mark.parametrize(("scenario", "heads", "regression"), CASES)
def test_earlier_nets_stay_bit_identical(
    scenario: Scenario, heads: HeadKind, regression: bool, loop_class: type[TinyLoop]
) -> None:
    stream = make_stream(scenario, regression=regression)
    loop = loop_class(SingleTask(), make_learner(stream, heads, norm=True), stream)
    earlier, answers = {}, {}
    for i in range(3):
        loop.until(i + 1)
        state = tensors(loop.learner)
        assert all(torch.equal(state[k], v) for k, v in earlier.items())
        earlier = state
        loop.learner.eval()
        for j in range(i + 1):
            out = loop.learner(stream[j].test.x, j)
            assert torch.equal(out, answers.setdefault(j, out))
    assert len(loop.learner.backbone.nets) == 3
    assert not torch.equal(earlier["backbone.nets.1.0.weight"], earlier["backbone.nets.2.0.weight"])


def test_first_task_is_plain_training_on_the_net_given() -> None:
    stream = make_stream("task_incremental", tasks=1)
    plain = TinyLoop(Finetune(), make_learner(stream), stream).run()
    own = TinyLoop(SingleTask(), make_learner(stream), stream).run()
    for a, b in zip(plain.parameters(), own.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_task_is_learned_alike_at_any_time_of_the_others() -> None:
    # Only the seed and the position of a task matter for its net.
    stream = make_stream("task_incremental")
    a = TinyLoop(SingleTask(), make_learner(stream), stream, epochs=2).until(2)
    b = TinyLoop(SingleTask(), make_learner(stream), stream, epochs=3)
    b.until(1)
    b.epochs = 2
    b.until(2)
    assert same(tensors(a.learner.backbone.nets[1]), tensors(b.learner.backbone.nets[1]))


@pytest.mark.parametrize(("scenario", "heads", "regression"), CASES)
def test_mixed_batches_go_to_their_own_nets(
    scenario: Scenario, heads: HeadKind, regression: bool
) -> None:
    stream = make_stream(scenario, regression=regression)
    learner = TinyLoop(SingleTask(), make_learner(stream, heads), stream).run().eval()
    x = torch.cat([task.test.x for task in stream])[torch.arange(24) * 7 % 24]
    task = torch.arange(24) % 3
    mixed = learner(x, task)
    for i in range(24):
        own = learner(x[i, None], int(task[i]))[0]
        torch.testing.assert_close(mixed[i, : len(own)], own)


def test_knows_the_tasks_that_have_a_net() -> None:
    stream = make_stream("domain_incremental")
    loop = TinyLoop(SingleTask(), make_learner(stream), stream).until(2)
    assert [loop.learner.heads.knows(i, (0, 1)) for i in range(3)] == [True, True, False]
    with pytest.raises(ValueError, match="task 2 does not exist"):
        loop.learner(stream[0].test.x, 2)
    with pytest.raises(ValueError, match="task must be given"):
        loop.learner(stream[0].test.x)
    with pytest.raises(ValueError, match="unknown"):
        loop.learner.accommodate(2, make_stream(tasks=2)[1])


def test_what_was_frozen_from_the_start_stays() -> None:
    stream = make_stream("task_incremental")
    learner = make_learner(stream)
    learner.backbone.append(nn.Linear(8, 8))
    learner.backbone[0].requires_grad_(False)
    nets = TinyLoop(SingleTask(), learner, stream).run().backbone.nets
    assert torch.equal(nets[0][0].weight, nets[2][0].weight)
    assert not torch.equal(nets[0][2].weight, nets[2][2].weight)


class Stubborn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


def refuse(method: Method, learner: Learner, scenario: Scenario, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        method.check(learner, make_stream(scenario))


def test_refusals() -> None:
    method = SingleTask()
    refuse(method, make_learner(make_stream()), "class_incremental", "class_incremental stream")
    growing = make_learner(make_stream("task_incremental"), "growing")
    refuse(method, growing, "task_incremental", "got GrowingHead")
    stubborn = Learner(Stubborn(), SharedHead(5, [0, 1]))
    refuse(method, stubborn, "domain_incremental", r"cannot draw new weights for .*Stubborn")
    stream = make_stream("domain_incremental")
    used = TinyLoop(SingleTask(), make_learner(stream), stream, epochs=1).run()
    used.heads = used.heads.first
    refuse(method, used, "domain_incremental", "differs by task already")
