import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors
from torch import nn

import holdfast
from holdfast import nets, streams
from holdfast.data.split import Split
from holdfast.methods import GPM, Finetune
from holdfast.methods.layer_inputs import Inputs, extend, patches
from holdfast.nets.learner import build_learner
from holdfast.streams.stream import Stream, Task


def held(*parts: torch.Tensor) -> Inputs:
    inputs = Inputs()
    for part in parts:
        inputs.add(part)
    return inputs


def naive(basis: np.ndarray, inputs: np.ndarray, share: float) -> int:
    """Directions held after a task, counted one by one."""
    q = basis
    outside = inputs - basis @ basis.T @ inputs
    u = np.linalg.svd(outside, full_matrices=False)[0]
    for j in range(u.shape[1]):
        if np.sum((q.T @ inputs) ** 2) >= share * np.sum(inputs**2):
            break
        q = np.concatenate([q, u[:, j : j + 1]], axis=1)
    return q.shape[1]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6), d=st.integers(2, 9), n=st.integers(1, 25), share=st.floats(0.3, 1.0)
)
def test_extends_by_the_fewest_directions(seed: int, d: int, n: int, share: float) -> None:
    draws = np.random.default_rng(seed)
    first = draws.normal(size=(d, 2)) * 3
    second = draws.normal(size=(d, n)) * draws.uniform(0.01, 2, size=(d, 1))
    basis = extend(torch.empty(d, 0, dtype=torch.float64), held(torch.tensor(first.T)), 0.7)
    parts = torch.tensor(second.T).split(4)
    more = extend(basis, held(*parts), share)
    assert torch.equal(more[:, : basis.shape[1]], basis)
    torch.testing.assert_close(more.T @ more, torch.eye(more.shape[1], dtype=torch.float64))
    inputs = torch.tensor(second)
    assert (more.T @ inputs).square().sum() >= (share - 1e-9) * inputs.square().sum()
    if share < 0.999:
        assert more.shape[1] == naive(basis.numpy(), second, share)


def test_nothing_to_add() -> None:
    basis = torch.eye(3)[:, :2]
    assert extend(basis, held(torch.tensor([[1.0, 2.0, 0.0]])), 1.0).shape == (3, 2)
    assert extend(basis, held(torch.zeros(9, 3)), 1.0).shape == (3, 2)


CONVOLUTIONS = [
    nn.Conv2d(2, 3, 3, padding=1),
    nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(0, 2), dilation=(1, 2)),
    nn.Conv2d(2, 3, 3, padding="same", padding_mode="circular"),
    nn.Conv1d(2, 3, 3, stride=2, padding=1),
    nn.Linear(7, 3),
]


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_the_weight_times_patches_is_the_layer(layer: nn.Module) -> None:
    shape = (4, 2, 7, 6) if isinstance(layer, nn.Conv2d) else (4, 2, 7)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    wanted = layer(x)
    if not isinstance(layer, nn.Linear):
        wanted = wanted.movedim(1, -1)
    rows = patches(layer, x) @ layer.weight.flatten(1).T + layer.bias
    torch.testing.assert_close(rows, wanted.reshape(-1, 3), rtol=1e-5, atol=1e-6)


def image_stream(tasks: int = 3, dtype: torch.dtype = torch.float64, size: int = 16) -> Stream:
    draws = torch.Generator().manual_seed(3)
    made = []
    for i in range(tasks):
        x = torch.randn(24, 3, size, size, generator=draws, dtype=dtype)
        y = torch.arange(24) % 2 + 2 * i
        made.append(Task(f"t{i}", Split(x, y), Split(x[:6], y[:6]), classes=(2 * i, 2 * i + 1)))
    return Stream(made, "task_incremental")


