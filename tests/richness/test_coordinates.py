from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import holdfast
from holdfast import nets
from holdfast.nets import Learner, SharedHead
from holdfast.nets.scaled import Scaled
from holdfast.richness import DriftError, coordinate_check, param_groups, parametrize
from holdfast.richness.activations import OUTPUT, activations, common_paths, paths_of
from holdfast.richness.slopes import log_slopes

WIDTHS = (64, 128, 256)
LAYERS = ("backbone.linear1", "backbone.linear2", "backbone", OUTPUT)


@pytest.fixture(scope="module")
def batch():
    """A few digits, in float64."""
    digits = holdfast.digits()
    return digits.normalize(digits.train.x[:40]).double(), digits.train.y[:40]


def plain(width, seed):
    return Learner(
        nets.mlp((1, 8, 8), hidden=(1, 1), width=width, seed=seed), SharedHead(width, range(10))
    )


def drawn(learner, seed):
    """With heads that follow the seed, as those of a run do."""
    generator = torch.Generator().manual_seed(seed)
    nn.init.normal_(learner.heads.linear.weight, generator=generator)
    return learner


def net(parametrization="mup", **options):
    return lambda width, seed: parametrize(
        plain(width, seed), parametrization, seed=seed, **options
    )


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.act, self.linear = nn.ReLU(), nn.Linear(width, width)

    def forward(self, x):
        return x + self.linear(self.act(x))


def deep(depth, seed, **options):
    """A residual net of `depth` linear branches, 128 wide."""
    blocks = nn.Sequential(*(Block(128) for _ in range(depth)))
    layers = [("flat", nn.Flatten()), ("stem", nn.Linear(64, 128)), ("blocks", blocks)]
    learner = Learner(nn.Sequential(OrderedDict(layers)), SharedHead(128, range(10)))
    branches = [f"backbone.blocks.{i}.linear" for i in range(depth)]
    return parametrize(learner, seed=seed, branches=branches, **options)


def check(build, batch, **options):
    options = {"widths": WIDTHS, "lr": 1.0, "steps": 8, **options}
    return coordinate_check(build, x=batch[0], y=batch[1], **options)


# what is measured


@given(
    st.lists(st.integers(1, 4000), min_size=2, max_size=6, unique=True),
    st.floats(-2, 2),
    st.floats(1e-6, 1e6),
)
def test_slopes_of_powers_are_their_exponents(sizes, power, factor):
    sizes = np.array(sizes, dtype=np.float64)
    values = factor * sizes[:, None, None] ** np.array([power, -power])
    slopes = log_slopes(sizes, np.repeat(values, 3, axis=1))
    assert slopes.mean == pytest.approx([power, -power], abs=1e-6)
    assert slopes.error == pytest.approx([0, 0], abs=1e-6)


def test_slopes_are_those_of_polyfit_and_vary_over_seeds():
    draws = np.random.default_rng(0)
    sizes, values = np.array([32.0, 100.0, 256.0, 300.0]), draws.uniform(0.1, 9, (4, 5, 2))
    each = np.array([
        [np.polyfit(np.log(sizes), np.log(values[:, seed, layer]), 1)[0] for layer in range(2)]
        for seed in range(5)
    ])  # fmt: skip
    slopes = log_slopes(sizes, values)
    assert slopes.mean == pytest.approx(each.mean(axis=0))
    assert slopes.error == pytest.approx(each.std(axis=0, ddof=1) / np.sqrt(5))
    assert np.isnan(log_slopes(sizes, values[:, :1]).error).all()


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_what_has_no_logarithm_has_no_slope(bad):
    values = np.ones((3, 2, 2))
    values[1, 0, 1] = bad
    slopes = log_slopes(np.array([1.0, 2.0, 4.0]), values)
    assert slopes.mean[0] == 0
    assert np.isnan(slopes.mean[1])


