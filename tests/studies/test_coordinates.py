import pytest
import torch

from holdfast.config import build
from holdfast.richness import DriftError
from holdfast.studies import check_coordinates

CONFIG = {
    "stream": {"name": "split", "tasks": 5, "scenario": "task_incremental"},
    "net": {"name": "mlp", "hidden": [1, 1]},
    "richness": {"parametrization": "mup", "gamma0": 0.5},
    "training": {"lr": 1.0},
}
WIDTHS = (32, 64, 128)


@pytest.mark.parametrize(
    "training",
    [{"lr": 1.0}, {"lr": 0.5, "momentum": 0.9}, {"lr": 0.01, "optimizer": "adam"}],
)
def test_configuration_of_mup_passes(training):
    found = check_coordinates({**CONFIG, "training": training}, WIDTHS, seeds=range(5))
    assert found.layers == ("backbone.linear1", "backbone.linear2", "backbone", "output")
    assert found.setting.ratios == (0.5, 1.0, 2.0)
    assert found.setting.rule in found.setting.follows
    assert found.setting.lr == training["lr"]


def test_configuration_of_ntp_does_not():
    config = {**CONFIG, "richness": "ntp"}
    with pytest.raises(DriftError, match="the wider the lazier"):
        check_coordinates(config, WIDTHS)
    found = check_coordinates(config, WIDTHS, raises=False)
    assert {fault.kind for fault in found.faults} == {"less"}


def test_it_trains_as_a_run_does_on_samples_of_the_first_task():
    found = check_coordinates(CONFIG, WIDTHS, samples=20, steps=1, seeds=(3,), raises=False)
    config = {**CONFIG, "net": {"name": "mlp", "hidden": [1, 1], "width": 64}, "seed": 3}
    parts = build(config)
    task, chosen = parts.stream[0], torch.linspace(0, len(parts.stream[0].train) - 1, 20)
    rows = chosen.round().long()
    parts.learner.accommodate(0, task, torch.Generator().manual_seed(3))
    x, y = task.inputs(task.train.x[rows]), parts.learner.columns(task.train.y[rows], 0)
    # From a readout of 0 the first step moves it by lr gamma^2 times its gradient.
    logits = parts.learner(x, 0)
    torch.nn.functional.cross_entropy(logits, y).backward()
    head = parts.learner.heads.heads["0"].linear
    with torch.no_grad():
        head.weight -= 1.0 * 0.5**2 * head.weight.grad
        head.bias -= 1.0 * head.bias.grad
        moved = (parts.learner(x, 0) - logits).square().mean().sqrt().item()
    assert found.moved[1, 0, -1] == pytest.approx(moved, rel=1e-4)


def test_depths_and_bad_configurations():
    config = {
        "stream": {"name": "split", "tasks": 5},
        "net": {"name": "residual", "width": 16},
        "richness": "mup",
        "training": {"lr": 1.0},
    }
    found = check_coordinates(config, depths=(3, 6), samples=8, steps=2, seeds=(0, 1), raises=False)
    assert found.over == "depth"
    assert "backbone.stage1" in found.layers
    with pytest.raises(ValueError, match="has no key 'depth'"):
        check_coordinates(CONFIG, depths=(3, 6))
