"""Samples come from the whole with a probability that grows, else from a part."""

import pytest
import torch

from holdfast import Training, run
from holdfast.data.split import Dataset, Split
from holdfast.methods import SmoothTransition
from holdfast.nets import mlp
from holdfast.nets.learner import build_learner
from holdfast.seeds import derive
from holdfast.streams import Context, Loaded, Resident, Stream, growing
from holdfast.training import cross_entropy


def stream(stages: int = 1, rows: int = 400) -> Stream:
    x = torch.arange(float(rows))[:, None].repeat(1, 3) / rows
    split = Split(x, torch.arange(rows) % 4)
    return growing(Dataset(split, split), stages)


def context(data: Stream, epochs: int = 50, size: int = 40) -> Context:
    learner = build_learner(mlp((3,), (4,)), data)
    learner.accommodate(0, data[0], torch.Generator())
    source = Resident.of([(0, data[0])], learner.columns)
    draws = torch.Generator().manual_seed(0)
    device = torch.device("cpu")
    return Context(
        0, data, source, cross_entropy, size, draws, device, seed=3, epochs=epochs
    )  # fmt: skip


def test_the_share_of_the_whole_is_the_formula_s() -> None:
    data, g = stream(), 0.9
    phase, method = context(data), SmoothTransition(share=0.25, g=g)
    method.begin_task(build_learner(mlp((3,), (4,)), data), phase)
    part = set(method.state_dict()["part"].tolist())
    assert len(part) == 100
    labels = torch.tensor(sorted(part)) % 4
    assert labels.bincount().tolist() == [25] * 4
    steps, outside = 500, []
    for epoch in range(50):
        for drawn in phase.source.epoch(40, derive(0, "order", epoch)):
            batch = method.batch(drawn, phase)
            assert len(batch) == len(drawn)
            index = (batch.x[:, 0] * 400).round().long()
            assert torch.equal(batch.y, index % 4)  # a sample brings its own label
            outside.append(sum(i not in part for i in index.tolist()) / len(batch))
    # Of samples of the whole three quarters are not of the part.
    wanted = [0.75 * (1 - g ** (50 * n / steps)) for n in range(steps)]
    assert outside[0] == 0
    for start in range(0, steps, 100):
        found = sum(outside[start : start + 100]) / 100
        assert found == pytest.approx(sum(wanted[start : start + 100]) / 100, abs=0.03)
    assert method.probability(250, 500) == pytest.approx(1 - g**25)


def test_state_goes_on_where_it_stood() -> None:
    data = stream()
    phase, one, other = context(data), SmoothTransition(), SmoothTransition()
    one.begin_task(build_learner(mlp((3,), (4,)), data), phase)
    drawn = next(iter(phase.source.epoch(40, 0)))
    for _ in range(5):
        one.batch(drawn, phase)
    other.load_state_dict(one.state_dict())
    state = phase.generator.get_state()
    a = one.batch(drawn, phase)
    phase.generator.set_state(state)
    assert torch.equal(a.x, other.batch(drawn, phase).x)


def test_training_accuracy_is_of_what_was_trained_on() -> None:
    """A net that learned the part by heart at the beginning of a slow transition says so."""
    training = Training(epochs=2, batch_size=40, optimizer="adam", lr=0.01)
    record = run(stream(), mlp((3,), (8,)), SmoothTransition(g=0.99), training)
    assert record.status == "complete"
    assert [c["step"] for c in record.curve] == [10, 20]


def test_refuses() -> None:
    for name in ("share", "g"):
        with pytest.raises(ValueError, match=rf"{name} must lie in \(0, 1\), got 1.0"):
            SmoothTransition(**{name: 1.0})
        with pytest.raises(ValueError, match=f"{name} must be a number above 0"):
            SmoothTransition(**{name: 0.0})
    with pytest.raises(ValueError, match=r"within one task, the stream has 2; .* with stages=1"):
        run(stream(2), mlp((3,), (4,)), SmoothTransition())
    data = stream()
    phase = context(data)
    object.__setattr__(phase, "source", Loaded([(0, data[0])], lambda y, i: y))
    with pytest.raises(ValueError, match="tensors that fit on the device, not Loaded"):
        SmoothTransition().begin_task(build_learner(mlp((3,), (4,)), data), phase)