class Optimized(TinyLoop):
    """With an optimizer of one's choice."""

    kind: str = "sgd"

    def make_optimizer(self) -> None:
        parameters = [p for p in self.learner.parameters() if p.requires_grad]
        if self.kind == "sgd":
            self.optimizer = torch.optim.SGD(parameters, lr=0.05)
        elif self.kind == "momentum":
            self.optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.1)
        else:
            self.optimizer = torch.optim.Adam(parameters, lr=0.01, weight_decay=0.01)


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam"])
def test_layers_answer_old_inputs_as_before(kind: str) -> None:
    stream = image_stream()
    net = nets.cnn(stream.input_shape, channels=(4, 5), hidden=(30,), norm="batch").double()
    learner = build_learner(net, stream).double()
    method = GPM(threshold=0.8, growth=0.0)
    loop = Optimized(method, learner, stream)
    loop.kind = kind
    loop.until(1)
    layers = {n: learner.get_submodule(n) for n in method.ranks}
    draws = torch.Generator().manual_seed(0)
    before, spanned = {}, {}
    for name, layer in layers.items():
        basis = method.state_dict()["bases"][name]
        mixed = torch.randn(20, basis.shape[1], generator=draws, dtype=basis.dtype)
        spanned[name] = mixed @ basis.T
        before[name] = layer.weight.detach().flatten(1).clone()
    loop.run()
    for name, layer in layers.items():
        moved = layer.weight.detach().flatten(1) - before[name]
        assert moved.norm() > 1e-4  # it has learned
        assert (spanned[name] @ moved.T).abs().max() < 1e-12
        free = torch.randn(20, moved.shape[1], generator=draws, dtype=moved.dtype)
        assert (free @ moved.T).abs().max() > 1e-4


def test_with_all_held_nothing_is_forgotten() -> None:
    # Every sample is in the memory and all of the energy is held: the net's own answers stay.
    stream = image_stream(dtype=torch.float32)
    net = nets.mlp(stream.input_shape, hidden=(60, 40), norm="batch")
    learner = build_learner(net, stream)
    loop = Optimized(GPM(threshold=1.0, samples=24), learner, stream)
    loop.kind = "adam"
    loop.until(1)
    x = stream[0].train.x
    learner.eval()
    wanted = learner(x, 0)
    loop.run()
    learner.eval()
    assert (learner(x, 0) - wanted).abs().max() < 1e-5


def test_sgd_moves_as_the_projected_gradient_does() -> None:
    """The published algorithm: with momentum, gradients projected before the step."""
    stream = image_stream(tasks=2)
    net = nets.mlp(stream.input_shape, hidden=(8, 6), bias=False).double()
    learner = build_learner(net, stream).double()
    method = GPM(threshold=0.8)
    loop = Optimized(method, learner, stream, epochs=1)
    loop.until(1)
    context = loop.begin()
    learner.train()
    bases = method.state_dict()["bases"]
    weights = {n: learner.get_submodule(n).weight for n in bases}
    theirs = {n: w.detach().clone() for n, w in weights.items()}
    velocity = {n: torch.zeros_like(w) for n, w in weights.items()}
    ours = torch.optim.SGD([p for p in learner.parameters() if p.requires_grad], 0.1, momentum=0.9)
    for batch in context.source.epoch(7, 0):
        ours.zero_grad()
        method.loss(learner, batch, context)[0].backward()
        for n, m in bases.items():
            g = weights[n].grad
            velocity[n] = 0.9 * velocity[n] + g - g @ m @ m.T
            theirs[n] = theirs[n] - 0.1 * velocity[n]
        ours.step()
        method.after_step(learner, batch, context)
        for n in bases:
            torch.testing.assert_close(weights[n].detach(), theirs[n], rtol=1e-10, atol=1e-12)


def test_ranks_grow_and_stop_at_the_dimension() -> None:
    stream = make_stream("task_incremental", tasks=4)
    method = GPM(threshold=0.9, growth=0.05)
    loop = TinyLoop(method, make_learner(stream), stream)
    seen = []
    for i in range(4):
        loop.until(i + 1)
        seen.append(method.ranks["backbone.0"])
    ranks = [rank for rank, _ in seen]
    assert ranks == sorted(ranks)
    assert 0 < ranks[0] < ranks[-1] <= 5
    assert {out_of for _, out_of in seen} == {5}


