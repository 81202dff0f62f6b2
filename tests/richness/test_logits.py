"""Attention logits where heads get wider."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast import nets
from holdfast.nets.scaled import ScaledMultiheadAttention
from holdfast.richness import Attention, attention_rule, describe, head_widths, rates
from holdfast.richness import parametrize as parametrized

WIDTH, HEADS, BASE = 12, 2, 3  # heads of width 6


class Attending(nn.Module):
    """One attention of torch between two linear layers."""

    def __init__(self, bias: bool = True, added: bool = False) -> None:
        super().__init__()
        self.into = nn.Linear(4, WIDTH)
        self.attention = nn.MultiheadAttention(
            WIDTH, HEADS, bias=bias, add_bias_kv=added, batch_first=True
        )
        self.out = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor, need_weights: bool = False) -> Tensor:
        h = self.into(x)
        return self.out(self.attention(h, h, h, need_weights=need_weights)[0].mean(1))


def by_hand(model: Attending, x: Tensor, base: int | None) -> Tensor:
    """The same from the raw parameters: logits over d at the base's size, head for head."""
    raw = {name: p.detach() for name, p in model.named_parameters()}
    scale = math.sqrt(1 / WIDTH)

    def apply(name: str, value: Tensor, fan_in: int, divisor: float = 1.0) -> Tensor:
        bias = raw.get(f"{name}bias", torch.zeros(()))
        return value @ raw[f"{name}weight"].T / math.sqrt(fan_in) / divisor + bias

    h = apply("into.", x, 4)
    stacked = h @ raw["attention.in_proj_weight"].T * scale
    stacked = stacked + raw.get("attention.in_proj_bias", torch.zeros(()))
    d, heads = WIDTH // HEADS, []
    for i in range(HEADS):
        q, k, v = (stacked[..., j * WIDTH + i * d : j * WIDTH + (i + 1) * d] for j in range(3))
        if "attention.bias_k" in raw:
            own = slice(i * d, (i + 1) * d)
            k = torch.cat([k, raw["attention.bias_k"][..., own].expand(len(x), 1, d)], 1)
            v = torch.cat([v, raw["attention.bias_v"][..., own].expand(len(x), 1, d)], 1)
        factor = 1 / math.sqrt(d) if base is None else math.sqrt(base) / d
        heads.append(torch.softmax(q @ k.transpose(1, 2) * factor, -1) @ v)
    h = apply("attention.out_proj.", torch.cat(heads, -1), WIDTH)
    return apply("out.", h.mean(1), WIDTH, divisor=math.sqrt(WIDTH / 6))


@pytest.mark.parametrize("base", [None, BASE, WIDTH // HEADS, 24])
@pytest.mark.parametrize(("bias", "added"), [(True, False), (False, False), (True, True)])
def test_torch_attention_is_the_formula_in_every_mode(
    base: int | None, bias: bool, added: bool
) -> None:
    model = Attending(bias, added).double()
    parametrized(model, base_width=6, readout_std=1, base_head_dim=base)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    x = torch.randn(5, 7, 4, dtype=torch.float64)
    expected = by_hand(model, x, base)
    for _ in range(2):  # in training and in evaluation, which has a way of its own
        for weights in (True, False):
            torch.testing.assert_close(model(x, weights), expected)
            with torch.no_grad():
                torch.testing.assert_close(model(x, weights), expected)
        model.eval()


def test_scaled_attention_survives_what_modules_go_through() -> None:
    options: dict[str, Any] = {"base_width": 6, "readout_std": 1, "base_head_dim": BASE}
    model = parametrized(Attending().eval(), seed=1, **options)
    x = torch.randn(5, 7, 4)
    expected = model(x)
    assert torch.equal(copy.deepcopy(model)(x), expected)
    fresh = parametrized(Attending().eval(), seed=2, **options)
    state = {name: p.detach() for name, p in model.named_parameters()}
    torch.testing.assert_close(torch.func.functional_call(fresh, state, (x,)), expected)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(x), expected)
    torch.testing.assert_close(torch.export.export(fresh, (x,)).module()(x), expected)


@pytest.mark.parametrize("depth_scaling", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
def test_encoder_of_torch_is_one_function_in_training_and_in_evaluation(
    norm_first: bool, depth_scaling: bool
) -> None:
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 8, dropout=0.0, batch_first=True, norm_first=norm_first
    )
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    model = nn.Sequential(nn.Linear(4, WIDTH), encoder, nn.Flatten(), nn.Linear(3 * WIDTH, 2))
    parametrized(
        model, base_width=6, readout="3", readout_std=1, depth_scaling=depth_scaling,
        base_head_dim=BASE,
    )  # fmt: skip
    x = torch.randn(5, 3, 4)
    expected = model(x)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), expected, rtol=1e-4, atol=1e-5)
    # Norms before a branch are part of it, of which there are four.
    in_branch = depth_scaling and norm_first
    assert rates(model, "adam")["1.layers.0.norm1.weight"] == pytest.approx(
        0.5 if in_branch else 1.0
    )


