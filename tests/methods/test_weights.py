import pytest
import torch
from nets_small import NETS, make
from torch import nn

from holdfast import nets
from holdfast.methods.weights import weights
from holdfast.nets import GrowingHead, Learner
from holdfast.richness import parametrize


@pytest.mark.parametrize("name", NETS)
def test_every_trainable_matrix_of_every_net_is_found_with_its_fan_in(name: str) -> None:
    learner, stream = make(name)
    learner.accommodate(0, stream[0])
    wanted = {
        f"{path}.weight": layer.weight[0].numel()
        for path, layer in learner.named_modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d)) and layer.weight.requires_grad
    }
    assert {w.name: w.fan_in for w in weights(learner)} == wanted
    biases = {id(b) for w in weights(learner) for b in w.biases}
    for layer in learner.modules():
        norm = isinstance(layer, (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d, nn.BatchNorm1d))
        bias = getattr(layer, "bias", None)
        if isinstance(bias, nn.Parameter) and bias.requires_grad:
            assert (id(bias) in biases) != norm


def test_heads_and_attention_and_multipliers() -> None:
    head = GrowingHead(4)
    assert weights(Learner(nn.Flatten(), head)) == []  # no rows yet
    head.accommodate(0, (3, 5))
    (rows,) = weights(Learner(nn.Flatten(), head))
    assert (rows.name, rows.fan_in, rows.biases) == ("heads.weight", 4, (head.bias,))
    attention = weights(nn.MultiheadAttention(4, 2))
    assert [(w.name, w.fan_in) for w in attention] == [
        ("in_proj_weight", 4),
        ("out_proj.weight", 4),
    ]
    scaled = parametrize(nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 3)))
    assert [w.multiplier for w in weights(scaled)] == [
        scaled.get_submodule(name).multiplier for name in ("0", "2")
    ]


def test_what_is_frozen_skipped_shared_or_no_matrix_is_left_out() -> None:
    net = nets.mlp((3,), (4, 4), norm="batch")
    net.get_submodule("linear1").requires_grad_(False)
    assert [w.name for w in weights(net)] == ["linear2.weight"]
    assert weights(net, ["linear2"]) == []
    assert weights(nn.Sequential(nn.Embedding(3, 2), nn.LayerNorm(2))) == []
    layer = nn.Linear(2, 2)
    assert len(weights(nn.Sequential(layer, layer))) == 1


def test_refused() -> None:
    with pytest.raises(ValueError, match=r"1 is a torch\.nn\..*Bilinear, whose parameters are not"):
        weights(nn.Sequential(nn.Linear(2, 2), nn.Bilinear(2, 2, 1)))
    with pytest.raises(ValueError, match=r"skip names 'linear9', which is no module.*linear1"):
        weights(nets.mlp((3,)), ["linear9"])
    assert weights(nn.Sequential(nn.Linear(2, 2), nn.Bilinear(2, 2, 1)).requires_grad_(False)) == []
    assert torch.is_grad_enabled()
