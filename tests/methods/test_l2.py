import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors
from torch import Tensor, nn

from holdfast.methods import EWC, L2, Finetune, Method
from holdfast.streams.stream import Scenario

CASES = [
    ("class_incremental", False),
    ("task_incremental", False),
    ("domain_incremental", True),
]


def pushed(loop: TinyLoop, method: Method) -> dict[str, Tensor]:
    """Gradients of the next batch, at parameters away from where the last task left them."""
    context = loop.begin()
    draws = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in loop.learner.parameters():
            p += 0.3 * torch.randn(p.shape, dtype=p.dtype, generator=draws)
    batch = next(context.source.epoch(7, 0))
    loop.learner.zero_grad()
    loss, logits = method.loss(loop.learner, batch, context)
    assert torch.equal(loss, context.criterion(logits, batch.y))  # the data's alone
    loss.backward()
    method.after_backward(loop.learner, batch, context)
    return {n: p.grad for n, p in loop.learner.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("scenario", "regression"), CASES)
@pytest.mark.parametrize("norm", [False, True])
def test_gradient_is_that_of_the_explicit_penalty(
    scenario: Scenario, regression: bool, norm: bool
) -> None:
    stream = make_stream(scenario, regression=regression, dtype=torch.float64)
    loop = TinyLoop(L2(strength=3.0), make_learner(stream, norm=norm), stream).until(2)
    old = {n: p.detach().clone() for n, p in loop.learner.named_parameters()}
    got = pushed(loop, loop.method)
    batch = next(loop.context().source.epoch(7, 0))
    wanted = loop.context().criterion(loop.learner(batch.x, 2), batch.y)
    for name, p in loop.learner.named_parameters():
        if name in old and not name.startswith("heads.heads"):
            for i in range(len(old[name])):
                wanted = wanted + 3.0 / 2 * (p[i] - old[name][i]).square().sum()
    loop.learner.zero_grad()
    wanted.backward()
    for name, p in loop.learner.named_parameters():
        if p.grad is None:
            assert name not in got
        else:
            torch.testing.assert_close(got[name], p.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_is_ewc_of_unit_fisher(scenario: Scenario) -> None:
    stream = make_stream(scenario, dtype=torch.float64)
    gradients = []
    for kind in (L2, EWC):
        loop = TinyLoop(L2(strength=3.0), make_learner(stream, norm=True), stream).until(2)
        method = loop.method
        if kind is EWC:
            at = {n: p.detach().clone() for n, p in loop.learner.named_parameters()}
            unit = {n: torch.ones_like(p) for n, p in at.items()}
            method = EWC(strength=3.0, online=True)
            method.load_state_dict({"stiffness": unit, "centre": at})
            loop.method = method
        gradients.append(pushed(loop, method))
    l2, ewc = gradients
    assert l2.keys() == ewc.keys()
    for name, g in l2.items():
        torch.testing.assert_close(g, ewc[name], rtol=1e-12, atol=0)


def test_heads_of_tasks_are_not_kept() -> None:
    stream = make_stream("task_incremental")
    loop = TinyLoop(L2(), make_learner(stream), stream).until(1)
    assert set(loop.method.state_dict()["centre"]) == {"backbone.0.weight", "backbone.0.bias"}
    before = tensors(loop.learner.heads)
    after = tensors(loop.run().heads)
    assert all(torch.equal(after[k], v) for k, v in before.items())


def test_strength_zero_is_plain_training() -> None:
    stream = make_stream()
    plain = TinyLoop(Finetune(), make_learner(stream), stream).run()
    none = TinyLoop(L2(strength=0.0), make_learner(stream), stream).run()
    assert same(tensors(plain), tensors(none))


def test_stronger_springs_move_and_forget_less() -> None:
    stream = make_stream("task_incremental", rows=60)

    def moved_and_risen(strength: float) -> tuple[float, float]:
        loop = TinyLoop(L2(strength=strength), make_learner(stream), stream, epochs=20).until(1)
        at, task = loop.learner.backbone[0].weight.detach().clone(), stream[0].train

        def loss() -> float:
            y = loop.learner.columns(task.y, 0)
            return float(nn.functional.cross_entropy(loop.learner(task.x, 0), y).detach())

        before = loss()
        loop.run()
        away = (loop.learner.backbone[0].weight.detach() - at).norm()
        return float(away), loss() - before

    free, held = moved_and_risen(0.0), moved_and_risen(10.0)
    assert held[0] < 0.2 * free[0]
    assert held[1] < 0.3 * free[1]


def test_refuses_a_negative_strength() -> None:
    with pytest.raises(ValueError, match=r"strength must be a number of at least 0, got -1\.0"):
        L2(strength=-1.0)
