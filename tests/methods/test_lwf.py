import copy

import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors
from torch import Tensor

from holdfast.methods import Finetune, LwF, SingleTask
from holdfast.methods.lwf import distillation
from holdfast.nets.learner import HeadKind
from holdfast.streams.stream import Scenario


def naive_kl(z: Tensor, f: Tensor, temperature: float) -> Tensor:
    total = torch.zeros((), dtype=f.dtype)
    for old, new in zip(z, f, strict=True):
        p = (old / temperature).exp() / (old / temperature).exp().sum()
        q = (new / temperature).exp() / (new / temperature).exp().sum()
        total = total + (p * (p / q).log()).sum()
    return total / len(z)


@pytest.mark.parametrize(
    ("scenario", "heads"),
    [
        ("class_incremental", "growing"),
        ("class_incremental", "shared"),
        ("task_incremental", "per_task"),
        ("task_incremental", "growing"),
        ("domain_incremental", "shared"),
    ],
)
def test_loss_is_the_formula(scenario: Scenario, heads: HeadKind) -> None:
    stream = make_stream(scenario, dtype=torch.float64)
    method = LwF(strength=0.8, temperature=1.7)
    loop = TinyLoop(method, make_learner(stream, heads), stream)
    loop.until(2)
    teacher = copy.deepcopy(loop.learner)
    context = loop.begin()
    with torch.no_grad():
        for p in loop.learner.parameters():
            p += 0.1 * torch.randn(p.shape, dtype=p.dtype, generator=loop.draws)
    batch = next(context.source.epoch(7, 0))
    loss, logits = method.loss(loop.learner, batch, context)
    torch.testing.assert_close(logits, loop.learner(batch.x, 2))
    wanted = -logits.log_softmax(1)[torch.arange(7), batch.y].mean()
    if heads == "per_task":
        for i in (0, 1):
            wanted = wanted + 0.8 * naive_kl(
                teacher(batch.x, i).detach(), loop.learner(batch.x, i), 1.7
            )
    else:
        # Tasks 0 and 1 have two and three classes; one of the domain-incremental has both.
        old = 2 if scenario == "domain_incremental" else 5
        z = teacher(batch.x).detach()
        wanted = wanted + 0.8 * naive_kl(z[:, :old], logits[:, :old], 1.7)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=0)


def test_teacher_is_the_net_after_the_previous_task() -> None:
    stream = make_stream()
    method = LwF()
    loop = TinyLoop(method, make_learner(stream, norm=True), stream).until(1)
    wanted = tensors(loop.learner)
    steps = loop.steps()
    for _ in range(3):
        next(steps)
    assert loop.index == 1
    assert method._teacher is not None
    assert same(tensors(method._teacher), wanted)  # BatchNorm's statistics too
    assert not any(p.requires_grad for p in method._teacher.parameters())


def test_strength_zero_is_plain_training() -> None:
    stream = make_stream("task_incremental")
    plain = TinyLoop(Finetune(), make_learner(stream), stream).run()
    none = TinyLoop(LwF(strength=0.0), make_learner(stream), stream).run()
    assert same(tensors(plain), tensors(none))


def test_strong_distillation_keeps_old_outputs() -> None:
    stream = make_stream("task_incremental", rows=60)
    x = stream[1].train.x

    def moved(method: Finetune | LwF) -> float:
        loop = TinyLoop(method, make_learner(stream), stream, epochs=10).until(1)
        before = loop.learner(x, 0).softmax(1)
        after = loop.until(2).learner(x, 0).softmax(1)
        return float((after - before).detach().abs().mean())

    assert moved(LwF(strength=10.0)) < 0.3 * moved(Finetune())


def test_distillation_of_shifted_logits_is_zero() -> None:
    z = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert distillation(z + 5, z, 2.0).item() == pytest.approx(0, abs=1e-12)


def test_refusals() -> None:
    stream = make_stream("domain_incremental", regression=True)
    with pytest.raises(ValueError, match="LwF distils class probabilities"):
        LwF().check(make_learner(stream), stream)
    stream = make_stream("task_incremental")
    learner = TinyLoop(SingleTask(), make_learner(stream), stream, epochs=1).run()
    with pytest.raises(ValueError, match="backbone differs by task"):
        LwF().check(learner, stream)
