"""Nets that pass the coordinate check, and faults that it finds."""

import pytest
import torch
from coordinate_nets import LAYERS, check, deep, drawn, net, plain
from torch import nn

from holdfast.nets.scaled import Scaled
from holdfast.richness import DriftError, coordinate_check, param_groups
from holdfast.richness.activations import OUTPUT

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
