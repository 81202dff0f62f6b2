"""Models of transformers under a parametrization."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformer_models import CLASSES, DEIT, FAMILIES, GPT2, VIT, Family

from holdfast.config import run_config
from holdfast.richness import Branches, Vectors, attention, describe, param_groups, rates, registry
from holdfast.richness import parametrize as parametrized

families = pytest.mark.parametrize("family", FAMILIES, ids=str)


def fill_vectors(model: nn.Module) -> None:
    """Biases and gains other than 0 and 1, so that what is lost of them shows."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) / 3)


def losses(
    family: Family, model: nn.Module, optimizer: str, lr: float, steps: int = 4
) -> tuple[list[float], float]:
    """Losses along training, and how far the features have moved: root mean square."""
    x = family.inputs(16).to(next(model.parameters()).dtype if family is VIT else torch.int64)
    y = torch.arange(16) % CLASSES
    kinds: dict[str, Any] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    stepper = kinds[optimizer](param_groups(model, optimizer, lr))  # type: ignore[arg-type]
    start, seen = features(family, model, x), []
    for _ in range(steps):
        loss = functional.cross_entropy(model(x).logits, y)
        stepper.zero_grad()
        loss.backward()
        stepper.step()
        seen.append(loss.item())
    return seen, (features(family, model, x) - start).square().mean().sqrt().item()


@torch.no_grad()
def features(family: Family, model: nn.Module, x: Tensor) -> Tensor:
    states = model(x, output_hidden_states=True).hidden_states[-1]
    return states[:, -1 if family is GPT2 else 0]


@families
def test_each_branch_is_scaled_once_and_nothing_else(family: Family) -> None:
    options: dict[str, Any] = {"base_width": 8, "readout_std": 1, "gamma0": 0.3}
    depth = 3
    scaled = parametrized(family(depth=depth), **options).double()
    plain = parametrized(family(depth=depth), depth_scaling=False, **options).double()
    fill_vectors(scaled)
    fill_vectors(plain)
    x = family.inputs().double() if family is VIT else family.inputs()
    assert not torch.allclose(scaled(x).logits, plain(x).logits, rtol=1e-2)
    with torch.no_grad():
        for block in family.blocks(plain):
            for end in family.ends:
                for parameter in block.get_submodule(end).parameters():
                    parameter.mul_((2 * depth) ** -0.5)
    torch.testing.assert_close(scaled(x).logits, plain(x).logits, rtol=1e-10, atol=1e-12)


@families
def test_branches_are_all_that_blocks_add(family: Family) -> None:
    model = parametrized(family(), base_width=8)
    pairs: list[tuple[Tensor, Tensor]] = []
    for block in family.blocks(model):
        block.register_forward_hook(lambda _, args, out: pairs.append((args[0], out)))
        for end in family.ends:
            for parameter in block.get_submodule(end).parameters():
                nn.init.zeros_(parameter)
    model(family.inputs())
    assert len(pairs) == 2
    for given, gave in pairs:
        stream = given if family.norm_before else functional.layer_norm(given, given.shape[-1:])
        torch.testing.assert_close(gave, stream, rtol=1e-4, atol=1e-4)


@families
def test_rates_of_branches_fall_with_their_number(family: Family) -> None:
    found = rates(parametrized(family(depth=2), base_width=16), "adam")
    inside = {name: f for name, f in found.items() if name.endswith(f"{family.rise}.weight")}
    assert list(inside.values()) == [0.5, 0.5]
    block = {n: f for n, f in found.items() if ".0." in n}
    norms = [f for n, f in block.items() if "norm" in n.lower() or ".ln_" in n]
    assert norms == [0.5 if family.norm_before else 1.0] * 4


@families
def test_gain_is_of_the_layer_that_is_called_behind_a_relu(family: Family) -> None:
    model = parametrized(family(act="relu"), base_width=8)
    for block in family.blocks(model):
        rise, fall = (block.get_submodule(name) for name in (family.rise, family.fall))
        assert rise.multiplier == pytest.approx(1 / math.sqrt(16))
        assert fall.multiplier == pytest.approx(math.sqrt(2) / math.sqrt(32))
    # Others have no gain of their own.
    fall = family.blocks(parametrized(family()))[0].get_submodule(family.fall)
    assert fall.multiplier == pytest.approx(1 / math.sqrt(32))


@families
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_mup_is_ntp_at_the_base_width(family: Family, optimizer: str) -> None:
    def train(*options: Any, **more: Any) -> list[float]:
        model = parametrized(family(), *options, base_head_dim=2, **more).double()
        return losses(family, model, optimizer, 0.05)[0]

    ntp = train("ntp", base_width=16)
    assert ntp[-1] < ntp[0]
    assert train("mup", base_width=16) == pytest.approx(ntp, rel=1e-10)
    assert train("mup", base_width=4, gamma0=0.5) == pytest.approx(
        train("ntp", base_width=4), rel=1e-10
    )


