"""What is wrong with a parametrized model is found, explained and mended; what is right is not."""

import copy

import pytest
import torch
from small_runs import make_stream
from survivors import SURVIVORS, Survivor
from torch import nn

from holdfast import richness
from holdfast.nets import GrowingHead, Learner, TaskHeads, mlp, resnet18
from holdfast.nets.learner import build_learner
from holdfast.richness import compare_widths, validate
from holdfast.seeds import seeded


def net(width: int = 32, inputs: int = 8) -> nn.Module:
    with seeded(0, "test"):
        return layers(width, inputs)


def layers(width: int, inputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, 3),
    )  # fmt: skip


@pytest.mark.parametrize("readout_std", [0, 1])
@pytest.mark.parametrize("parametrization", ["mup", "ntp", "sp"])
@pytest.mark.parametrize("case", SURVIVORS, ids=str)
def test_nothing_is_wrong_with_what_parametrize_makes(
    case: Survivor, parametrization: richness.options.Parametrization, readout_std: int
) -> None:
    model = richness.parametrize(
        case.plain(), parametrization, readout_std=readout_std, readout=case.readout,
        branches=case.branches,
    )  # fmt: skip
    assert validate(model) == []
    assert validate(copy.deepcopy(model).double()) == []


def test_trained_models_are_looked_at_but_for_their_weights() -> None:
    model = richness.parametrize(net())
    used = torch.optim.SGD(richness.param_groups(model, lr=3.0))
    for _ in range(3):
        used.zero_grad()
        model(torch.ones(2, 8)).sum().backward()
        used.step()
    assert [problem.where for problem in validate(model)][-2:] == ["4.weight", "4.bias"]
    assert validate(model, trained=True) == []
    model[2] = nn.Linear(32, 32)
    assert len(validate(model, trained=True)) == 2


def test_readout_that_is_not_zero() -> None:
    model = richness.parametrize(net(), gamma0=0.5)
    torch.nn.init.normal_(model[4].weight)
    (problem,) = validate(model)
    assert problem.where == "4.weight"
    assert "asked to start at 0 and does not" in problem.what
    assert str(problem).startswith("4.weight: the readout was asked")
    assert problem.repair is not None
    problem.repair()
    assert validate(model) == []
    assert not bool(model(torch.ones(1, 8)).any())


@pytest.mark.parametrize("kind", [TaskHeads, GrowingHead])
def test_rows_of_heads_that_are_not_zero(kind: type[GrowingHead | TaskHeads]) -> None:
    learner = richness.parametrize(Learner(nn.Linear(5, 8), kind(8)))
    assert validate(learner) == []
    learner.heads.accommodate(0, (0, 1))
    assert validate(learner) == []
    for parameter in learner.heads.parameters():
        torch.nn.init.ones_(parameter)
    problems = validate(learner)
    assert len(problems) == 2
    for problem in problems:
        assert problem.repair is not None
        problem.repair()
    assert validate(learner) == []


def test_a_plain_state_dict_is_noticed_and_taken_for_what_it_is() -> None:
    plain = net(64)
    model = richness.parametrize(net(64), gamma0=0.5)
    model.load_state_dict(plain.state_dict())
    problems = validate(model)
    assert [p.where for p in problems] == ["0.weight", "2.weight", "4.weight", "4.bias"]
    assert "raw entries have a spread of 0.0722 where 1 was drawn" in problems[1].what
    assert "weights='keep'" in problems[1].fix
    for problem in problems[:2]:
        assert problem.repair is not None
        problem.repair()
    x = torch.randn(5, 8)
    torch.testing.assert_close(model[:4](x), plain[:4](x))
    kept = richness.parametrize(copy.deepcopy(plain), gamma0=0.5, weights="keep")
    for mine, theirs in zip(model[:4].parameters(), kept[:4].parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert validate(kept, trained=True) == []
    assert validate(kept) != []


def test_batch_norm_that_was_kept_is_replaced() -> None:
    learner = Learner(resnet18((3, 16, 16), width=4), GrowingHead(32))
    richness.parametrize(learner, batch_norm="keep")
    (problem,) = validate(learner)
    assert problem.where.startswith("backbone.stem_norm, backbone.stage1.0.norm1, ")
    assert "undoes the multipliers" in problem.what
    assert "batch_norm='group'" in problem.fix
    rates = richness.rates(learner, "adam")
    assert problem.repair is not None
    problem.repair()
    assert validate(learner) == []
    assert richness.rates(learner, "adam") == rates
    assert learner(torch.randn(1, 3, 16, 16)).shape == (1, 0)
    assert validate(richness.parametrize(resnet_head(), "sp")) == []


def resnet_head() -> nn.Module:
    return Learner(resnet18((3, 16, 16), width=4), GrowingHead(32))


def test_replaced_norms_stay_frozen_and_in_their_dtype() -> None:
    model = nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 16), nn.BatchNorm1d(16, affine=False),
        nn.Linear(16, 3),
    ).double()  # fmt: skip
    model[1].requires_grad_(False)
    model.eval()
    richness.parametrize(model, batch_norm="group")
    assert [type(layer).__name__ for layer in model[1::2]] == ["GroupNorm", "GroupNorm"]
    assert not any(p.requires_grad for p in model[1].parameters())
    assert model(torch.zeros(2, 8).double()).dtype == torch.float64
    assert not model[1].training
    assert set(richness.rates(model)) == {
        f"{i}.{name}" for i in (0, 2, 4) for name in ("weight", "bias")
    }


