"""Whatever is wrong is said by name, with the remedy, and the model is left as it was."""

import copy
import inspect
import math
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast import richness
from holdfast.config import build, resolve, run_config
from holdfast.nets import GrowingHead, Head, Learner, mlp, resnet18
from holdfast.nets.redraw import redraw
from holdfast.richness import registry
from holdfast.richness.parametrize import apply
from holdfast.studies import Study


def net(*widths: int) -> nn.Sequential:
    sizes = widths or (6, 16, 16, 3)
    return nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(sizes)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"gamma0": 0}, ValueError, "gamma0 must be positive and finite, got 0"),
        ({"gamma0": -1.0}, ValueError, "gamma0 must be positive and finite, got -1.0"),
        ({"gamma0": math.nan}, ValueError, "gamma0 must be positive and finite, got nan"),
        ({"gamma0": math.inf}, ValueError, "gamma0 must be positive and finite, got inf"),
        ({"gamma0": True}, TypeError, "gamma0 must be a number, got True"),
        ({"gamma0": "rich"}, TypeError, "gamma0 must be a number, got 'rich'"),
        ({"gamma0": None}, TypeError, "gamma0 must be a number, got None"),
        ({"base_width": None}, ValueError, "base_width must be given.*silently.*64 is usual"),
        ({"base_width": 0}, ValueError, "base_width must be a positive integer, got 0"),
        ({"base_width": 64.0}, ValueError, "base_width must be a positive integer, got 64.0"),
        ({"base_width": True}, ValueError, "base_width must be a positive integer, got True"),
        ({"width": -3}, ValueError, "width must be a positive integer, got -3"),
        ({"base_head_dim": 0}, ValueError, "base_head_dim must be a positive integer, got 0"),
        ({"readout_std": 2}, ValueError, "readout_std must be 0 or 1, got 2"),
        ({"readout_std": True}, ValueError, "readout_std must be 0 or 1, got True"),
        ({"gain": 0.0}, ValueError, "gain must be positive and finite, got 0.0"),
        ({"gain": "relu"}, TypeError, "gain must be a number, got 'relu'"),
        ({"depth_scaling": 1}, TypeError, "depth_scaling must be True or False, got 1"),
        ({"inputs": "0"}, TypeError, "inputs must be a list of names, got '0'"),
        ({"branches": 3}, TypeError, "branches must be a list of names, got 3"),
        ({"parametrization": "mfp"}, ValueError, "must be one of mup, ntp, sp; got 'mfp'"),
        ({"weights": "load"}, ValueError, "weights must be one of draw, keep; got 'load'"),
        ({"batch_norm": "drop"}, ValueError, "one of refuse, keep, group; got 'drop'"),
    ],
)
def test_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        made(**options)


def made(**options: Any) -> richness.Richness:
    """As by a caller without the run-time type checks that the tests have."""
    found = object.__new__(richness.Richness)
    for field in fields(richness.Richness):
        object.__setattr__(found, field.name, options.get(field.name, field.default))
    found.__post_init__()
    return found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma0": 0.0}, "gamma0 must be positive and finite, got 0.0"),
        ({"inputs": ["9"]}, "inputs names '9', which is none of.*: 0, 1"),
        ({"branches": ["9"]}, "branches names '9', which is no module of the model"),
        ({"readout": "9"}, "readout '9' is no trainable layer.*there are 0, 1, 2"),
        ({"base_head_dim": 8}, "base_head_dim is 8, but the model has no trainable attention"),
    ],
)
def test_names_and_numbers_leave_the_model_alone(options: dict[str, Any], message: str) -> None:
    model = net()
    with untouched(model), pytest.raises(ValueError, match=message):
        richness.parametrize(model, **options)


@pytest.mark.parametrize("name", ["inputs", "branches"])
def test_names_of_a_learner_begin_with_that_of_the_backbone(name: str) -> None:
    learner = Learner(mlp((6,), hidden=(8,)), GrowingHead(8))
    hint = r"names 'linear1'.*\(did you mean 'backbone.linear1'\?\)"
    with pytest.raises(ValueError, match=hint):
        richness.parametrize(learner, **{name: ["linear1"]})


