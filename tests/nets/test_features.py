"""Models of transformers as backbones, and the vision transformer."""

import copy
import sys
from typing import Any

import pytest
import torch
from torch import nn

from holdfast import nets
from holdfast.nets.redraw import check_redrawable, redraw
from holdfast.richness import parametrize

transformers = pytest.importorskip("transformers")
SHAPE = (3, 8, 12)


def bert(**more: Any) -> nn.Module:
    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        vocab_size=20, max_position_embeddings=9, pad_token_id=0,
    )  # fmt: skip
    return transformers.BertModel(config, **more).eval()


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        n_embd=8, n_layer=2, n_head=2, vocab_size=20, n_positions=9, pad_token_id=0, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    return transformers.GPT2Model(config).eval()


def vit(**options: Any) -> nets.Features:
    return nets.vit(SHAPE, **({"width": 16, "depth": 2, "patch": 2, "head_dim": 8} | options))


SENTENCES = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0], [11, 0, 0, 0]])


@pytest.mark.parametrize("output", ["first", "mean", "last"])
@pytest.mark.parametrize("make", [bert, gpt2])
def test_vector_of_a_sentence_is_that_of_its_own_words(make: Any, output: Any) -> None:
    model = make()
    found = nets.Features(model, output, padding=0)(SENTENCES)
    for row, sentence in zip(found, SENTENCES, strict=True):
        states = model(sentence[sentence != 0].unsqueeze(0)).last_hidden_state[0]
        expected = {"first": states[0], "last": states[-1], "mean": states.mean(0)}[output]
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)


def test_without_padding_every_token_counts() -> None:
    model = gpt2()
    states = model(SENTENCES).last_hidden_state
    for output, expected in (("last", states[:, -1]), ("mean", states.mean(1))):
        assert torch.equal(nets.Features(model, output)(SENTENCES), expected)


def test_pooled_is_what_the_model_pools() -> None:
    model = bert()
    assert torch.equal(nets.Features(model, "pooled")(SENTENCES), model(SENTENCES).pooler_output)
    with pytest.raises(ValueError, match="BertModel pools nothing"):
        nets.Features(bert(add_pooling_layer=False), "pooled")(SENTENCES)


def test_models_and_outputs_of_no_use_are_refused() -> None:
    with pytest.raises(TypeError, match=r"model must be one of transformers.*got Linear"):
        nets.Features(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"output must be one of first, mean, .*; got 'cls'"):
        nets.Features(bert(), "cls")


@pytest.mark.parametrize("make", [bert, gpt2, lambda: vit().model])
def test_new_weights_are_as_of_the_configuration(make: Any) -> None:
    features = nets.Features(make())
    before = {name: p.clone() for name, p in features.named_parameters()}
    frozen = next(features.model.parameters()).requires_grad_(False)
    check_redrawable(features)
    redraw(features, 1, "fresh")
    after = dict(features.named_parameters())
    assert torch.equal(frozen, next(iter(before.values())))
    for name, old in list(before.items())[1:]:
        drawn = bool(old.std() > 0)  # the others are 0 or 1
        assert torch.equal(after[name], old) != drawn, name
        if drawn and old.numel() > 100:
            # Those of torch's layers would be larger.
            assert after[name].std() < 0.03, name


def test_new_weights_of_a_parametrized_model_stay_raw() -> None:
    # As many classes as the images have channels.
    model = parametrize(nn.Sequential(vit(), nn.Linear(16, 3)), base_width=16)
    redraw(model, 1, "fresh")
    vision = model.get_submodule("0.model")
    for name in ("embeddings.position_embeddings", "layers.0.mlp.fc1.weight"):
        assert vision.get_parameter(name).std().item() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("options", [{}, {"heads": 4}, {"output": "mean"}, {"patch": 4}], ids=str)
def test_vit_gives_features_and_survives_what_modules_go_through(options: Any) -> None:
    net, x = vit(**options).eval(), torch.randn(5, *SHAPE)
    features = net(x)
    assert features.shape == (5, 16)
    torch.testing.assert_close(net(x[:1]), features[:1], rtol=1e-4, atol=1e-5)
    assert torch.equal(copy.deepcopy(net)(x), features)
    other = vit(**options, seed=1).eval()
    assert not torch.allclose(other(x), features)
    state = {name: p.detach() for name, p in net.named_parameters()}
    assert torch.equal(torch.func.functional_call(other, state, (x,)), features)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x), features)
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), features)


def test_vit_has_the_parameters_of_the_paper_and_a_seed() -> None:
    width, tokens = 16, 4 * 6 + 1
    block = 4 * (width * width + width) + 2 * 4 * width * width + 5 * width + 4 * width
    count = (3 * 4 + 1) * width + (1 + tokens) * width + 2 * block + 2 * width
    assert sum(p.numel() for p in vit().parameters()) == count
    before = torch.random.get_rng_state()
    assert all(map(torch.equal, vit(seed=3).parameters(), vit(seed=3).parameters()))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (3, 8)}, "input_shape must be .channels, height, width. for vit"),
        ({"patch": 3}, "patch must divide the sides of the images, 8 x 12; got 3"),
        ({"width": 20}, "head_dim must divide width 20, got 16"),
        ({"heads": 3}, "heads must divide width 64, got 3"),
        ({"depth": 0}, "depth must be positive"),
        ({"dropout": 1.0}, "dropout must lie in"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_vit_refuses_sizes_that_do_not_fit(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nets.vit(**({"input_shape": SHAPE} | options))


def test_vit_without_transformers_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"vit needs .*holdfast\[transformers\]"):
        vit()
