"""Rules of a person's own layers, and for whom a rule holds."""

import pytest
import torch
from curvature_cases import assert_close, loop
from torch import Tensor, nn

from holdfast.curvature import diagonal_fisher, registry, rule


class Scale(nn.Module):
    """x * weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Half(Scale):
    """x * weight / 2."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


@pytest.mark.parametrize("layer", [Scale, Half])
def test_own_rule_is_used_for_its_type_alone(
    layer: type[Scale], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_rules", dict(registry._rules))
    asked = []

    @rule(Scale)
    def scale(layer: Scale, inputs: tuple[Tensor, ...], grads: Tensor) -> dict[str, Tensor]:
        asked.append(layer)
        return {"weight": (grads * inputs[0]).square().sum(dim=(0, 1))}

    model = nn.Sequential(nn.Linear(2, 3), layer(), nn.Tanh(), nn.Linear(3, 2)).double()
    x, y = torch.randn(5, 2, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1])
    assert_close(diagonal_fisher(model, [(x, y)]), loop(model, x, y), 1e-10)
    assert asked == ([model[1]] if layer is Scale else [])
