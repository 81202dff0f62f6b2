import math

import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors
from torch import Tensor

from holdfast.methods import DERpp, Finetune
from holdfast.methods.derpp import logit_distance
from holdfast.streams.stream import Scenario


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_loss_is_the_formula(scenario: Scenario) -> None:
    stream = make_stream(scenario, tasks=4, dtype=torch.float64)
    method = DERpp(memory=16, alpha=0.3, beta=0.7, batch_size=8)
    loop = TinyLoop(method, make_learner(stream), stream)
    context = loop.until(3).begin()
    memory = method._memory
    assert len(memory.width.unique()) > 1
    batch = next(context.source.epoch(7, 0))
    state = loop.draws.get_state()
    loss, logits = method.loss(loop.learner, batch, context)
    loop.draws.set_state(state)
    first, second = (torch.randperm(16, generator=loop.draws)[:8] for _ in range(2))

    def now(i: int | Tensor) -> Tensor:
        return loop.learner(memory.x[i, None], int(memory.task[i]))[0]

    squares = [
        (now(i)[column] - memory.logits[i, column]) ** 2
        for i in first.tolist()
        for column in range(int(memory.width[i]))
    ]
    labels = [-now(i).log_softmax(0)[memory.y[i]] for i in second.tolist()]
    own = loop.learner(batch.x, 3)
    data = -own.log_softmax(1)[torch.arange(7), batch.y].mean()
    wanted = data + 0.3 * torch.stack(squares).mean() + 0.7 * torch.stack(labels).mean()
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=0)
    torch.testing.assert_close(logits[:, : own.shape[1]], own, rtol=1e-12, atol=1e-14)
    loss.backward()
    assert all(
        torch.isfinite(p.grad).all() for p in loop.learner.parameters() if p.grad is not None
    )


def test_stores_the_logits_of_the_step() -> None:
    stream = make_stream(tasks=1)
    method = DERpp(memory=100)
    loop = TinyLoop(method, make_learner(stream), stream)
    for _ in loop.steps():
        break
    memory = method._memory
    assert len(memory) == 7
    fresh = TinyLoop(Finetune(), make_learner(stream), stream)
    fresh.begin()
    torch.testing.assert_close(memory.logits, fresh.learner(memory.x, 0))
    loop.until(1)
    assert len(memory) == 2 * len(stream[0].train)  # offered once an epoch


def test_without_weights_it_is_plain_training() -> None:
    stream = make_stream()
    plain = TinyLoop(Finetune(), make_learner(stream), stream).run()
    none = TinyLoop(DERpp(alpha=0.0, beta=0.0), make_learner(stream), stream).run()
    for a, b in zip(plain.parameters(), none.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert not same(tensors(none), tensors(TinyLoop(DERpp(), make_learner(stream), stream).run()))


def test_distance_ignores_columns_not_stored() -> None:
    stored, width = torch.tensor([[1.0, 2.0, 3.0], [0.5, 0.0, 0.0]]), torch.tensor([3, 1])
    logits = torch.tensor([[2.0, 2.0, 1.0, 7.0], [1.5, -math.inf, -math.inf, 7.0]])
    distance = logit_distance(logits.requires_grad_(), stored, width)
    assert distance.item() == pytest.approx((1 + 0 + 4 + 1) / 4)
    (gradient,) = torch.autograd.grad(distance, logits)
    wanted = torch.tensor([[0.5, 0, -1, 0], [0.5, 0, 0, 0]])
    torch.testing.assert_close(gradient, wanted)
