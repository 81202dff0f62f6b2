import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors

from holdfast.methods import AGEM, Finetune
from holdfast.methods.agem import project


def flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([t.flatten() for t in tensors])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_projection_is_the_closed_form(seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    parameters = [torch.zeros(shape, dtype=torch.float64) for shape in ((3, 2), (4,), ())]
    gradients = [torch.randn(p.shape, generator=draws, dtype=torch.float64) for p in parameters]
    reference = [torch.randn(p.shape, generator=draws, dtype=torch.float64) for p in parameters]
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = g.clone()
    project(parameters, reference)
    g, r = flat(gradients), flat(reference)
    got = flat([p.grad for p in parameters])
    wanted = g if g @ r >= 0 else g - (g @ r) / (r @ r) * r
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)
    assert got @ r >= -1e-12
    # The closest such gradient: what was removed is a multiple of r, orthogonal to what is left.
    assert abs((g - got) @ got) < 1e-10


def test_none_stands_for_zero() -> None:
    a, b, c = (torch.zeros(2) for _ in range(3))
    a.grad, c.grad = torch.tensor([1.0, 0.0]), torch.tensor([5.0, 5.0])
    r, s = torch.tensor([-1.0, 0.0]), torch.tensor([0.0, 1.0])
    project([a, b, c], [r, s, None])
    # g = (1, 0, 0, 0, 5, 5), r = (-1, 0, 0, 1, 0, 0): g.r = -1, r.r = 2.
    torch.testing.assert_close(a.grad, torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(b.grad, torch.tensor([0.0, 0.5]))
    torch.testing.assert_close(c.grad, torch.tensor([5.0, 5.0]))


def test_nothing_to_project_leaves_no_gradient() -> None:
    a, b = torch.zeros(2), torch.zeros(2)
    a.grad = torch.tensor([1.0, 0.0])
    project([a, b], [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])])
    assert b.grad is None
    project([b], [torch.ones(2)])
    assert b.grad is None


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_step_does_not_oppose_the_memory(scenario) -> None:
    stream = make_stream(scenario, dtype=torch.float64)
    method = AGEM(memory=15)
    loop = TinyLoop(method, make_learner(stream), stream)
    context = loop.until(1).begin()
    learner, memory, projected = loop.learner, method._memory, 0
    parameters = list(learner.parameters())
    for batch in context.source.epoch(7, 0):
        learner.zero_grad()
        loss, _ = method.loss(learner, batch, context)
        loss.backward()
        before = [None if p.grad is None else p.grad.clone() for p in parameters]
        state = loop.draws.get_state()
        method.after_backward(learner, batch, context)
        loop.draws.set_state(state)
        index = torch.randperm(len(memory), generator=loop.draws)[: len(batch)]
        loss = torch.stack(
            [
                -learner(memory.x[i, None], int(memory.task[i])).log_softmax(1)[0, memory.y[i]]
                for i in index
            ]
        ).mean()
        r = torch.autograd.grad(loss, parameters, materialize_grads=True)
        zero = [torch.zeros_like(p) for p in parameters]
        g = flat([z if b is None else b for z, b in zip(zero, before, strict=True)])
        got = flat([z if p.grad is None else p.grad for z, p in zip(zero, parameters, strict=True)])
        product = g @ flat(list(r))
        projected += bool(product < 0)
        wanted = g - product.clamp(max=0) / flat(list(r)).square().sum() * flat(list(r))
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)
        assert got @ flat(list(r)) >= -1e-12
    assert projected > 0


def test_first_task_is_plain_training() -> None:
    stream = make_stream(tasks=1)
    plain = TinyLoop(Finetune(), make_learner(stream), stream).run()
    agem = TinyLoop(AGEM(), make_learner(stream), stream).run()
    assert same(tensors(plain), tensors(agem))


def test_refuses_to_balance_targets() -> None:
    stream = make_stream("domain_incremental", regression=True)
    with pytest.raises(ValueError, match="selection must be 'reservoir' for regression targets"):
        AGEM(selection="class_balanced").check(make_learner(stream), stream)