def test_layers_and_parameters_that_came_later() -> None:
    model = richness.parametrize(net())
    model[2] = nn.Linear(32, 32)
    model[0].register_parameter("gain", nn.Parameter(torch.ones(2)))
    problems = {problem.where: problem for problem in validate(model)}
    assert set(problems) == {"2.weight", "2.bias", "0.gain"}
    assert problems["2.weight"].what.startswith("is of a plain Linear that came after parametrize")
    assert "multiplier 1 at every width" in problems["2.weight"].what
    assert problems["0.gain"].what.startswith("came after parametrize")
    assert all(problem.repair is None for problem in problems.values())
    model[2].requires_grad_(False)
    model[0].gain.requires_grad_(False)
    assert validate(model) == []


def test_parts_of_other_models() -> None:
    model = richness.parametrize(net(), gamma0=0.5)
    model[2] = richness.parametrize(net(), gamma0=0.25)[2]
    (problem,) = validate(model)
    assert problem.where == "2"
    assert problem.what.startswith(
        "was parametrized with mup, width 32 and gamma 0.1768, 0 with mup, width 32 and gamma "
        "0.3536"
    )


def test_wrapped_models_are_looked_at_too() -> None:
    model = richness.parametrize(net())
    torch.nn.init.ones_(model[4].bias)
    (problem,) = validate(torch.compile(model, backend="eager"))
    assert problem.where == "_orig_mod.4.bias"


def test_plain_models_have_nothing_to_look_at() -> None:
    for function in (validate, richness.describe):
        with pytest.raises(ValueError, match="model is not parametrized; call"):
            function(net())


def wide_heads(heads: int, width: int, base: int | None) -> nn.Module:
    layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 1)
    model = nn.Sequential(nn.Linear(5, width), encoder, nn.Linear(width, 3))
    return richness.parametrize(model, base_head_dim=base)


def grouped(width: int, groups: int, **options: object) -> nn.Module:
    model = nn.Sequential(
        nn.Conv1d(2, width, 1), nn.Conv1d(width, width, 3, groups=groups), nn.Flatten(),
        nn.Linear(width, 3),
    )  # fmt: skip
    return richness.parametrize(model, **options)


def named(narrow: nn.Module, wide: nn.Module) -> dict[str, str]:
    return {p.where: f"{p.what} / {p.fix}" for p in compare_widths(narrow, wide)}


@pytest.mark.parametrize("case", SURVIVORS, ids=str)
def test_models_of_one_width_cannot_be_compared(case: Survivor) -> None:
    with pytest.raises(ValueError, match="wide must be wider than narrow, got widths"):
        compare_widths(case.model(), case.model())


