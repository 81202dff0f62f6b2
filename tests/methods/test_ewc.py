from dataclasses import dataclass

import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors
from torch import Tensor, nn

from holdfast.methods import EWC, Finetune
from holdfast.nets.learner import Learner
from holdfast.streams.stream import Scenario, Task


def empirical_fisher(learner: Learner, index: int, task: Task) -> dict[str, Tensor]:
    """One backward pass a sample."""
    learner.eval()
    names = [name for name, _ in learner.named_parameters()]
    total = {name: torch.zeros_like(p) for name, p in learner.named_parameters()}
    for x, y in zip(task.train.x, task.train.y, strict=True):
        out = learner(x[None], index)
        if y.is_floating_point():
            loss = ((out[0] - y) ** 2).sum() / 2
        else:
            loss = -out.log_softmax(1)[0, learner.columns(y[None], index)[0]]
        found = torch.autograd.grad(loss, list(learner.parameters()), materialize_grads=True)
        for name, g in zip(names, found, strict=True):
            total[name] += g**2 / len(task.train)
    learner.train()
    return total


@dataclass
class Anchor:
    fisher: dict[str, Tensor]
    at: dict[str, Tensor]

    def penalty(self, learner: Learner, weight: float) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for name, p in learner.named_parameters():
            if name in self.at:
                rows = self.at[name].shape[0]
                square = (p[:rows] - self.at[name]) ** 2
                total = total + weight / 2 * (self.fisher[name] * square).sum()
        return total


def anchored(loop: TinyLoop) -> list[Anchor]:
    """Train on the first two tasks; what separate penalties would keep of them."""
    anchors = []
    for i in range(2):
        loop.until(i + 1)
        at = {name: p.detach().clone() for name, p in loop.learner.named_parameters()}
        anchors.append(Anchor(empirical_fisher(loop.learner, i, loop.stream[i]), at))
    return anchors


CASES = [
    ("class_incremental", False),
    ("task_incremental", False),
    ("domain_incremental", False),
    ("domain_incremental", True),
]


@pytest.mark.parametrize(("scenario", "regression"), CASES)
@pytest.mark.parametrize(
    ("online", "decay", "norm"), [(False, 1.0, True), (False, 0.6, False), (True, 0.6, False)]
)
def test_gradient_is_that_of_the_explicit_penalties(
    scenario: Scenario, regression: bool, online: bool, decay: float, norm: bool
) -> None:
    stream = make_stream(scenario, regression=regression, dtype=torch.float64)
    learner = make_learner(stream, norm=norm)
    loop = TinyLoop(EWC(strength=3.0, online=online, decay=decay), learner, stream)
    anchors = anchored(loop)
    if online:
        latest = anchors[1].at
        anchors[0].at = {name: latest[name][: len(old)] for name, old in anchors[0].at.items()}
    context = loop.begin()
    with torch.no_grad():
        for name, p in learner.named_parameters():
            if not name.startswith("heads.heads") or name.startswith("heads.heads.2"):
                p += 0.3 * torch.randn(p.shape, dtype=p.dtype, generator=loop.draws)
    batch = next(context.source.epoch(7, 0))
    loss, logits = loop.method.loss(learner, batch, context)
    assert torch.equal(loss, context.criterion(logits, batch.y))  # the data's alone
    learner.zero_grad()
    loss.backward()
    loop.method.after_backward(learner, batch, context)
    wanted = context.criterion(learner(batch.x, 2), batch.y)
    wanted = wanted + anchors[0].penalty(learner, 3.0 * decay) + anchors[1].penalty(learner, 3.0)
    parameters = list(learner.parameters())
    gradients = torch.autograd.grad(wanted, parameters, materialize_grads=True)
    for p, g in zip(parameters, gradients, strict=True):
        got = torch.zeros_like(p) if p.grad is None else p.grad
        torch.testing.assert_close(got, g, rtol=1e-9, atol=1e-12)


