"""What holds of every method that adds parts of each task to one frozen base."""

from collections.abc import Callable

import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors
from torch import Tensor, nn

import holdfast
from holdfast.methods import BatchEnsemble, BatchNormOnly, Finetune, Method, TaskLoRA
from holdfast.methods.halrp import Adapted
from holdfast.methods.halrp.sizes import sizes
from holdfast.nets import lenet
from holdfast.nets.learner import Learner, build_learner
from holdfast.starts import Fresh
from holdfast.streams import split

METHODS: dict[str, Callable[..., Method]] = {
    "batch_norm": BatchNormOnly,
    "batch_norm_biases": lambda **options: BatchNormOnly(biases=True, **options),
    "batch_ensemble": BatchEnsemble,
    "task_lora": lambda **options: TaskLoRA(rank=2, **options),
    "task_lora_plain": lambda **options: TaskLoRA(rank=2, scale=3.0, biases=False, **options),
}
NORM = {"1.tasks.{t}.weight", "1.tasks.{t}.bias"}
OWN = {
    "batch_norm": NORM,
    "batch_norm_biases": {*NORM, "0.tasks.{t}.bias"},
    "batch_ensemble": {*NORM, "0.tasks.{t}.bias", "0.tasks.{t}.r", "0.tasks.{t}.s"},
    "task_lora": {*NORM, "0.tasks.{t}.bias", "0.tasks.{t}.U", "0.tasks.{t}.V"},
    "task_lora_plain": {*NORM, "0.tasks.{t}.U", "0.tasks.{t}.V"},
}
"""What of a net of Linear(5, 8) and BatchNorm1d(8) is trained for a task."""


class Starting(TinyLoop):
    """Prepares each task but the first with a start that redraws all it may."""

    def begin(self):
        if self.index:
            self.learner.accommodate(self.index, self.stream[self.index])
            Fresh().prepare(self.learner, self.context())
        return super().begin()


def tiny(name: str, loop: type[TinyLoop] = TinyLoop, **options: str) -> TinyLoop:
    stream = make_stream("task_incremental")
    return loop(METHODS[name](**options), make_learner(stream, norm=True), stream)


def base_of(learner: Learner) -> dict[str, Tensor]:
    assert isinstance(learner.backbone, Adapted)
    return tensors(learner.backbone.merge(None))


@pytest.mark.parametrize("base", ["first_task", "pretrained"])
@pytest.mark.parametrize("loop_class", [TinyLoop, Starting])
@pytest.mark.parametrize("name", METHODS)
def test_earlier_tasks_and_the_base_stay_bit_identical(
    name: str, loop_class: type[TinyLoop], base: str
) -> None:
    loop = tiny(name, loop_class, base=base)
    plain = tensors(loop.learner.backbone)
    earlier, answers, bases = {}, {}, []
    for i in range(3):
        loop.until(i + 1)
        state = tensors(loop.learner)
        assert all(torch.equal(state[k], v) for k, v in earlier.items() if "extra" not in k)
        earlier = state
        bases.append(base_of(loop.learner))
        loop.learner.eval()
        for j in range(i + 1):
            out = loop.learner(loop.stream[j].test.x, j)
            assert torch.equal(out, answers.setdefault(j, out))
    assert all(same(b, bases[0]) for b in bases)
    assert same(bases[0], plain) == (base == "pretrained")
    loop.learner.backbone.check_base()


@pytest.mark.parametrize("name", METHODS)
def test_only_the_parts_of_the_task_are_trained(name: str) -> None:
    loop = tiny(name).until(1)
    for index in (1, 2):
        loop.begin()
        before = {n: p.detach().clone() for n, p in loop.learner.named_parameters()}
        wanted = {f"backbone.model.{part.format(t=index)}" for part in OWN[name]}
        wanted |= {f"heads.heads.{index}.linear.{part}" for part in ("weight", "bias")}
        trained = {n for n, p in loop.learner.named_parameters() if p.requires_grad and p.numel()}
        assert trained == wanted
        loop.until(index + 1)
        after = dict(loop.learner.named_parameters())
        assert {n for n, p in before.items() if not torch.equal(p, after[n])} == wanted
        assert not any(p.requires_grad for p in after.values())


@pytest.mark.parametrize("name", METHODS)
def test_a_task_begins_as_the_base(name: str) -> None:
    loop = tiny(name).until(2)
    loop.begin()
    x = loop.stream[2].test.x
    loop.learner.eval()
    assert torch.equal(loop.learner.features(x, 2), loop.learner.backbone.merge(None).eval()(x))


@pytest.mark.parametrize("name", METHODS)
def test_first_task_is_plain_training(name: str) -> None:
    adapted = tiny(name).until(1)
    stream = make_stream("task_incremental")
    plain = TinyLoop(Finetune(), make_learner(stream, norm=True), stream).until(1)
    assert same(base_of(adapted.learner), tensors(plain.learner.backbone))
    assert same(tensors(adapted.learner.heads), tensors(plain.learner.heads))


