import math
from typing import Any

import pytest
import yaml
from jaxtyping import TypeCheckError
from tuning_cases import CONFIG, tuning

from holdfast.studies.tuning import Tuning


def test_the_narrow_study_is_the_net_in_mup_over_the_grid() -> None:
    runs = tuning(gamma0=[3.0, 0.1, 1.0]).narrow_study().runs()
    assert [(r.config["richness"]["gamma0"], r.seed) for r in runs] == [
        (0.1, 0), (0.1, 1), (1.0, 0), (1.0, 1), (3.0, 0), (3.0, 1),
    ]  # fmt: skip
    for run in runs:
        assert run.config["net"]["width"] == 4
        assert run.config["richness"]["parametrization"] == "mup"
        assert run.config["richness"]["readout_bias"] is False
        assert run.config["training"]["lr"] == 2.0


@pytest.mark.parametrize(
    ("gamma0", "changes", "values"),
    [
        (0.1, {}, [0.1, 0.3, 1.0]),
        (1.0, {}, [0.1, 0.3, 1.0, 3.0]),
        (3.0, {}, [0.1, 1.0, 3.0]),
        (3.0, {"neighbours": 0}, [0.1, 1.0, 3.0]),
        (0.3, {"neighbours": 0, "gamma0": [0.1, 0.3, 3.0]}, [0.1, 0.3, 1.0]),
        (0.1, {"neighbours": 5}, [0.1, 0.3, 1.0, 3.0]),
        (0.1, {"verify": True}, [0.1, 0.3, 1.0, 3.0]),
    ],
)
def test_at_the_target_neighbours_and_the_ends_are_run(gamma0, changes, values) -> None:
    cells = tuning(**changes, standard_lr=[0.1, 0.2]).target_study(gamma0).cells()
    *mup, one, two = [cell.config for cell in cells]
    assert [config["richness"]["gamma0"] for config in mup] == values
    assert {config["net"]["width"] for config in (*mup, one, two)} == {8}
    for config, lr in ((one, 0.1), (two, 0.2)):
        assert config["richness"] is None
        assert config["training"]["lr"] == lr


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({}, 2 * 2 / 64),  # gain 2 / N_0 in the square of the multiplier
        ({"richness": {"base_width": 16, "gain": 1.0}}, 2 / 16),
        ({"training": {"optimizer": "adam", "lr": 0.01}}, 0.01 * math.sqrt(2 / 64)),
        ({"richness": None}, 2.0),
    ],
)
def test_the_plain_net_has_the_rate_of_a_hidden_layer_at_the_base_width(changes, rate) -> None:
    (found,) = tuning(config={**CONFIG, **changes}).standard_rates
    assert found == pytest.approx(rate, rel=5e-3)


def test_the_target_is_the_width_of_the_configuration_unless_given() -> None:
    net = {"name": "small_parts:tiny", "width": 16}
    assert Tuning({**CONFIG, "net": net}, 4).target == 16
    assert Tuning({**CONFIG, "net": net}, 4, 32).target == 32


def test_a_net_that_cannot_be_made_without_a_width_is_fine() -> None:
    tuning(config={**CONFIG, "net": "tuning_cases:wide"}).check()


def test_read_back_it_is_the_same(tmp_path) -> None:
    of = tuning(standard_lr=[], verify=True, seeds=[3, 5])
    (tmp_path / "tuning.yaml").write_text(yaml.safe_dump(of.to_config()))
    read = Tuning.read(tmp_path)
    assert read.to_config() == of.to_config()
    assert read.standard_rates == ()
    assert read.target_study(0.3).runs() == of.target_study(0.3).runs()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width must be a positive integer, got 0"),
        ({"target_width": -8}, "target_width must be a positive integer, got -8"),
        ({"target_width": 4}, "target_width must be above width, .*; got 4 and 4"),
        ({"target_width": None}, "target_width is needed, .* has no net.width"),
        ({"neighbours": -1}, "neighbours must be 0 or a positive integer, got -1"),
        ({"gamma0": [0.1, 1.0]}, r"gamma0 needs three values or more, .*; got \(0.1, 1.0\)"),
        ({"gamma0": [0.1, 1.0, 0.0]}, "gamma0 must hold positive finite numbers, got 0.0"),
        ({"gamma0": [0.1, 1.0, math.inf]}, "gamma0 must hold positive finite numbers, got inf"),
        ({"gamma0": [0.1, 1.0, 1.0]}, "gamma0 holds 1.0 twice"),
        ({"standard_lr": -1.0}, "standard_lr must hold positive finite numbers, got -1.0"),
        ({"seeds": 0}, "seeds must be 1 or more"),
        ({"workers": 0}, "workers must be a positive integer, got 0"),
        ({"config": {"net": "mlp"}}, "config lacks 'stream'"),
        (
            {"config": {**CONFIG, "net": "tuning_cases:fixed"}},
            "net 'tuning_cases:fixed' takes no width, .* take mlp, .* argument `width`",
        ),
        (
            {"config": {**CONFIG, "richness": "sp"}},
            "richness.parametrization is 'sp'; .* in 'mup' alone: leave it out",
        ),
        (
            {"config": {**CONFIG, "richness": {"width": 4}}},
            "richness.width is fixed at 4 whatever the width of the net",
        ),
        ({"config": {**CONFIG, "richness": {"gama0": 1}}}, "richness has no key 'gama0'"),
    ],
)
def test_a_wrong_tuning_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tuning(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 4.0},
        {"metric": "acc"},
        {"verify": 1},
        {"gamma0": ["a", "b", "c"]},
        {"gamma0": 0.1},
        {"gamma0": "0.1"},
        {"config": None},
    ],
)
def test_what_is_of_another_kind_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeCheckError)):
        tuning(**changes)


def test_what_cannot_be_run_is_told_before_any_run() -> None:
    stream = {"stream": "tuning_cases:numbers"}
    with pytest.raises(ValueError, match="metric 'ae' is of classes; of regression give"):
        tuning(config={**CONFIG, **stream}).check()
    tuning(config={**CONFIG, **stream}, metric="average_loss").check()
    net = {"name": "mlp", "norm": "batch"}
    with pytest.raises(ValueError, match="the model has BatchNorm"):
        tuning(config={**CONFIG, "net": net}).check()
    with pytest.raises(ValueError, match="hidden is empty: no layer has it"):
        tuning(config={**CONFIG, "net": {"name": "mlp", "hidden": []}}).check()
