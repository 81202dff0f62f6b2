"""The exact Fisher of parametrized models, by rules and by differentiation."""

import pytest
import torch
from curvature_cases import assert_close, loop
from doubled import doubled
from small_runs import make_stream
from survivors import SURVIVORS, Survivor
from torch import nn

from holdfast import richness
from holdfast.curvature import diagonal_fisher
from holdfast.curvature import fisher as fisher_module
from holdfast.curvature.registry import rule_for
from holdfast.methods import EWC
from holdfast.nets.learner import HeadKind, Learner, build_learner
from holdfast.nets.scaled import SCALED
from holdfast.streams.batches import Batch
from holdfast.training.options import Training
from holdfast.training.run import run

BY_RULES = ("mlp", "rows", "images", "sequences", "residual", "growing head", "task head")


class Meaned(nn.Module):
    """Over positions, where there are any, so that outputs are a matrix."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: object) -> torch.Tensor:
        outputs = self.model(*inputs)
        return outputs.mean(dim=1) if outputs.ndim == 3 else outputs


def made(case: Survivor) -> nn.Module:
    model = case.model().double()
    return model if isinstance(model, Learner) else Meaned(model)


def refuse(*_: object) -> None:
    raise AssertionError("a parameter went without a rule")


@pytest.mark.parametrize("kind", ["empirical", "true"])
@pytest.mark.parametrize("case", SURVIVORS, ids=str)
def test_fisher_is_that_of_the_loop(
    case: Survivor, kind: fisher_module.FisherKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (x, *task) = made(case), case.inputs(4, torch.float64)
    y = torch.tensor([0, 1, 1, 0])
    batch = Batch(x, y, torch.tensor([1, 1, 0, 1])) if task else (x, y)
    expected = loop(model, x, y, batch.task if isinstance(batch, Batch) else None, kind)
    if case.name in BY_RULES and case.name != "task head":
        monkeypatch.setattr(fisher_module, "per_sample_squares", refuse)
    assert_close(diagonal_fisher(model, [batch], kind=kind), expected, 1e-10)


@pytest.mark.parametrize("case", [c for c in SURVIVORS if c.name in BY_RULES], ids=str)
def test_rules_and_differentiation_agree(case: Survivor, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, *task) = made(case), case.inputs(4, torch.float64)
    batch = Batch(x, torch.tensor([0, 1, 1, 0]), torch.ones(4, dtype=torch.int64))
    forward = None if task else lambda x, task: model(x)
    by_rules = diagonal_fisher(model, [batch], forward=forward)
    monkeypatch.setattr("holdfast.curvature.closed.rule_for", lambda layer: None)
    by_differentiation = diagonal_fisher(model, [batch], forward=forward)
    assert_close(by_rules, by_differentiation, 1e-10)


@pytest.mark.parametrize("plain", [nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding])
def test_scaled_layers_have_the_rules_of_plain_ones(plain: type[nn.Module]) -> None:
    scaled = SCALED[plain].__new__(SCALED[plain])
    nn.Module.__init__(scaled)
    assert rule_for(scaled) is not None


@pytest.mark.parametrize(("scenario", "heads"), [("task", "per_task"), ("class", "growing")])
def test_ewc_keeps_the_exact_fisher(scenario: str, heads: HeadKind) -> None:
    stream = doubled(make_stream(f"{scenario}_incremental"))[:1]
    net = nn.Sequential(nn.Linear(5, 12), nn.ReLU()).double()
    learner = richness.parametrize(build_learner(net, stream, heads), gamma0=0.7, base_width=4)
    method = EWC(strength=1.0)
    run(stream, learner.double(), method, Training(epochs=2, batch_size=4, lr=0.3))
    x, y = stream[0].train.x, learner.columns(stream[0].train.y, 0)
    expected = loop(learner, x, y, torch.zeros(len(x), dtype=torch.int64))
    assert_close(method.state_dict()["stiffness"], expected, 1e-10)
