import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from perturbed_cases import shake
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations

from holdfast import nets
from holdfast.methods import halrp
from holdfast.starts.fingerprint import fingerprint


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(16, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 3),
        ).double()  # fmt: skip


def adapted(tasks: int = 2, **how) -> halrp.Adapted:
    """With tasks "0", "1" ... that are far from the base and from each other."""
    model = halrp.adapt(network(), heads=["8"], **how).eval()
    for t in range(tasks):
        model.add(t, ranks=t + 1)
        shake(nn.ParameterList(p for _, p in model.own(t)), seed=t)
    return model


def batch(n: int = 5) -> torch.Tensor:
    return torch.randn(n, 2, 4, 4, generator=torch.Generator().manual_seed(9)).double()


def train(model: halrp.Adapted, task: int, steps: int = 3) -> None:
    model.train_only(task)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.05, weight_decay=0.1)
    x, y = batch(8), torch.arange(8) % 3
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(x, task), y).backward()
        optimizer.step()
    model.eval()


def bits(module: nn.Module) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in module.state_dict().items()}


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


# -- what it computes


@pytest.mark.parametrize("conv", ["constant", "flat", "separable"])
def test_a_merged_task_computes_the_same(conv):
    model, x = adapted(conv=conv), batch()
    outputs = [model(x, t) for t in (0, 1)]
    assert (outputs[0] - outputs[1]).abs().max() > 0.1
    for t in (0, 1):
        plain = model.merge(t)
        assert not any(isinstance(m, halrp.Perturbed) for m in plain.modules())
        assert [type(m) for m in plain] == [type(m) for m in network()]
        assert torch.allclose(plain(x), outputs[t], rtol=0, atol=1e-12)
        shake(plain)  # and shares nothing
        assert torch.equal(model(x, t), outputs[t])
    assert torch.equal(model(x), network().eval()(x))
    assert same(bits(model.merge(None)), bits(network()))


def test_full_rank_is_the_free_network():
    model, x = adapted(0), batch()
    model.add_free("t")
    shake(nn.ParameterList(p for _, p in model.own("t")), by=0.3)
    free = model(x, "t")
    model.settle("t", halrp.decompositions(model, "t"), {"0": 4, "5": 6})
    assert torch.allclose(model(x, "t"), free, rtol=0, atol=1e-12)
    assert torch.allclose(model.merge("t")(x), free, rtol=0, atol=1e-12)


def test_ids_in_a_batch_are_one_task_after_the_other():
    model, x = adapted(3), batch(7)
    ids = torch.tensor([2, 0, 1, 0, 2, 2, 0])
    expected = torch.stack([model(x[i : i + 1], int(t))[0] for i, t in enumerate(ids)])
    assert torch.allclose(model(x, ids), expected, rtol=0, atol=1e-12)
    model(x, ids).square().sum().backward()
    assert model.model[5].tasks["2"].U.grad is not None


def test_activation_lasts_and_passes():
    model, x = adapted(), batch()
    one = model(x, 1)
    assert model.active is None
    assert torch.equal(model.activate(1)(x), one)
    with model.as_task(0):
        assert not torch.equal(model(x), one)
    assert torch.equal(model(x), one)
    assert model.active == "1"
    assert torch.equal(model.activate(None)(x), network().eval()(x))


# -- what stays


def test_nothing_of_the_base_or_of_other_tasks_moves():
    model, x = adapted(0), batch()
    base, learned = bits(network()), []
    for t in range(4):
        model.add(t, ranks=2)
        train(model, t)
        learned.append((bits(nn.ParameterDict(
            {n.replace(".", "_"): p for n, p in model.own(t)})), model(x, t)))  # fmt: skip
    for t, (parameters, outputs) in enumerate(learned):
        now = nn.ParameterDict({n.replace(".", "_"): p for n, p in model.own(t)})
        assert same(bits(now), parameters)
        assert torch.equal(model(x, t), outputs)
    assert same(bits(model.merge(None)), base)
    model.train()
    model(x)  # not even running statistics
    assert same(bits(model.merge(None)), base)
    before = model(x, 3)
    model.remove(1)
    assert torch.equal(model(x, 3), before)
    assert model.tasks == ("0", "2", "3")