@pytest.mark.parametrize("name", ["inputs", "branches"])
def test_a_name_alone_is_no_list_of_letters(name: str) -> None:
    model = net()
    with untouched(model), pytest.raises(TypeError, match=f"{name} must be a list of.*got '0'"):
        richness.parametrize(model, **{name: "0"})


class untouched:  # noqa: N801
    """A model whose modules, types, attributes, hooks and weights are the same afterwards."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def look(self) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for path, module in self.model.named_modules():
            own = {k: v for k, v in vars(module).items() if k not in ("_parameters", "_buffers")}
            plain = {k: copy.copy(v) for k, v in own.items()}
            seen[path] = (id(module), type(module), plain)
        for name, value in self.model.state_dict().items():
            seen[f"state.{name}"] = value.clone()
        for name, parameter in self.model.named_parameters():
            seen[f"parameter.{name}"] = (id(parameter), parameter.requires_grad)
        return seen

    def __enter__(self) -> None:
        self.before, self.random = self.look(), torch.get_rng_state()

    def __exit__(self, *_: object) -> None:
        after = self.look()
        assert after.keys() == self.before.keys()
        for name, value in self.before.items():
            same = (
                torch.equal(value, after[name])
                if isinstance(value, Tensor)
                else (value == after[name])
            )
            assert same, name
        assert torch.equal(self.random, torch.get_rng_state())


class Strange(nn.Module):
    """x W with a gain, of a type that nobody knows."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((inputs, outputs), 0.5))
        self.shift = nn.Parameter(torch.ones(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w + self.shift


class Tokens(nn.Module):
    """Adds a learned vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.full((1, width), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.token


class Odd(Head):
    """A head of a person's own."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 16


def tied() -> nn.Module:
    model = net(6, 16, 16, 16, 3)
    model[2].weight = model[1].weight
    return model


def normed() -> nn.Module:
    return Learner(resnet18((3, 16, 16), width=4), GrowingHead(32))


class Attending(nn.Module):
    """Attention to keys of another width."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, kdim=4, vdim=4)
        self.out = nn.Linear(8, 3)


MODELS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], str]] = {
    "no rule": (
        lambda: nn.Sequential(nn.Linear(6, 16), Strange(16, 16), nn.Linear(16, 3)), {},
        r"1 is a \S*Strange, a layer type without a rule.*@holdfast.richness.layer_rule\(Strange\)"
        r".*Matrix\(fan_in, fan_out\).*Vectors\(\).*or freeze it",
    ),
    "recurrent": (
        lambda: nn.Sequential(nn.LSTM(6, 16), nn.Linear(16, 3)), {},
        r"0 is a torch.nn.modules.rnn.LSTM, a layer type without a rule",
    ),
    "two readouts": (
        lambda: nn.ModuleDict({"body": nn.Linear(6, 16), "a": nn.Linear(16, 3),
                               "b": nn.Linear(16, 4)}), {},
        r"readout must name the layer that gives the outputs: several could be \(a, b\)",
    ),
    "no readout": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), {},
        "none was found.*A backbone alone has none: join it with heads",
    ),
    "readout as wide as all": (lambda: net(6, 16, 16, 16), {}, "none was found among the linear"),
    "tied": (tied, {"readout": "3"}, "1.weight and 2.weight are one parameter.*give each a weight"),
    "batch norm": (
        normed, {},
        r"has BatchNorm \(backbone.stem_norm, .* \.\.\.\): it divides.*batch_norm='group'.*'keep'",
    ),
    "kept batch norm": (
        normed, {"weights": "keep", "batch_norm": "group"},
        r"batch_norm='group' replaces BatchNorm \(.*weights='keep' could not keep the features",
    ),
    "readout of a learner": (
        lambda: Learner(nn.Linear(6, 16), GrowingHead(16)), {"readout": "backbone"},
        "readout is given for a Learner, whose heads are the readout; leave it out",
    ),
    "another head": (
        lambda: Learner(nn.Linear(6, 16), Odd()), {},
        "heads of type Odd have no rule; there are rules for SharedHead, GrowingHead and TaskHeads",
    ),
    "keys of another width": (Attending, {}, "kdim 4 and vdim 4 other than its embed_dim 8"),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    make, options, message = MODELS[name]
    model = make()
    with untouched(model), pytest.raises(ValueError, match=message):
        richness.parametrize(model, **options)


def test_a_model_is_parametrized_once() -> None:
    model, message = richness.parametrize(net(), readout_std=1), "is parametrized already"
    with untouched(model), pytest.raises(ValueError, match=message):
        richness.parametrize(model, gamma0=0.5)
    with pytest.raises(TypeError, match="model must be a torch module, got str"):
        inspect.unwrap(apply)("mlp", richness.Richness())


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules registered in a test are forgotten after it."""
    monkeypatch.setattr(registry, "_layers", dict(registry._layers))


def test_a_layer_without_a_rule_works_with_one(rules: None) -> None:
    make = MODELS["no rule"][0]

    @richness.layer_rule(Strange)
    def strange(layer: Strange) -> richness.Matrix:
        return richness.Matrix(*layer.w.shape, weight="w")

    model = nn.Sequential(nn.Linear(6, 200), nn.ReLU(), Strange(200, 200), nn.Linear(200, 3))
    richness.parametrize(model, gamma0=0.5, base_width=50)
    layer, multiplier = model[2], math.sqrt(2 / 200)
    assert layer.multiplier == multiplier
    assert richness.rates(model, "adam")["2.w"] == pytest.approx(0.5 / math.sqrt(4))
    assert richness.rates(model, "adam")["2.shift"] == pytest.approx(0.5)
    first = layer.w.detach().clone()
    assert float(first.std()) == pytest.approx(1, abs=0.02)
    assert not bool(layer.shift.any())
    x = torch.randn(4, 200)
    torch.testing.assert_close(layer(x), multiplier * x @ first)
    torch.testing.assert_close(layer(x=x), layer(x))
    redraw(model, 7, "fresh")
    assert not torch.equal(layer.w, first)
    assert float(layer.w.detach().std()) == pytest.approx(1, abs=0.02)
    torch.testing.assert_close(layer(x), multiplier * x @ layer.w)
    assert richness.validate(model) == []
    kept = richness.parametrize(make(), weights="keep")
    torch.testing.assert_close(kept[1](x[:, :16]), MODELS["no rule"][0]()[1](x[:, :16]))


def test_vectors_without_a_reset_start_as_they_are(rules: None) -> None:
    richness.layer_rule(Tokens)(lambda layer: richness.Vectors())
    model = nn.Sequential(nn.Linear(6, 16), Tokens(16), nn.Linear(16, 3))
    richness.parametrize(model)
    assert bool((model[1].token == 0.5).all())
    assert richness.rates(model, "adam")["1.token"] == richness.rates(model, "adam")["0.bias"]
    with pytest.raises(ValueError, match=r"cannot draw new weights for 1 \(Tokens\)"):
        redraw(model, 7, "fresh")


class Xavier(nn.Sequential):
    """Draws all its weights itself, as some of torch's containers do."""

    def reset_parameters(self) -> None:
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)


def test_what_a_container_draws_does_not_go_over_raw_weights() -> None:
    model = richness.parametrize(nn.Sequential(Xavier(*net(6, 200, 200)), nn.Linear(200, 3)))
    assert richness.validate(model) == []
    redraw(model, 7, "fresh")
    assert richness.validate(model) == []


@pytest.mark.parametrize(
    ("fans", "message"),
    [
        ((0, 16), "fan_in must be a positive integer, got 0"),
        ((16, 0), "fan_out must be a positive integer, got 0"),
        ((16, 16), "names its weight 'weight'; the layer has w, shift"),
        ((16, 16, "shift"), r"has a second matrix, w of shape \(16, 16\)"),
    ],
)
def test_rules_that_are_wrong(fans: Any, message: str, rules: None) -> None:
    richness.layer_rule(Strange)(lambda layer: richness.Matrix(*fans))
    model = MODELS["no rule"][0]()
    with untouched(model), pytest.raises(ValueError, match=message):
        richness.parametrize(model)


def test_frozen_layers_are_left_alone() -> None:
    model = nn.Sequential(nn.LSTM(6, 16), nn.Linear(16, 16), nn.Linear(16, 3))
    model[0].requires_grad_(False)
    before = model[0].weight_hh_l0.clone()
    richness.parametrize(model)
    assert torch.equal(model[0].weight_hh_l0, before)
    assert set(richness.rates(model)) == {"1.weight", "1.bias", "2.weight", "2.bias"}


def config(**parts: Any) -> dict[str, Any]:
    return {
        "stream": {"name": "split", "dataset": {"name": "digits", "per_class": 5}, "tasks": 2},
        "net": {"name": "mlp", "hidden": [8]},
        "training": {"epochs": 1},
        **parts,
    }


@pytest.mark.parametrize(
    ("richness_", "message"),
    [
        ({"gamma0": 0}, "gamma0 must be positive and finite, got 0"),
        ({"gamma0": math.nan}, "richness.gamma0 must be finite, got nan"),
        ({"gamma0": "rich"}, "richness.gamma0 must be a"),
        ({"gamma0": True}, "gamma0 must be a"),
        ({"gama0": 0.5}, r"richness has no key 'gama0' \(did you mean 'gamma0'\?\)"),
        ({"base_width": None}, "richness.base_width cannot be null; leave it out for its default"),
        ({"base_width": 0}, "base_width must be a positive integer, got 0"),
        ({"parametrization": "mfp"}, "richness.parametrization must be.*mup.*got 'mfp'"),
        ("mfp", "richness.parametrization must be.*mup.*got 'mfp'"),
        ({"readout_std": 3}, "readout_std must be 0 or 1, got 3"),
        (3, "richness must be a mapping of options, got 3"),
    ],
)
def test_configurations(richness_: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        resolve(config(richness=richness_))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"net": {"name": "mlp", "norm": "batch"}, "richness": "mup"},
            "backbone.norm1",
        ),
        ({"richness": {"readout": "linear1"}}, "readout is given for a Learner"),
        ({"richness": {"inputs": ["linear1"]}}, "inputs names 'linear1'.*backbone.linear1"),
    ],
)
def test_configurations_that_do_not_fit_their_net(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(config(**parts))


def test_a_decay_without_a_rule_is_refused_before_training() -> None:
    training = {"epochs": 1, "optimizer": "adam", "weight_decay": 0.1}
    with pytest.raises(ValueError, match=r"weight_decay 0.1 with optimizer 'adam' has no rule"):
        run_config(config(richness="mup", training=training))
    assert run_config(config(training=training)).status == "complete"


def test_a_name_alone_takes_dotted_options() -> None:
    study = Study.from_config({
        "base": config(richness="ntp"), "grid": {"richness.gamma0": [0.1, 1.0]}, "seeds": [0],
    })  # fmt: skip
    found = [cell.config["richness"] for cell in study.cells()]
    assert [(r["parametrization"], r["gamma0"]) for r in found] == [("ntp", 0.1), ("ntp", 1.0)]


def test_a_base_wider_than_the_net_is_a_base_like_any() -> None:
    """muP below its base width is NTP at a larger gamma_0; nothing there is refused."""
    narrow = richness.parametrize(Learner(mlp((6,), hidden=(8,)), GrowingHead(8)), gamma0=0.5)
    assert richness.describe(narrow).startswith("mup, width 8 = 0.125 x base, gamma 0.1768")
    assert richness.rates(narrow, "adam")["backbone.linear1.weight"] == pytest.approx(0.5)