def test_widths_that_scale_together() -> None:
    plain = lambda width, **options: richness.parametrize(net(width), **options)  # noqa: E731
    assert named(plain(32), plain(256)) == {}
    with pytest.raises(ValueError, match="got widths 32 and 256"):
        compare_widths(plain(256), plain(32))
    with pytest.raises(ValueError, match="wide is not parametrized"):
        compare_widths(plain(32), net(64))
    # What is wide in the base units need not be in absolute ones.
    found = named(plain(32, base_width=16), plain(64, base_width=32))
    assert list(found) == ["base_width"]
    assert "gamma_0 is counted in its units" in found["base_width"]
    assert named(plain(32, gamma0=0.1), plain(64, gamma0=0.2))["gamma0"].startswith(
        "is 0.1 and 0.2"
    )
    assert list(named(plain(32, parametrization="ntp"), plain(64))) == ["parametrization"]


def test_a_layer_that_stays_narrow() -> None:
    def bottleneck(width: int, inner: int) -> nn.Module:
        return richness.parametrize(
            nn.Sequential(
                nn.Linear(8, width), nn.Linear(width, inner), nn.Linear(inner, width),
                nn.Linear(width, 3),
            )
        )  # fmt: skip

    assert named(bottleneck(32, 8), bottleneck(64, 16)) == {}
    found = named(bottleneck(32, 8), bottleneck(64, 8))
    assert list(found) == ["2.weight"]
    assert (
        "is a sum of 8 and 8 terms, where the width grew by 2: it counts as hidden"
        in found["2.weight"]
    )
    found = named(bottleneck(32, 8), bottleneck(64, 12))
    assert "a sum of 8 and 12 terms" in found["2.weight"]
    assert "wider by one factor" in found["2.weight"]


def test_an_input_that_grows() -> None:
    model = lambda width: richness.parametrize(net(width), inputs=["0", "2"])  # noqa: E731
    assert "Leave it out of inputs=" in named(model(32), model(64))["2.weight"]


def test_heads_without_rows_are_compared_too() -> None:
    def learner(width: int, extra: int) -> Learner:
        backbone = nn.Sequential(nn.Linear(5, width), nn.Linear(width, width + extra))
        return richness.parametrize(Learner(backbone, TaskHeads(width + extra)), width=width)

    assert named(learner(32, 0), learner(64, 0)) == {}
    assert "a sum of 36 and 68 terms" in named(learner(32, 4), learner(64, 4))["heads"]


def test_groups() -> None:
    """Few groups grow; many of one size need to be named; each channel its own is known."""
    assert named(grouped(32, 4), grouped(64, 4)) == {}
    assert named(grouped(32, 32), grouped(64, 64)) == {}
    assert "Name it in inputs=" in named(grouped(32, 4), grouped(64, 8))["1.weight"]
    told = {"inputs": ["0", "1"]}
    assert named(grouped(32, 4, **told), grouped(64, 8, **told)) == {}
    # At four times the base width: gamma_0, and gamma_0 / sqrt(r).
    assert richness.rates(grouped(256, 256), "adam")["1.weight"] == 1.0
    assert richness.rates(grouped(256, 4), "adam")["1.weight"] == 0.5
    assert grouped(256, 256)[1].multiplier == pytest.approx(3**-0.5)


def test_heads_of_attention() -> None:
    assert named(wide_heads(4, 32, None), wide_heads(8, 64, None)) == {}
    assert named(wide_heads(4, 32, 8), wide_heads(4, 64, 8)) == {}
    found = named(wide_heads(4, 32, None), wide_heads(4, 64, None))
    assert list(found) == ["1.layers.0.self_attn"]
    assert "heads of width 8 and 16" in found["1.layers.0.self_attn"]
    assert "base_head_dim, such as 8" in found["1.layers.0.self_attn"]


def test_nets_that_are_not_alike() -> None:
    deep = richness.parametrize(nn.Sequential(*net(64)[:2], nn.Linear(64, 64), *net(64)[2:]))
    found = named(richness.parametrize(net(32)), deep)
    assert "is a parameter of the wide model alone" in found["5.weight"]
    shallow, branched = (
        richness.parametrize(net(width), branches=branches)
        for width, branches in ((32, ["2"]), (64, ["0", "2"]))
    )
    assert "in branches multiplied by 1 and 0.7071" in named(shallow, branched)["2.weight"]


def test_learners_of_runs_compare() -> None:
    stream = make_stream("task_incremental")
    narrow, wide = (
        richness.parametrize(build_learner(mlp((5,), hidden=(1, 1), width=width), stream))
        for width in (16, 64)
    )
    assert compare_widths(narrow, wide) == []