def test_no_force_at_the_centre_and_none_on_new_rows() -> None:
    stream = make_stream()
    loop = TinyLoop(EWC(strength=1e6), make_learner(stream), stream).until(1)
    context = loop.begin()
    batch = next(context.source.epoch(7, 0))
    for moved in (False, True):
        with torch.no_grad():
            for p in loop.learner.parameters():
                p += 0.1 * moved
        loop.learner.zero_grad()
        loop.method.loss(loop.learner, batch, context)[0].backward()
        before = {n: p.grad.clone() for n, p in loop.learner.named_parameters()}
        loop.method.after_backward(loop.learner, batch, context)
        after = {n: p.grad for n, p in loop.learner.named_parameters()}
        assert same(before, after) != moved
        assert torch.equal(before["heads.weight"][2:], after["heads.weight"][2:])


def test_old_heads_are_left_alone() -> None:
    stream = make_stream("task_incremental")
    loop = TinyLoop(EWC(strength=10.0), make_learner(stream), stream).until(1)
    before = tensors(loop.learner.heads)
    after = tensors(loop.run().heads)  # the optimizer has weight decay
    assert all(torch.equal(after[k], v) for k, v in before.items())


def test_memory_does_not_grow_with_tasks() -> None:
    stream = make_stream("domain_incremental", tasks=4)
    method = EWC()
    loop = TinyLoop(method, make_learner(stream), stream, epochs=1).until(1)

    def held() -> int:
        return sum(t.numel() for part in method.state_dict().values() for t in part.values())

    first = held()
    loop.run()
    assert held() == first == 2 * sum(p.numel() for p in loop.learner.parameters())


def test_strength_zero_is_plain_training() -> None:
    stream = make_stream()
    plain = TinyLoop(Finetune(), make_learner(stream), stream).run()
    none = TinyLoop(EWC(strength=0.0), make_learner(stream), stream).run()
    assert same(tensors(plain), tensors(none))


def test_keeps_what_finetuning_forgets() -> None:
    stream = make_stream("task_incremental", rows=60)

    def risen(method: EWC | Finetune) -> float:
        loop = TinyLoop(method, make_learner(stream), stream, epochs=30).until(1)
        task = stream[0].train

        def loss() -> float:
            y = loop.learner.columns(task.y, 0)
            return float(nn.functional.cross_entropy(loop.learner(task.x, 0), y).detach())

        before = loss()
        loop.run()
        return loss() - before

    assert risen(EWC(strength=100.0)) < 0.3 * risen(Finetune())


@pytest.mark.parametrize("fisher", ["true", "sampled", "weighted", "batch_mean_scaled"])
def test_forms_differ(fisher: str) -> None:
    stream = make_stream()

    def stiffness(method: EWC) -> Tensor:
        TinyLoop(method, make_learner(stream), stream, epochs=1).until(1)
        return method.state_dict()["stiffness"]["heads.weight"]

    other, empirical = stiffness(EWC(fisher=fisher)), stiffness(EWC())
    assert not torch.allclose(other, empirical)
    if fisher == "batch_mean_scaled":
        mean = stiffness(EWC(fisher="batch_mean"))
        assert (mean < other).all()


def test_likelihood_follows_the_loss() -> None:
    stream = make_stream()
    method = EWC(likelihood="gaussian", fisher="true")
    TinyLoop(method, make_learner(stream), stream, epochs=1).until(1)
    # Every output has unit information about its own bias, whatever the samples.
    torch.testing.assert_close(method.state_dict()["stiffness"]["heads.bias"], torch.ones(2))


def test_refusals() -> None:
    stream = make_stream("domain_incremental", regression=True)
    with pytest.raises(ValueError, match="fisher='weighted' needs class probabilities"):
        EWC(fisher="weighted").check(make_learner(stream), stream)
    stream = make_stream()
    learner = make_learner(stream)
    learner.backbone.append(nn.BatchNorm1d(8, track_running_stats=False))
    state = tensors(learner)
    with pytest.raises(ValueError, match="batch norm without running statistics"):
        EWC().check(learner, stream)
    EWC(fisher="batch_mean").check(learner, stream)
    assert same(tensors(learner), state)