def test_sizes_and_movements_are_those_of_steps_by_hand():
    x = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def linear(width, seed):
        generator = torch.Generator().manual_seed(seed)
        model = nn.Sequential(nn.Linear(5, width, bias=False), nn.Linear(width, 3, bias=False))
        for layer in model:
            nn.init.normal_(layer.weight, std=0.3, generator=generator)
        return model

    found = coordinate_check(
        linear, (4, 8), x=x, y=y, lr=0.05, steps=3, seeds=(3, 5), raises=False,
        loss=lambda f, t: (f - t).square().sum() / 2,
    )  # fmt: skip
    assert found.layers == ("0", OUTPUT)
    for i, width in enumerate((4, 8)):
        for j, seed in enumerate((3, 5)):
            first, second = (p.detach().double().numpy() for p in linear(width, seed).parameters())
            h = [x.numpy() @ first.T]
            f = [h[0] @ second.T]
            for _ in range(3):
                error, hidden = f[-1] - y.numpy(), h[-1]
                first, second = (
                    first - 0.05 * (error @ second).T @ x.numpy(),
                    second - 0.05 * error.T @ hidden,
                )
                h.append(x.numpy() @ first.T)
                f.append(h[-1] @ second.T)
            for layer, values in enumerate((h, f)):
                start, moved = (np.sqrt(np.mean(v**2)) for v in (values[0], values[-1] - values[0]))
                assert found.start[i, j, layer] == pytest.approx(start, rel=1e-6)
                assert found.moved[i, j, layer] == pytest.approx(moved, rel=1e-6)


def test_activations_of_each_module_once():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.still = nn.Linear(2, 2), nn.ReLU()

        def forward(self, x):
            return self.still(self.inner(x)), x

    model = nn.Sequential(Pair(), nn.Identity())
    model[0].inner.eval()
    x = torch.randn(3, 2)
    found = activations(model, x, lambda m, v: m[1](m[0](v)[0]), paths_of(model))
    # The pair gives its first tensor; that is also the output, which goes by its own name.
    assert list(found) == ["0.inner", OUTPUT]
    assert torch.equal(found["0.inner"], model[0].inner(x).flatten())
    assert not any(m._forward_hooks for m in model.modules())
    assert model.training
    assert not model[0].inner.training


def test_calls_of_a_layer_lie_behind_one_another():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    x = torch.randn(3, 2)
    found = activations(model, x, lambda m, v: m(v) + 0, paths_of(model))
    assert found["0"].shape == (12,)


def test_places_that_depend_on_the_depth_are_left_out():
    shallow, deeper = (paths_of(deep(depth, 0)) for depth in (3, 6))
    assert common_paths([shallow, deeper]) == [
        "", "backbone", "backbone.stem", "backbone.blocks", "heads", "heads.linear",
    ]  # fmt: skip


def test_it_leaves_no_trace_and_comes_out_the_same_again(batch):
    before = torch.random.get_rng_state()

    def build(width, seed):
        learner = net()(width, seed)
        learner.backbone.add_module("drop", nn.Dropout(0.5))
        return learner

    first, second = (check(build, batch, widths=(32, 64), raises=False) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(first.moved, second.moved)


# what passes


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 1.0), ("adam", 0.01), ("adamw", 0.01)])
def test_mup_moves_alike_at_all_widths(batch, optimizer, lr):
    found = check(net(), batch, optimizer=optimizer, lr=lr)
    assert found.layers == LAYERS
    assert not found.faults
    assert found.complaint() == ""
    assert "moves by an amount free of the width" in found.text()


def test_a_readout_that_is_not_zero_at_the_start_is_told_of(batch):
    assert "The output starts as 0" in check(net(), batch).text()
    found = check(net(readout_std=1), batch, widths=(16, 64, 256), seeds=range(6), raises=False)
    assert "as it should in muP with readout_std=1" in found.text()
    assert found.start_slopes.mean[-1] == pytest.approx(-0.5, abs=0.1)
    # Hidden layers move alike; the output has a random start to undo, which is larger if narrow.
    assert [fault[:2] for fault in found.faults] == [(OUTPUT, "less")]
    assert "training first undoes a random output" in found.complaint()


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 1.0), ("adam", 0.01)])
def test_depth_moves_alike_with_scaled_branches(batch, optimizer, lr):
    found = check(
        deep, batch, widths=None, depths=(32, 8, 16), seeds=range(5), optimizer=optimizer, lr=lr
    )
    assert found.over == "depth"
    assert found.sizes == (8, 16, 32)
    assert found.layers == ("backbone.stem", "backbone.blocks", OUTPUT)


# what must not pass


def unscaled(depth, seed):
    return deep(depth, seed, depth_scaling=False)


def wrong_adam(model, lr):
    return torch.optim.Adam(param_groups(model, "sgd", lr))


def wrong_sgd(model, lr):
    return torch.optim.SGD(param_groups(model, "adam", lr))


