import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.data.encoding import FeatureEncoder, evaluating


class Powers:
    """Two features of a number; says what it is."""

    def __init__(self, word: str = "powers") -> None:
        self.word, self.batches = word, []

    def __call__(self, samples: list[str] | Tensor) -> Tensor:
        self.batches.append(len(samples))
        assert not torch.is_grad_enabled()
        if isinstance(samples, list):
            samples = torch.tensor([float(s) for s in samples])[:, None]
        return torch.cat([samples.double(), samples.double() ** 2], dim=1)

    def identity(self) -> str:
        return self.word


X = torch.arange(1.0, 11.0)[:, None]


def test_samples_go_through_in_batches_and_once() -> None:
    powers = Powers()
    encode = FeatureEncoder(powers, batch_size=4)
    features = encode(X)
    assert torch.equal(features, torch.cat([X, X**2], dim=1))
    assert features.dtype == torch.float32
    assert powers.batches == [4, 4, 2]
    assert torch.equal(encode(X), features)
    assert powers.batches == [4, 4, 2]
    texts = FeatureEncoder(powers, "sentences", batch_size=20)([str(v) for v in range(1, 11)])
    assert torch.equal(texts, features)


@pytest.mark.parametrize(
    "other",
    [
        lambda p: FeatureEncoder(p, batch_size=5)(X),
        lambda p: FeatureEncoder(p, batch_size=4, unit_length=True)(X),
        lambda p: FeatureEncoder(p, batch_size=4, precision="float16")(X),
        lambda p: FeatureEncoder(p, batch_size=4)(X + 1),
        lambda p: FeatureEncoder(p, batch_size=4, cache=False)(X),
    ],
)
def test_other_samples_and_options_are_encoded_anew(other: Any) -> None:
    FeatureEncoder(Powers(), batch_size=4)(X)
    other(powers := Powers())
    assert powers.batches
    FeatureEncoder(powers := Powers("else"), batch_size=4)(X)
    assert powers.batches


def test_unit_length_and_half_precision() -> None:
    x = torch.tensor([[3.0], [0.0], [1e-30]])
    lengths = FeatureEncoder(Powers(), unit_length=True)(x).norm(dim=1)
    torch.testing.assert_close(lengths, torch.tensor([1.0, 0.0, 1.0]))
    half = FeatureEncoder(Powers(), precision="float16")(X)
    assert half.dtype == torch.float16
    assert torch.equal(half.float(), FeatureEncoder(Powers())(X))
    with pytest.raises(ValueError, match=r"sample 8 are NaN or infinite or beyond .* float16"):
        FeatureEncoder(Powers(), precision="float16", batch_size=4)(X * torch.tensor(30.0))


def test_what_is_wrong_with_features_is_named_and_not_kept() -> None:
    def broken(samples: Tensor) -> Tensor:
        return samples.masked_fill(samples == 7, math.nan)

    with pytest.raises(ValueError, match="things: the features of sample 6 are NaN or infinite"):
        FeatureEncoder(broken, batch_size=4, cache=False)(X, "things")
    for made, message in (
        (lambda x: x[:, 0], r"one vector a sample, \(10, width\); got shape \(10,\)"),
        (lambda x: x[1:], r"got shape \(9, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            FeatureEncoder(made, cache=False)(X)
    for made, message in ((lambda x: x.int(), "got torch.int32"), (lambda x: [1.0], "got list")):
        with pytest.raises(TypeError, match=f"must return a tensor of floats, {message}"):
            FeatureEncoder(made, cache=False)(X)
    with pytest.raises(ValueError, match="things: there are no samples"):
        FeatureEncoder(Powers())(X[:0], "things")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
        ({"batch_size": True}, "batch_size must be a positive integer, got True"),
    ],
)
def test_options_are_checked_when_it_is_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureEncoder(Powers(), **options)


def test_only_what_can_say_what_it_is_is_kept() -> None:
    with pytest.raises(TypeError, match=r"has no method identity\(\); give it one, or pass cache"):
        FeatureEncoder(lambda x: x)
    assert torch.equal(FeatureEncoder(lambda x: x, cache=False)(X), X)


def test_evaluating_restores_the_mode_of_each_layer() -> None:
    net = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()))
    net.train()
    net[1].eval()
    before = [m.training for m in net.modules()]

    def breaks() -> None:
        with evaluating(net):
            assert not any(m.training for m in net.modules())
            raise KeyError

    with pytest.raises(KeyError):
        breaks()
    assert [m.training for m in net.modules()] == before
    assert len(set(before)) == 2


def test_a_bar_is_shown_in_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FeatureEncoder(Powers(), cache=False)(X)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    FeatureEncoder(Powers(), cache=False)(X, "digits (train)")
    assert "encoding digits (train)" in capsys.readouterr().err
    FeatureEncoder(Powers(), cache=False, progress=False)(X, "digits (train)")
    assert capsys.readouterr().err == ""