def test_decoder_of_torch_has_three_branches() -> None:
    class Decoding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into = nn.Linear(4, WIDTH)
            layer = nn.TransformerDecoderLayer(WIDTH, HEADS, 8, batch_first=True, norm_first=True)
            self.decoder = nn.TransformerDecoder(layer, 3)
            self.out = nn.Linear(WIDTH, 2)

    assert "branches x 0.3333" in describe(parametrized(Decoding())).splitlines()[0]


@pytest.mark.parametrize("kind", ["ViT", "Bert", "DistilBert", "GPT2"])
def test_attention_of_transformers_has_its_logits_over_the_width_of_a_head(kind: str) -> None:
    pytest.importorskip("transformers")
    from transformer_models import FAMILIES

    family = dict(zip(("ViT", "Bert", "DistilBert", "GPT2"), FAMILIES, strict=True))[kind]
    options: dict[str, Any] = {"base_width": 8, "readout_std": 1}
    model = parametrized(
        family(16, heads=2, attn_implementation="eager"), base_head_dim=2, **options
    )
    fused = parametrized(
        family(16, heads=2, attn_implementation="sdpa"), base_head_dim=2, **options
    )
    x = family.inputs()
    torch.testing.assert_close(fused(x).logits, model(x).logits, rtol=1e-4, atol=1e-5)
    plain = parametrized(family(16, heads=2), **options)
    same = parametrized(family(16, heads=2), base_head_dim=8, **options)
    assert torch.equal(same(x).logits, plain(x).logits)
    # Logits are logarithms of attention up to a number a row, which differences do not have. In
    # the first layer queries and keys are the same.
    mine, theirs = (_first_attention(m, x).log().diff(dim=-1) for m in (model, plain))
    seen = theirs.isfinite() & mine.isfinite()
    assert seen.float().mean() > 0.4
    torch.testing.assert_close(mine[seen], theirs[seen] / 2, rtol=1e-3, atol=1e-4)


def _first_attention(model: nn.Module, x: Tensor) -> Tensor:
    model.set_attn_implementation("eager")  # type: ignore[operator]
    with torch.no_grad():
        return model(x, output_attentions=True).attentions[0]


def test_head_widths_are_those_of_attention_with_a_rule() -> None:
    model = Attending()
    assert head_widths(model) == {"attention": 6}
    assert head_widths(parametrized(model)) == {"attention": 6}
    assert head_widths(nets.mlp((4,))) == {}


def test_standard_parametrization_leaves_logits_alone() -> None:
    model = parametrized(Attending(), "sp", base_head_dim=BASE)
    assert isinstance(model.attention, ScaledMultiheadAttention)
    assert model.attention.logit_factor == 1.0
    assert "logits" not in describe(model)


def test_frozen_attention_is_left_alone() -> None:
    model = nn.Sequential(Attending(), nn.Linear(3, WIDTH), nn.Linear(WIDTH, 2))
    model[0].requires_grad_(False)
    before = model[0](x := torch.randn(5, 7, 4))
    with pytest.raises(ValueError, match="no trainable attention with a rule"):
        parametrized(model, base_head_dim=BASE)
    parametrized(model)
    assert torch.equal(model[0](x), before)


class Own(nn.Module):
    """Attention of a user, with one head."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.keys = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.scale = WIDTH**-0.5


def test_what_is_wrong_with_the_base_is_told() -> None:
    with pytest.raises(ValueError, match=r"base_head_dim is 3, but .*attention_rule\(Class\)"):
        parametrized(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), base_head_dim=BASE)
    with pytest.raises(ValueError, match=r"heads have width 6: .*weights='keep'.*leave it out"):
        parametrized(Attending(), weights="keep", base_head_dim=BASE)
    assert parametrized(Attending(), weights="keep", base_head_dim=6)

    attention_rule(Own)(lambda module: Attention(WIDTH, "factor"))
    model = nn.Sequential(nn.Linear(4, WIDTH), Own(), nn.Linear(WIDTH, 2))
    with pytest.raises(ValueError, match=r"1 \(Own\) has no number in its attribute 'factor'"):
        parametrized(model, base_head_dim=BASE)
    attention_rule(Own)(lambda module: Attention(WIDTH, "scale"))
    own: Any = parametrized(model, base_head_dim=BASE)[1]
    assert own.scale == pytest.approx(math.sqrt(BASE) / WIDTH)
