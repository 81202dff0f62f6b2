"""What can be adapted, what is left, and what is refused."""

import pytest
import torch
from adapted_network import adapted, batch, network
from perturbed_cases import shake
from torch import nn
from torch.nn.utils import parametrizations

from holdfast import nets
from holdfast.methods import halrp

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
