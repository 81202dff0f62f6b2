import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_gpm import Optimized, image_stream
from tiny_loop import TinyLoop, make_learner, make_stream
from torch import nn

import holdfast
from holdfast import nets, streams
from holdfast.methods import WSN, Finetune
from holdfast.methods.bits import pack, unpack
from holdfast.methods.wsn import top
from holdfast.nets.learner import Learner, build_learner
from holdfast.probes.size import measured_size
from holdfast.richness import parametrize


@given(mask=st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_mask_is_a_bit_an_entry(mask: list[bool]) -> None:
    packed = pack(torch.tensor(mask))
    assert len(packed) == -(-len(mask) // 8)
    assert unpack(packed, len(mask)).tolist() == mask


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 30), share=st.floats(0, 1))
def test_the_top_are_the_largest(seed: int, n: int, share: float) -> None:
    scores = torch.randn(n, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    count = max(1, round(share * n))
    mask = top(scores, count)
    wanted = torch.zeros(n)
    wanted[scores.detach().abs().sort(descending=True).indices[:count]] = 1
    assert torch.equal(mask, wanted)
    assert torch.equal(top(scores.bfloat16(), n), torch.ones(n).bfloat16())
    # Straight through |s|.
    (mask * torch.arange(n)).sum().backward()
    assert torch.equal(scores.grad, torch.arange(n) * scores.detach().sign())


def test_computes_and_learns_what_its_definition_says() -> None:
    stream = make_stream("task_incremental", dtype=torch.float64)
    loop = TinyLoop(WSN(capacity=0.4), make_learner(stream), stream).until(1)
    context = loop.begin()
    batch = next(context.source.epoch(7, 0))
    layer = loop.learner.backbone.model[0]
    weight, own = layer.shared.detach().clone().requires_grad_(), layer.own[1]
    scores = own.scores.detach()
    count = round(0.4 * weight.numel())
    mask = torch.zeros_like(weight)
    mask.view(-1)[scores.abs().flatten().argsort(descending=True)[:count]] = 1
    mask.requires_grad_()
    features = (batch.x @ (weight * mask).T + own.bias).relu()
    loss = context.criterion(loop.learner.heads(features, 1), batch.y)
    loss.backward()
    loop.learner.zero_grad()
    got, _ = loop.method.loss(loop.learner, batch, context)
    torch.testing.assert_close(got, loss)
    got.backward()
    loop.method.after_backward(loop.learner, batch, context)
    used = layer.mask(0)
    assert used.sum() == count
    torch.testing.assert_close(layer.shared.grad, weight.grad * ~used)
    torch.testing.assert_close(own.scores.grad, mask.grad * scores.sign())


@pytest.mark.parametrize("kind", ["momentum", "adam"])
@pytest.mark.parametrize("net", ["lenet", "resnet18"])
def test_forgets_nothing_at_all(net: str, kind: str) -> None:
    stream = image_stream(dtype=torch.float32)
    shape = stream.input_shape
    made = nets.lenet(shape, (3, 4), (12,)) if net == "lenet" else nets.resnet18(shape, 2)
    loop = Optimized(WSN(capacity=0.6), build_learner(made, stream), stream)
    loop.kind = kind  # both with weight decay
    learner, answers, weights = loop.learner, {}, []
    for i in range(3):
        loop.until(i + 1)
        learner.eval()
        for j in range(i + 1):
            out = learner(stream[j].train.x, j)
            assert torch.equal(out, answers.setdefault(j, out))
        weights.append(next(layer for _, layer in learner.backbone.layers()).shared.clone())
    assert not torch.equal(weights[0], weights[1])  # what was free has moved
    used = learner.backbone.used()
    assert all(0.6 < share < 1 for share in used.values())


def test_carried_moments_do_not_move_what_is_used() -> None:
    stream = streams.split(
        holdfast.digits(), tasks=3, scenario="task_incremental", classes_per_task=2
    )
    training = holdfast.Training(
        epochs=2, optimizer="adamw", lr=0.01, weight_decay=0.1, reset_optimizer=False
    )
    record = holdfast.run(stream, nets.mlp(stream.input_shape, (20,)), WSN(capacity=0.7), training)
    assert record.accuracy[0, 0] == record.accuracy[2, 0]
    assert record.loss[0, 0] == record.loss[2, 0]
    assert record.loss[1, 1] == record.loss[2, 1]


def test_scores_are_a_function_of_seed_and_task() -> None:
    stream = make_stream("task_incremental")

    def drawn(seed: int, tasks: int) -> torch.Tensor:
        loop = TinyLoop(WSN(), make_learner(stream), stream, epochs=1, seed=seed).until(tasks)
        loop.begin()
        return loop.learner.backbone.model[0].own[tasks].scores.detach().clone()

    assert torch.equal(drawn(0, 1), drawn(0, 1))
    assert not torch.equal(drawn(0, 1), drawn(0, 2))
    assert not torch.equal(drawn(0, 1), drawn(1, 1))


def test_mixed_batches_and_copies() -> None:
    stream = make_stream("task_incremental")
    learner = TinyLoop(WSN(), make_learner(stream, norm=True), stream, epochs=1).run().eval()
    x, task = stream[0].test.x, torch.tensor([2, 0, 1, 0, 2, 2, 1, 0])
    mixed = learner(x, task)
    for i, one in enumerate(task.tolist()):
        alone = learner(x[i, None], one)[0]
        torch.testing.assert_close(mixed[i, : len(alone)], alone)
    assert torch.equal(copy.deepcopy(learner)(x, 1), learner(x, 1))
    with pytest.raises(ValueError, match="task 3 does not exist"):
        learner.features(x, 3)
    with pytest.raises(ValueError, match="task must be given"):
        learner.features(x)


def test_size_counts_a_bit_a_weight() -> None:
    stream = make_stream("task_incremental")  # 5 inputs, 8 features, heads of 2, 3 and 2
    learner = TinyLoop(WSN(), make_learner(stream), stream, epochs=1).run()
    found = measured_size(learner.backbone, learner)
    biases, heads, labels = 3 * 8, 7 * 9, 7
    assert found.bytes == 4 * (40 + biases + heads) + 8 * labels + 3 * 40 // 8
    assert found.counted == 40 + biases + heads + 3 * 40 // 32


def test_learns_without_forgetting_where_finetuning_forgets() -> None:
    stream = streams.split(
        holdfast.digits(), tasks=5, scenario="task_incremental", classes_per_task=2
    )
    training = holdfast.Training(epochs=3, batch_size=16, lr=0.05, momentum=0.9)

    def run(method: WSN | Finetune) -> holdfast.Record:
        return holdfast.run(stream, nets.mlp(stream.input_shape, (50, 50)), method, training)

    ours, plain = run(WSN()), run(Finetune())
    assert ours.metrics()["forgetting"] == 0
    assert ours.accuracy[-1].mean() > plain.accuracy[-1].mean()


class Stubborn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"capacity must be a number above 0 and at most 1\.0"):
        WSN(capacity=0.0)
    growing = make_stream()
    with pytest.raises(ValueError, match="WSN needs heads 'per_task', got GrowingHead"):
        WSN().check(make_learner(growing), growing)
    stream = make_stream("task_incremental")
    learner = make_learner(stream)

    def refuse(backbone: nn.Module, match: str) -> None:
        with pytest.raises(ValueError, match=match):
            WSN().check(Learner(backbone, learner.heads), stream)

    refuse(nn.Sequential(nn.Linear(5, 5), Stubborn()), r"parameters of 1 \(Stubborn\); freeze")
    WSN().check(Learner(nn.Sequential(nn.Linear(5, 5), Stubborn().requires_grad_(False)),
                        learner.heads), stream)  # fmt: skip
    tied = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    tied[1].weight = tied[0].weight
    refuse(tied, "cannot serve 1: it shares its weight with 0")
    refuse(nn.BatchNorm1d(5), "the backbone has none")
    scaled = make_learner(stream)
    parametrize(scaled, "mup", gamma0=1.0, base_width=8)
    refuse(scaled.backbone, "no rule for a parametrized network")
    refuse(TinyLoop(WSN(), learner, stream, epochs=1).run().backbone, "does already")