def test_the_print_is_that_of_the_plain_model():
    model = adapted(2)
    assert model.fingerprint() == fingerprint(network())
    model.fold(1)
    assert model.fingerprint() == fingerprint(network())


def test_a_base_that_changed_is_refused():
    model = adapted()
    with torch.no_grad():
        model.model[5].base.weight[0, 0] += 1e-9
    for use in (lambda: model.merge(0), lambda: model.add(7), lambda: model.fold(1)):
        with pytest.raises(ValueError, match="base has changed since tasks \\['0', '1'\\]"):
            use()
    assert model.tasks == ("0", "1")
    with pytest.raises(ValueError, match="base cannot be trained: tasks"):
        model.train_only(None)


def test_the_base_may_change_until_a_task_rests_on_it():
    model = halrp.adapt(network(), heads=["8"], base_task="first")
    model.freeze()
    model.train_only("first")
    assert all(p.requires_grad for p in model.parameters())
    model.train()(batch())
    model.add("second")
    model.check_base()
    assert not any(p.requires_grad for p in model.base_parameters())
    with pytest.raises(ValueError, match="'first' is the base's own"):
        model.remove("first")


# -- as a module


@pytest.mark.parametrize("through", ["memory", "safetensors"])
def test_state_goes_to_a_fresh_model(through, tmp_path):
    model, x = adapted(3), batch()
    model.add("wide", {"5": 6}, outputs=7)
    model.add_free("free", beginning=1)
    shake(nn.ParameterList(p for _, p in model.own("free")))
    model.fold(2)
    state = model.state_dict()
    assert not any("folded" in n for n in state)
    if through == "safetensors":
        save_file(state, tmp_path / "model.safetensors")
        state = load_file(tmp_path / "model.safetensors")
    fresh = halrp.adapt(network(seed=1), heads=["8"]).eval()
    fresh.add("gone", 3)
    fresh.activate("gone")
    fresh.load_state_dict(state)
    assert fresh.tasks == model.tasks
    assert fresh.active is None
    assert not any(p.requires_grad for p in fresh.base_parameters())
    fresh.train().eval().check_base()
    for task in (0, 1, 2, "wide", "free"):
        assert torch.equal(fresh(x, task), model.unfold()(x, task))
    assert fresh.merge("wide")(x).shape == (5, 7)
    with pytest.raises(ValueError, match=r"adapted with conv='flat', this one has 'separable'"):
        halrp.adapt(network(), heads=["8"], conv="separable").load_state_dict(state)