@pytest.mark.parametrize("name", METHODS)
def test_what_came_frozen_stays_so_in_the_first_task(name: str) -> None:
    stream = make_stream("task_incremental")
    learner = make_learner(stream, norm=True)
    learner.backbone[0].requires_grad_(False)
    before = learner.backbone[0].weight.detach().clone()
    loop = TinyLoop(METHODS[name](), learner, stream).until(1)
    assert torch.equal(base_of(loop.learner)["0.weight"], before)


@pytest.mark.parametrize("name", METHODS)
def test_mixed_batches_go_to_their_own_tasks(name: str) -> None:
    loop = tiny(name)
    learner = loop.run().eval()
    x = torch.cat([task.test.x for task in loop.stream])[torch.arange(24) * 7 % 24]
    task = torch.arange(24) % 3
    mixed = learner(x, task)
    for i in range(24):
        own = learner(x[i, None], int(task[i]))[0]
        torch.testing.assert_close(mixed[i, : len(own)], own)


@pytest.mark.parametrize("name", METHODS)
def test_a_merged_task_computes_the_same(name: str, tmp_path) -> None:
    loop = tiny(name)
    backbone = loop.run().double().eval().backbone
    x = loop.stream[0].test.x.double()
    for task in range(3):
        torch.testing.assert_close(
            backbone.merge(task).eval()(x), backbone(x, task), rtol=1e-12, atol=1e-12
        )
    # And so does one that left by a file and came back.
    wanted = backbone(x, 2)
    path = backbone.export(2, tmp_path / "task.safetensors")
    backbone.remove(2)
    backbone.import_task(path)
    assert torch.equal(backbone.eval()(x, 2), wanted)


def per_task(name: str) -> dict[str, int]:
    """What a task takes of lenet((1, 8, 8), channels=(4, 6), hidden=(10,)), counted by hand."""
    layers = [(4, 1, 25), (6, 4, 25), (10, 24, 1)]  # out, in, places of the kernel
    out, into = sum(o for o, _, _ in layers), sum(i for _, i, _ in layers)
    low = sum(min(2, o, i * k) * (o + i * k) for o, i, k in layers)
    return {
        "scales": out + into if name == "batch_ensemble" else 0,
        "low_rank": low if name.startswith("task_lora") else 0,
        "biases": 0 if name in ("batch_norm", "task_lora_plain") else out,
        "norms": 2 * out,
        "statistics": 2 * out + 3,
        "head": 10 * 2 + 2,
    }


@pytest.mark.parametrize("name", METHODS)
def test_forgets_nothing_in_runs_and_holds_what_it_says(name: str) -> None:
    stream = split(holdfast.digits(), tasks=3, scenario="task_incremental", classes_per_task=2)
    net = lenet(stream.input_shape, channels=(4, 6), hidden=(10,))
    learner = build_learner(net, stream)
    training = holdfast.Training(epochs=8, optimizer="adam", lr=0.02, batch_size=64)
    record = holdfast.run(stream, learner, METHODS[name](), training)
    for j in range(3):
        assert (record.accuracy[j:, j] == record.accuracy[j, j]).all()
    assert record.accuracy[-1].min() > 0.8
    found = sizes(learner).tasks
    assert list(found) == ["1", "2"]
    for task in found.values():
        assert {key: getattr(task, key) for key in per_task(name)} == per_task(name)
        assert task.free == 0


@pytest.mark.parametrize("name", METHODS)
def test_refusals(name: str) -> None:
    def refused(learner: Learner, match: str) -> None:
        state = tensors(learner)
        with pytest.raises(ValueError, match=match):
            METHODS[name]().check(learner, stream)
        assert same(tensors(learner), state)

    stream = make_stream("task_incremental")
    refused(make_learner(stream, "growing", norm=True), r"heads 'per_task', got GrowingHead; use")
    used = tiny(name).until(1).learner
    refused(used, "differs by task already")


@pytest.mark.parametrize("method", [BatchEnsemble, TaskLoRA])
def test_modules_that_cannot_be_perturbed(method: Callable[..., Method]) -> None:
    stream = make_stream("task_incremental")
    learner = make_learner(stream)
    learner.backbone.append(nn.PReLU())
    with pytest.raises(ValueError, match=r"'2' is a PReLU .*freeze_others"):
        method().check(learner, stream)
    for options in ({"freeze_others": True}, {"skip": ["2"]}):
        learner = make_learner(stream)
        learner.backbone.append(nn.PReLU())
        loop = TinyLoop(method(**options), learner, stream, epochs=1)
        before = loop.until(1).learner.backbone.model[2].weight.clone()
        assert torch.equal(loop.run().backbone.model[2].weight, before)