def narrow_rates(model, lr):
    """The rates of width 64, whatever the width."""
    narrow = param_groups(net()(64, 0), "sgd", 1.0)[0]["lr"]
    return torch.optim.SGD(model.parameters(), lr * narrow)


def drawn_after(width, seed):
    """Parametrized, then drawn as torch does: sizes at the start fall with the width."""
    model = net()(width, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for layer in model.backbone:
            if isinstance(layer, Scaled):
                nn.Linear.reset_parameters(layer)
    return model


ADAM = {"optimizer": "adam", "lr": 0.003}
CONTROLS = {
    "sp": (net("sp"), {"lr": 0.3}, OUTPUT, "moves more", "standard parametrization no single"),
    "sp adam": (net("sp", readout_std=1), ADAM, OUTPUT, "moves more", "standard parametrization"),
    "torch": (plain, ADAM, OUTPUT, "moves more", "The model is not parametrized"),
    "ntp": (net("ntp"), {}, "backbone", "moves less", "the wider the lazier"),
    "ntp random": (
        net("ntp", readout_std=1), {}, "backbone", "moves less", "the wider the lazier",
    ),
    "sgd rates for adam": (
        net(), {"optimizer": wrong_adam, "lr": 0.003}, "backbone.linear2", "moves more",
        "Adam was given the rates of SGD",
    ),
    "adam rates for sgd": (
        net(), {"optimizer": wrong_sgd}, "backbone", "moves less", "SGD was given the rates of",
    ),
    "rates of another width": (
        net(), {"optimizer": narrow_rates}, "backbone", "moves less", "a model of another width",
    ),
    "width that stays": (net(width=64), {}, "backbone", "moves less", "for 1 times the base width"),
    "base that follows": (
        lambda width, seed: net(base_width=width)(width, seed), {}, "backbone", "moves less",
        "Found before training:.*base_width: is 64 and 256",
    ),
    "readout not zero": (
        lambda width, seed: drawn(net()(width, seed), seed), {}, OUTPUT, "does not start as 0",
        "Found before training:.*heads.linear.weight: the readout was asked to start at 0",
    ),
    "weights of torch": (
        drawn_after, {}, "backbone.linear2", "starts smaller", "raw entries have a spread of",
    ),
    "unscaled depth": (
        unscaled, {"widths": None, "depths": (3, 6, 12), **ADAM}, "backbone.blocks", "moves more",
        r"not multiplied by 1 / sqrt\(L\)",
    ),
    "diverges": (
        net(), {"loss": lambda f, y: -f.exp().sum()}, OUTPUT, "diverges", "rate is too large",
    ),
}  # fmt: skip


@pytest.mark.parametrize("control", CONTROLS)
def test_controls_fail_and_are_told_why(batch, control):
    build, options, layer, what, why = CONTROLS[control]
    with pytest.raises(DriftError, match=rf"(?s)  {layer} {what}.*{why}") as caught:
        check(build, batch, **options)
    found = caught.value.coordinates
    assert layer in {fault.layer for fault in found.faults}
    assert found.complaint() == str(caught.value)
    assert str(caught.value) in found.text()


def test_slope_of_ntp_is_that_of_mup_at_the_richness_it_equals(batch):
    # gamma_0 = sqrt(N_0 / N), and movement goes as gamma_0^2 with a readout of 0.
    found = check(net("ntp"), batch, widths=(256, 512, 1024), raises=False)
    assert found.moved_slopes.mean[:3] == pytest.approx(-1, abs=0.1)


def test_one_step_from_a_zero_readout_moves_nothing_but_the_readout(batch):
    with pytest.raises(DriftError, match=r"the readout alone has moved.*Give steps=3") as caught:
        check(net(), batch, steps=1)
    assert [f.layer for f in caught.value.coordinates.faults] == list(LAYERS[:3])
    assert {f.kind for f in caught.value.coordinates.faults} == {"still"}


def test_frozen_layers_do_not_move(batch):
    def frozen(width, seed):
        model = net()(width, seed)
        model.backbone.requires_grad_(False)
        return model

    with pytest.raises(DriftError, match=r"(?s)linear1 does not move.*No gradient reaches"):
        check(frozen, batch)


def test_marginal_slopes_are_called_chance(batch):
    found = check(net(), batch, band=0.001, raises=False)
    noisy = [abs(f.slope) - 2 * f.error > 0.001 for f in found.faults]
    assert ("Perhaps chance" in found.complaint()) == (not any(noisy))


def test_few_seeds_and_coarse_numbers_are_said(batch):
    x, y = batch
    lazy = coordinate_check(
        net(gamma0=0.001), (32, 64), x=x.float(), y=y, lr=1.0, seeds=(0, 1), raises=False
    )
    assert "give x in float64" in lazy.text()
    assert "give x in float64" not in check(net(gamma0=0.001), batch, raises=False).text()
    noisy = check(net(), batch, widths=(32, 33), raises=False)
    assert "Two standard errors of a slope are more than the band" in noisy.text()


def test_tidy_columns_and_plain_dict(batch):
    found = check(net(), batch, raises=False)
    columns = found.columns()
    assert {name: len(values) for name, values in columns.items()} == dict.fromkeys(
        ("width", "seed", "layer", "start", "moved"), 3 * 3 * 4
    )
    chosen = (columns["width"] == 128) & (columns["seed"] == 2) & (columns["layer"] == OUTPUT)
    assert columns["moved"][chosen] == found.moved[1, 2, 3]
    assert found.to_dict()["slopes"][OUTPUT]["moved"][0] == found.moved_slopes.mean[3]


def test_batch_is_drawn_where_none_is_given():
    found = coordinate_check(net(), WIDTHS, x=(1, 8, 8), lr=1.0)
    assert found.setting.steps == 10
    assert found.setting.optimizer == "SGD"


# what is refused


def uneven(width, seed):
    torch_net = nn.Sequential(
        nn.Linear(64, width), nn.Linear(width, 7 + width), nn.Linear(7 + width, 3)
    )
    return torch_net


def test_arguments_are_checked(batch):
    for options, error, match in [
        ({"widths": None}, ValueError, "give widths or depths"),
        ({"depths": (3, 6)}, ValueError, "give widths or depths"),
        ({"widths": (32,)}, ValueError, r"widths must be two or more .* got \[32\]"),
        ({"widths": (32, 0)}, ValueError, "different positive integers"),
        ({"lr": 0.0}, ValueError, r"lr must be positive and finite, got 0\.0"),
        ({"band": float("nan")}, ValueError, "band must be positive"),
        ({"steps": 0}, ValueError, "steps must be a positive integer, got 0"),
        ({"seeds": ()}, ValueError, "seeds must be one or more"),
        ({"seeds": (1, 1)}, ValueError, r"different integers, got \[1, 1\]"),
        ({"optimizer": "rmsprop"}, ValueError, "optimizer must be one of sgd, adam, adamw"),
    ]:
        with pytest.raises(error, match=match):
            coordinate_check(net(), **{"x": batch[0], "y": batch[1], "widths": WIDTHS, **options})


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda width, seed: net()(32, seed), "equally wide: build takes no notice"),
        (lambda width, seed: net()(width, 0), "seeds 1 and 0|seeds 0 and 1"),
        (uneven, "do not scale together: fan-ins go 1 64 -> 128, 2 71 -> 135"),
        (
            lambda width, seed: plain(width, seed) if width < 70 else uneven(width, seed),
            "differ in their modules",
        ),
    ],
)
def test_builds_that_compare_nothing_are_refused(batch, build, match):
    with pytest.raises(ValueError, match=match):
        check(build, batch)


def test_other_builds_and_batches_are_refused(batch):
    x, y = batch
    with pytest.raises(TypeError, match=r"build\(64, 0\) must give a module, got int"):
        check(lambda width, seed: width, batch)
    with pytest.raises(ValueError, match="takes no notice of the depth"):
        check(lambda depth, seed: deep(3, seed), batch, widths=None, depths=(3, 6))
    with pytest.raises(ValueError, match="got 4 for 40 samples"):
        coordinate_check(net(), WIDTHS, x=x, y=y[:4])
    with pytest.raises(ValueError, match="y must be given for outputs of shape"):
        coordinate_check(
            net(), WIDTHS, x=x, forward=lambda model, v: model(v)[:, None], raises=False
        )


def test_sizes_that_no_layer_explains(batch):
    class Louder(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.width, self.net = width, nn.Linear(64, width)
            self.head = nn.Linear(width, 10)

        def forward(self, x):
            return self.head(self.net(x.flatten(1)).sin() * self.width)

    def build(width, seed):
        return parametrize(nn.Sequential(Louder(width)), readout_std=1, seed=seed)

    with pytest.raises(DriftError, match="or something in the model beyond its layers depends"):
        check(build, batch, lr=1e-6)
