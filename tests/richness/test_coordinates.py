"""How activations move with the width: what is measured, and what is refused."""

import numpy as np
import pytest
import torch
from coordinate_nets import WIDTHS, check, deep, net, plain
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast.richness import DriftError, coordinate_check, parametrize
from holdfast.richness.activations import OUTPUT, activations, common_paths, paths_of
from holdfast.richness.slopes import log_slopes

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