def test_norms_and_biases_are_those_of_the_first_task() -> None:
    stream = make_stream("task_incremental")
    loop = TinyLoop(GPM(), make_learner(stream, norm=True), stream).until(1)
    first = tensors(loop.learner)
    last = tensors(loop.run())
    moved = {k for k, v in first.items() if not torch.equal(v, last[k])}
    assert moved == {"backbone.0.weight"}  # statistics, biases and the first task's head stay


def test_a_shared_head_is_a_layer_like_others() -> None:
    stream = make_stream("domain_incremental", regression=True)
    method = GPM(threshold=0.7)
    loop = TinyLoop(method, make_learner(stream), stream).until(1)
    bias = loop.learner.heads.linear.bias.clone()
    loop.run()
    assert set(method.ranks) == {"backbone.0", "heads.linear"}
    assert torch.equal(loop.learner.heads.linear.bias, bias)


def test_first_task_is_plain_training() -> None:
    stream = make_stream("task_incremental", tasks=1)
    plain = TinyLoop(Finetune(), make_learner(stream), stream).run()
    held = TinyLoop(GPM(), make_learner(stream), stream).run()
    assert same(tensors(plain), tensors(held))


@pytest.mark.parametrize("net", ["lenet", "alexnet", "resnet18", "residual"])
def test_serves_the_image_nets(net: str) -> None:
    stream = image_stream(tasks=2, dtype=torch.float32, size=32 if net == "alexnet" else 16)
    made = {
        "lenet": lambda s: nets.lenet(s, (3, 4), (12, 10)),
        "alexnet": nets.alexnet,
        "resnet18": lambda s: nets.resnet18(s, width=2),
        "residual": lambda s: nets.residual(s, width=3, depth=3),
    }[net](stream.input_shape)
    if net == "alexnet":  # its layers, narrow
        made = nn.Sequential(*list(made)[:10], nn.Conv2d(128, 8, 2), nn.Flatten())
    learner = build_learner(made, stream)
    method = GPM(threshold=0.9, samples=8)
    TinyLoop(method, learner, stream, epochs=1).run()
    layers = [m for m in made.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert len(method.ranks) == len(layers)
    assert all(0 < rank <= size for rank, size in method.ranks.values())


def test_forgets_less_than_finetuning() -> None:
    stream = streams.split(
        holdfast.digits(), tasks=5, scenario="task_incremental", classes_per_task=2
    )
    training = holdfast.Training(epochs=3, lr=0.05, momentum=0.9, batch_size=16)

    def run(method: GPM | Finetune) -> holdfast.Record:
        return holdfast.run(stream, nets.mlp(stream.input_shape, (50, 50)), method, training)

    ours, plain = run(GPM()), run(Finetune())
    assert ours.accuracy[-1].mean() > plain.accuracy[-1].mean()
    assert ours.metrics()["forgetting"] < 0.5 * plain.metrics()["forgetting"]


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"threshold must be a number above 0 and at most 1\.0"):
        GPM(threshold=1.1)
    with pytest.raises(ValueError, match="growth must be a number"):
        GPM(growth=-math.inf)
    with pytest.raises(ValueError, match="samples must be a positive integer"):
        GPM(samples=0)
    growing = make_stream()
    with pytest.raises(ValueError, match="got GrowingHead"):
        GPM().check(make_learner(growing), growing)
    stream = make_stream("task_incremental")
    learner = make_learner(stream)
    learner.backbone = nn.Sequential(nn.Unflatten(1, (5, 1)), nn.Conv1d(5, 5, 1, groups=5))
    with pytest.raises(ValueError, match=r"cannot hold backbone\.1: its 5 groups"):
        GPM().check(learner, stream)
    learner.backbone = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    learner.backbone[1].weight = learner.backbone[0].weight
    with pytest.raises(ValueError, match=r"backbone\.1: it shares its weight with backbone\.0"):
        GPM().check(learner, stream)
    learner.backbone = nn.BatchNorm1d(5)
    with pytest.raises(ValueError, match="the backbone has none"):
        GPM().check(learner, stream)
    learner.backbone.per_task = True
    with pytest.raises(ValueError, match="differs by task"):
        GPM().check(learner, stream)