def test_copies_are_independent():
    model, x = adapted(), batch()
    model.fold(1)
    twin, before = copy.deepcopy(model), model(x)
    assert torch.equal(twin(x), before)
    assert torch.equal(twin(x, 0), model(x, 0))
    shake(twin.unfold())
    assert torch.equal(model(x), before)
    assert not torch.equal(twin(x), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_precisions(dtype):
    model, x = adapted(), batch()
    expected = model(x, 1)
    model.to(dtype)
    assert all(p.dtype == dtype for p in model.parameters())
    near = {"rtol": 0, "atol": 1e-4 if dtype == torch.float32 else 0.5}
    assert torch.allclose(model(x.to(dtype), 1).double(), expected, **near)
    assert torch.allclose(model.merge(1)(x.to(dtype)).double(), expected, **near)
    with torch.no_grad():
        model.model[5].base.weight[0, 0] += 1
    with pytest.raises(ValueError, match="base has changed"):
        model.merge(1)
    model.to(torch.float64)  # a cast does not hide it
    with pytest.raises(ValueError, match="base has changed"):
        model.merge(1)


def test_autocast_gives_what_plain_layers_give():
    model, x = adapted().float(), batch().float()
    train(model.double(), 1, steps=1)
    model.float()
    with torch.autocast("cpu", torch.bfloat16):
        own, plain = model(x, 1), model.merge(1)(x)
    assert own.dtype == plain.dtype
    assert torch.allclose(own.float(), model(x, 1), rtol=0.1, atol=0.3)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.model[5].base(x.flatten(1)[:, :16]).dtype == torch.bfloat16
        assert model.activate(1).model[5](x.flatten(1)[:, :16]).dtype == torch.bfloat16


def test_distributed_training_of_one_task(tmp_path):
    """No parameter that is trained goes without a gradient, which the reducer would wait for."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'x'}", rank=0, world_size=1)
    try:
        model, x, y = adapted(), batch(8), torch.arange(8) % 3
        model.train_only(1)
        parallel = DistributedDataParallel(model)
        for _ in range(2):
            model.zero_grad()
            functional.cross_entropy(parallel(x, 1), y).backward()
        found = [p.grad for _, p in model.own(1)]
        functional.cross_entropy(model(x, 1), y).backward()
        assert all(g is not None for g in found)
        assert all(p.grad is None for p in model.base_parameters())
    finally:
        dist.destroy_process_group()


def test_a_task_is_exported_as_a_graph():
    model, x = adapted(), batch()
    graph = torch.export.export(model.activate(1), (x,)).module()
    assert torch.allclose(graph(x), model(x), rtol=0, atol=1e-12)


# -- folding


def test_folding_serves_one_task_and_leaves_the_others():
    model, x = adapted(), batch()
    expected, base = [model(x, t) for t in (0, 1)], model.fingerprint()
    assert torch.allclose(model.fold(1)(x), expected[1], rtol=0, atol=1e-12)
    assert torch.equal(model(x, 0), expected[0])
    with pytest.raises(ValueError, match="'1' is folded, and two tasks cannot be merged at once"):
        model.fold(0)
    with pytest.raises(ValueError, match="'1' is folded and cannot be trained; call unfold"):
        model.train_only(1)
    assert torch.equal(model.unfold()(x), expected[1])
    assert model.fingerprint() == base
    model.fold(0)
    model.remove(0)
    assert model.folded is None
    assert model.active is None
    model.fold(1)


# -- files


def test_a_task_goes_to_another_copy_of_the_base(tmp_path):
    model, x = adapted(0), batch()
    model.add_free("t", outputs=5)
    shake(nn.ParameterList(p for _, p in model.own("t")))
    plan = halrp.compress(model, "t", [(x, torch.arange(5))], alpha=0.8)
    file = model.export("t", tmp_path / "t.safetensors")
    other = halrp.adapt(network(), heads=["8"]).eval()
    assert other.import_task(file) == "t"
    assert torch.equal(other(x, "t"), model(x, "t"))
    assert other.plans["t"] == plan
    assert other.import_task(file, "again") == "again"
    with pytest.raises(ValueError, match="'t' is there already"):
        other.import_task(file)
    train(other, "t", 1)


def test_the_file_of_a_task_has_its_low_rank_part_in_the_fewest_bytes(tmp_path):
    model = halrp.adapt(nn.Linear(300, 200))
    model.add("t", 20)
    shake(nn.ParameterList(p for _, p in model.own("t")))
    sizes = [model.export("t", tmp_path / "dense").stat().st_size]
    halrp.quantise(model, "t", "int8")
    sizes.append(model.export("t", tmp_path / "int8").stat().st_size)
    halrp.prune(model, halrp.Pruning(share=0.9))
    file = model.export("t", tmp_path / "sparse")
    sizes.append(file.stat().st_size)
    entries, others = 20 * 500, 4 * 2 * 200 + 4 * 300 + 2 * 20 * 2
    wanted = [4 * entries + others, entries + others, entries * (0.1 + 1 / 8) + others]
    assert all(w - 80 <= s <= w + 600 for s, w in zip(sizes, wanted, strict=True))
    x = torch.randn(3, 300)
    again = halrp.adapt(model.merge(None))
    again.import_task(file)
    assert torch.equal(again(x, "t"), model(x, "t"))


def test_files_that_do_not_fit_are_refused(tmp_path):
    model = adapted()
    file = model.export(1, tmp_path / "one.safetensors")
    others = {
        "made on another base": halrp.adapt(network(seed=1), heads=["8"]),
        "made with conv='flat', here is 'constant'": halrp.adapt(
            network(), heads=["8"], conv="constant"
        ),
        "does not fit module '8'": halrp.adapt(network()),
        "has its own '0', which does not differ": halrp.adapt(network(), heads=["8"], skip=["0"]),
    }
    for message, other in others.items():
        with pytest.raises(ValueError, match=message):
            other.import_task(file)
        assert other.tasks == ()
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match="is damaged"):
        adapted(0).import_task(file)
    with pytest.raises(FileNotFoundError, match="no task at"):
        adapted(0).import_task(Path("none.safetensors"))
    file.write_bytes(b"short")
    with pytest.raises(ValueError, match="cut short"):
        adapted(0).import_task(file)
    model.add_free("free")
    with pytest.raises(ValueError, match="'free' is still free in"):
        model.export("free", file)


# -- what can be adapted


def test_counts_of_the_published_network():
    """LeNet with 10 classes: 2,995,620 parameters, and what a task takes of each kind."""
    model = halrp.adapt(
        nn.Sequential(nets.lenet((3, 32, 32)), nn.Linear(500, 10)), heads=["1"], conv="constant"
    )
    assert sum(p.numel() for p in model.base_parameters()) == 2_995_620
    model.add(0, ranks=0)
    own = dict(model.own(0))
    counted = {
        "vectors": sum(p.numel() for n, p in own.items() if n[-2:] in (".r", ".s")),
        "biases": sum(p.numel() for n, p in own.items() if n.endswith("bias")),
        "all": sum(p.numel() for p in own.values()),
    }
    norms = 2 * (20 + 50 + 800 + 500)
    head = 500 * 10 + 10
    assert counted["vectors"] == 23 + 70 + 4000 + 1300
    assert counted["vectors"] + norms + head == 13_143  # as published: without biases
    assert counted["all"] == 13_143 + 1_370
    costs = [m.shape.cost_of_rank for _, m in halrp.perturbed_layers(model.model)]
    assert costs == [23, 70, 4000, 1300]


@pytest.mark.parametrize(("side", "size", "fixed", "costs"), [
    (32, 6_533_450, 37_389, [67, 192, 384, 3072, 4096]),
    (64, 23_310_666, None, None),
])  # fmt: skip
def test_counts_of_alexnet(side, size, fixed, costs):
    net = nn.Sequential(nets.alexnet((3, side, side)), nn.Linear(2048, 10))
    model = halrp.adapt(net, heads=["1"], conv="constant")
    assert sum(p.numel() for p in model.base_parameters()) == size
    if fixed is None:
        return
    model.add(0)
    biases = 64 + 128 + 256 + 2048 + 2048
    assert sum(p.numel() for _, p in model.own(0)) - biases == fixed
    assert [m.shape.cost_of_rank for _, m in halrp.perturbed_layers(model.model)] == costs


def test_a_model_that_is_one_layer():
    layer = nn.Linear(3, 2)
    model = halrp.adapt(layer)
    model.add("t", 1)
    shake(nn.ParameterList(p for _, p in model.own("t")))
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(model.merge("t")(x), model(x, "t"), atol=1e-6)
    assert torch.equal(model(x), layer(x))


def test_a_layer_in_two_places_stays_one():
    shared = nn.Linear(4, 4)
    model = halrp.adapt(nn.Sequential(shared, nn.Tanh(), shared))
    assert model.model[0] is model.model[2]
    model.add("t", 2)
    shake(nn.ParameterList(p for _, p in model.own("t")))
    plain = model.merge("t")
    assert plain[0] is plain[2]
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(plain(x), model(x, "t"), atol=1e-6)


def test_hooks_stay_with_what_has_them():
    net, seen = network(), []
    net.register_forward_hook(lambda *_: seen.append("original"))
    model = halrp.adapt(net, heads=["8"]).eval()
    model.add("t")
    plain = model.merge("t")
    plain.register_forward_hook(lambda *_: seen.append("copy"))
    model(batch(), "t")
    assert seen == ["original"]


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_attention_reads_the_weights_of_the_task(mode):
    with torch.random.fork_rng(devices=[]):
        block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).double()
    with pytest.raises(
        ValueError, match=r"'self_attn' is a MultiheadAttention with in_proj_weight"
    ):
        halrp.adapt(block)
    model = halrp.adapt(block, freeze_others=True)
    assert model.left == ["self_attn"]
    names = [n for n, _ in halrp.perturbed_layers(model.model)]
    assert names == ["self_attn.out_proj", "linear1", "linear2"]
    model.add("t", 3)
    shake(nn.ParameterList(p for _, p in model.own("t")), by=0.5)
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)).double()
    getattr(model, mode)()
    plain = getattr(model.merge("t"), mode)()
    with torch.no_grad():  # in evaluation: the fused path, which calls no layer
        assert torch.allclose(model(x, "t"), plain(x), rtol=0, atol=1e-12)
    model.train_only("t")
    model(x, "t").sum().backward()
    assert model.model.self_attn.out_proj.tasks["t"].U.grad.abs().max() > 0


def test_embeddings_are_left_and_named():
    model = halrp.adapt(nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3)))
    assert model.left == ["0"]
    model.add("t", 1)
    own = [n.removeprefix("model.1.tasks.t.") for n, _ in model.own("t")]
    assert own == ["r", "s", "U", "V", "bias"]


def test_a_module_called_tasks_is_no_task():
    net = nn.ModuleDict({"tasks": nn.ModuleDict({"t": nn.Linear(2, 2)})})
    model = halrp.adapt(net)
    model.add("t", 1)
    assert len(model.base_parameters()) == 2
    assert len(list(model.own("t"))) == 5
    model.train_only("t")
    assert not any(p.requires_grad for p in model.base_parameters())


# -- what is refused


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.ones(3))
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        return self.linear(x) * self.gate


def test_what_cannot_be_perturbed_is_named_or_left():
    tied = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5, bias=False))
    tied[1].weight = tied[0].weight
    normed = nn.Sequential(nn.Linear(2, 2), parametrizations.weight_norm(nn.Linear(2, 2)))
    cases = {
        r"'0' is a Conv3d with weight, bias": nn.Sequential(nn.Conv3d(1, 1, 1), nn.Linear(1, 1)),
        r"'0' is a LSTM with weight_ih_l0": nn.Sequential(nn.LSTM(2, 2), nn.Linear(2, 2)),
        r"'1' shares a parameter with '0'": tied,
        r"'1' computes its weight \(a torch parametrization": normed,
        r"'the model' is a Gated with gate": Gated(),
    }
    for message, net in cases.items():
        before = [type(m) for m in net.modules()]
        with pytest.raises(ValueError, match=rf"{message}.*skip.*freeze_others"):
            halrp.adapt(net)
        assert [type(m) for m in net.modules()] == before
        model = halrp.adapt(net, freeze_others=True)
        assert model.left
        model.add("t", 1)
        assert all(".tasks.t." in n for n, _ in model.own("t"))
    gated = halrp.adapt(Gated(), freeze_others=True)
    assert gated.left == [""]
    assert [n for n, _ in halrp.perturbed_layers(gated)] == ["model.linear"]


def test_bad_models():
    with pytest.raises(ValueError, match=r"modules \['0'\] are lazy.*call the model on a batch"):
        halrp.adapt(nn.Sequential(nn.LazyLinear(3)), freeze_others=True)
    with pytest.raises(ValueError, match="adapted already"):
        halrp.adapt(nn.Sequential(adapted()))
    with pytest.raises(ValueError, match="adapted already"):
        halrp.adapt(adapted().model)
    with pytest.raises(ValueError, match=r"heads and skip must name modules.*\['9'\]"):
        halrp.adapt(network(), heads=["9"])
    with pytest.raises(ValueError, match=r"heads must name .*Linear layers, '0' is a Conv2d"):
        halrp.adapt(network(), heads=["0"])
    with pytest.raises(ValueError, match=r"heads and skip both name \['8'\]"):
        halrp.adapt(network(), heads=["8"], skip=["8"])
    with pytest.raises(ValueError, match=r"task must be .*without dots.*'a.b'"):
        halrp.adapt(network(), base_task="a.b")


@pytest.mark.parametrize("name", ["heads", "skip"])
def test_one_name_is_no_list_of_names(name):
    net = network()
    with pytest.raises(TypeError, match=f"{name} must be a list of names of modules, got '8'"):
        halrp.adapt(net, **{name: "8"})
    assert [type(m) for m in net] == [type(m) for m in network()]


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"outputs": 0}, ValueError, "outputs must be a positive integer, got 0"),
        ({"seed": -1}, ValueError, "seed must be a non-negative integer, got -1"),
        ({"factor": float("nan")}, ValueError, "factor must be a number above 0, got nan"),
        ({"ranks": True}, TypeError, "ranks must be a whole number, got True"),
        ({"ranks": {"5": True}}, TypeError, "rank of 5 must be a whole number, got True"),
    ],
)
def test_a_refused_task_leaves_nothing(how, error, message):
    model = adapted(0)
    with pytest.raises(error, match=message):
        model.add("new", **how)
    assert model.tasks == ()
    assert all(p.requires_grad for p in model.parameters())
    assert not [n for n, _ in model.named_parameters() if ".tasks." in n]


def test_what_is_folded_is_neither_quantised_nor_pruned():
    model, x = adapted(), batch()
    model.fold(0)
    before = model(x)
    with pytest.raises(ValueError, match=r"'0' is folded and cannot be quantised; call unfold"):
        halrp.quantise(model, 0, "bfloat16")
    with pytest.raises(ValueError, match=r"'0' is folded and cannot be pruned; call unfold"):
        halrp.prune(model, halrp.Pruning(share=0.5))
    assert torch.allclose(model.unfold()(x), before, rtol=0, atol=1e-12)


def test_bad_tasks():
    model, x = adapted(), batch()
    before = bits(model)
    for name, message in {
        "1": "'1' is there already", "a.b": "without dots", "": "without dots", "keys": "attribute",
        "a\nb": "printable",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=message):
            model.add(name)
    with pytest.raises(TypeError, match="task must be a whole number or a name, got True"):
        model.add(True)
    for use in (model.activate, model.remove, model.merge, model.fold, model.train_only):
        with pytest.raises(ValueError, match=r"task 'no' is unknown; there are \['0', '1'\]"):
            use("no")
    with pytest.raises(ValueError, match="task 7 is unknown"):
        model(x, torch.tensor([0, 7, 0, 1, 0]))
    with pytest.raises(ValueError, match="vector of integers"):
        model(x, torch.zeros(5))
    for ids in ([0, 1], [0, 1, 0, 1, 0, 1]):
        with pytest.raises(ValueError, match=f"task names {len(ids)} samples, the inputs have 5"):
            model(x, torch.tensor(ids))
    with pytest.raises(ValueError, match="task 'no' is unknown"):
        model.add_free("new", beginning="no")
    with pytest.raises(ValueError, match="rank of 5 must be from 0 to 6, got 7"):
        model.add("new", {"5": 7})
    with pytest.raises(ValueError, match=r"ranks name layers \['x'\]"):
        model.add("new", {"x": 1})
    with pytest.raises(ValueError, match="ranks must be at least 0, got -1"):
        model.add("new", -1)
    assert same(bits(model), before)


def test_bad_settling():
    model = adapted()
    model.add_free("t")
    found = halrp.decompositions(model, "t")
    found["5"] = found["5"]._replace(values=found["5"].values[:2])
    with pytest.raises(ValueError, match="found holds 2 of its singular triplets"):
        model.settle("t", found, {"5": 3})
    with pytest.raises(ValueError, match=r"no decomposition of layers \['0'\]"):
        model.settle("t", {"5": found["5"]}, {"5": 1})
    model.fold("t")
    with pytest.raises(ValueError, match="'t' is folded and cannot be settled"):
        model.settle("t", found, {"5": 1})


def test_outputs_of_a_batch_of_several_tasks_must_agree():
    model, x = adapted(), batch(2)
    model.add(2, outputs=9)
    with pytest.raises(ValueError, match=r"different shapes, \(3,\) and \(9,\)"):
        model(x, torch.tensor([1, 2]))


def test_heads_are_drawn_from_the_seed():
    before = torch.random.get_rng_state()
    made = []
    for seed in (0, 0, 1):
        model = adapted(0)
        model.add("t", seed=seed)
        made.append(model.model[8].tasks["t"].weight)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