@families
@pytest.mark.parametrize(("optimizer", "lr", "fall"), [("sgd", 1.0, 0.25), ("adam", 0.02, 0.5)])
def test_features_move_alike_at_every_width_in_mup_and_less_in_ntp(
    family: Family, optimizer: str, lr: float, fall: float
) -> None:
    def moved(parametrization: Any, width: int) -> float:
        model = parametrized(family(width, heads=width // 8), parametrization, base_width=32)
        return losses(family, model, optimizer, lr)[1]

    base = moved("mup", 32)
    assert 0.6 < moved("mup", 256) / base < 1.8
    assert moved("ntp", 256) / base < fall


@families
def test_description_has_every_parameter_once(family: Family) -> None:
    model = parametrized(family(), base_width=8, base_head_dim=2)
    head, _, *rows = describe(model).splitlines()
    names = [row.split()[0] for row in rows]
    assert names == [name for name, p in model.named_parameters() if p.requires_grad]
    assert "residual branches x 0.5, attention logits x 0.7071" in head
    roles = {row.split()[0]: row.split()[1] for row in rows}
    assert [n for n, role in roles.items() if role == "readout"] == [
        "score.weight" if family is GPT2 else "classifier.weight"
    ]
    tables = [n for n, role in roles.items() if role == "input"]
    assert all("embed" in n or n.startswith(("transformer.wte", "transformer.wpe")) for n in tables)
    assert len(tables) == {"vit": 3, "bert": 3, "distilbert": 2, "gpt2": 2}[family.name]


@families
def test_weights_go_into_a_fresh_model_and_copies_are_alike(family: Family) -> None:
    options: dict[str, Any] = {"base_width": 8, "base_head_dim": 2, "readout_std": 1}
    model, x = parametrized(family(), seed=1, **options), family.inputs()
    fresh = parametrized(family(), seed=2, **options)
    expected = model(x).logits
    assert not torch.allclose(fresh(x).logits, expected)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(x).logits, expected)
    assert torch.equal(copy.deepcopy(model)(x).logits, expected)
    again = parametrized(family(), seed=1, **options)
    assert torch.equal(again(x).logits, expected)


def test_tokens_and_positions_of_vit_start_as_rows_of_an_embedding() -> None:
    embeddings: Any = parametrized(VIT(width=256, heads=4)).vit.embeddings  # type: ignore[union-attr]
    for table in (embeddings.cls_token, embeddings.position_embeddings):
        assert table.std().item() == pytest.approx(1, abs=0.2)
    kept = VIT()
    positions = kept.get_parameter("vit.embeddings.position_embeddings").clone()
    parametrized(kept, weights="keep")
    assert torch.equal(kept.get_parameter("vit.embeddings.position_embeddings"), positions)


@families
def test_kept_weights_keep_the_features(family: Family) -> None:
    model, x = family(), family.inputs()
    before = features(family, model, x)
    parametrized(model, weights="keep", base_width=8)
    torch.testing.assert_close(features(family, model, x), before, rtol=1e-4, atol=1e-5)


def test_other_models_are_refused_until_their_rules_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = "transformers.models.deit.modeling_deit."
    # A guide registers rules for this model, perhaps before in this process.
    for name in ("_layers", "_blocks", "_attentions"):
        rules = {
            kind: rule for kind, rule in getattr(registry, name).items() if path not in str(kind)
        }
        monkeypatch.setattr(registry, name, rules)
    with pytest.raises(ValueError, match=rf"deit.embeddings is a {path}DeiTEmbeddings.*layer_rule"):
        parametrized(DEIT())

    @registry.layer_rule(path + "DeiTEmbeddings")
    def tokens(layer: nn.Module) -> Vectors:
        return Vectors(tokens=("cls_token", "distillation_token", "position_embeddings"))

    @registry.branch_rule(path + "DeiTLayer")
    def block(layer: nn.Module) -> Branches:
        return Branches(("attention.o_proj", "mlp.fc2"))

    registry.attention_rule(path + "DeiTAttention")(attention.heads)
    head = describe(parametrized(DEIT(), base_width=8, base_head_dim=2)).splitlines()[0]
    assert head.endswith("residual branches x 0.5, attention logits x 0.7071")


def test_layer_with_an_attribute_of_that_name_is_refused() -> None:
    class Sinks(nn.Linear):
        scaling = 0.5

    model = nn.Sequential(Sinks(3, 4), nn.Linear(4, 2))
    registry.layer_rule(Sinks)(lambda layer: registry.Matrix(3, 4))
    with pytest.raises(ValueError, match=r"0 \(Sinks\) has an attribute 'scaling'"):
        parametrized(model)


def test_run_of_a_vision_transformer() -> None:
    record = run_config(
        {
            "stream": {"name": "split", "dataset": "digits", "tasks": 5},
            "net": {"name": "vit", "width": 32, "depth": 1, "patch": 4},
            "richness": {"parametrization": "mup", "gamma0": 0.5, "base_width": 32},
            "training": {"epochs": 1, "optimizer": "adam", "lr": 0.02},
        }
    )
    assert record.metrics()["la"] > 0.7
