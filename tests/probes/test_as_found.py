import pytest
import torch
from torch import Tensor, nn

from holdfast.probes import as_found


class Counts(nn.Module):
    """Replaces one buffer, changes another in place, draws, and fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("replaced", torch.zeros(2))
        self.register_buffer("changed", torch.zeros(2))
        self.register_buffer("absent", None)
        self.fails = False

    def forward(self, x: Tensor) -> Tensor:
        self.replaced = self.replaced + 1
        self.changed += 1
        if self.fails:
            raise RuntimeError("told to")
        return x + torch.rand(2)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back(mode: str, fails: bool) -> None:
    counts = Counts()
    counts.fails = fails
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(), counts)
    model[1].eval()  # a mode of its own
    kept = {name: (buffer, buffer.clone()) for name, buffer in model.named_buffers()}
    state, modes = torch.get_rng_state(), [part.training for part in model.modules()]
    outs = []
    for _ in range(2):
        try:
            with as_found(model, mode):
                assert {part.training for part in model.modules()} == {mode == "train"}
                outs.append(model(torch.ones(4, 2)))
        except RuntimeError:
            assert fails
        assert [part.training for part in model.modules()] == modes
        assert torch.equal(torch.get_rng_state(), state)
        for name, buffer in model.named_buffers():
            assert buffer is kept[name][0]
            assert torch.equal(buffer, kept[name][1])
    assert fails or torch.equal(*outs)  # the same draws each time


def test_other_modes_are_refused() -> None:
    with (
        pytest.raises(ValueError, match="mode must be one of eval, train; got 'test'"),
        as_found(nn.ReLU(), "test"),
    ):
        pass
