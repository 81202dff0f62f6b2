from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets_small import NETS, trained
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors
from torch import nn

from holdfast.methods import Finetune, HareTortoise, Method, Tortoise
from holdfast.nets import Learner, mlp
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Scenario
from holdfast.training.options import Training
from holdfast.training.run import run


@given(st.floats(0.0, 1.0), st.integers(1, 8))
def test_the_tortoise_is_the_closed_form_of_its_hares(mu: float, steps: int) -> None:
    hare = nn.Linear(2, 2, bias=False).double()
    tortoise, draws = Tortoise(hare, mu), torch.Generator().manual_seed(steps)
    hares = [hare.weight.detach().clone()]
    for _ in range(steps):
        nn.init.normal_(hare.weight, generator=draws)
        hares.append(hare.weight.detach().clone())
        tortoise.follow(hare)
    # mu^t w_0 + (1 - mu) sum_s mu^(t - s) w_s
    wanted = mu**steps * hares[0]
    for s in range(1, steps + 1):
        wanted = wanted + (1 - mu) * mu ** (steps - s) * hares[s]
    torch.testing.assert_close(tortoise.state_dict()["weight"], wanted, rtol=1e-12, atol=1e-12)


def test_running_statistics_are_averaged_and_counters_are_the_hares() -> None:
    hare = mlp((3,), (4,), norm="batch")
    norm, tortoise = hare.get_submodule("norm1"), Tortoise(hare, 0.75)
    start = norm.running_mean.clone()
    hare(torch.randn(5, 3) + 3)
    tortoise.follow(hare)
    wanted, moved = 0.75 * start + 0.25 * norm.running_mean, norm.running_mean.clone()
    with tortoise.swapped(hare):
        torch.testing.assert_close(norm.running_mean, wanted)
        assert norm.num_batches_tracked == 1
    assert torch.equal(norm.running_mean, moved)
    tortoise.give(hare)
    torch.testing.assert_close(norm.running_mean, wanted)


def test_what_stands_still_stays_bit_for_bit() -> None:
    hare = mlp((3,), (4, 4)).requires_grad_(False)
    before, tortoise = tensors(hare), Tortoise(hare, 0.999)
    for _ in range(50):
        tortoise.follow(hare)
    tortoise.give(hare)
    assert same(tensors(hare), before)


def test_swapping_puts_the_hare_back_after_an_error_too() -> None:
    hare = mlp((3,), (4,))
    tortoise = Tortoise(hare)
    with torch.no_grad():
        hare.get_submodule("linear1").weight.add_(1.0)
    before = tensors(hare)
    with pytest.raises(IndexError), tortoise.swapped(hare):
        hare(torch.zeros(()))  # no features to flatten
    assert same(tensors(hare), before)


class Slow(Method):
    """The rule written out, on whole state dicts."""

    def begin_task(self, learner: Learner, context: Context) -> None:
        self.kept, self.count = tensors(learner), 0

    def after_step(self, learner: Learner, batch: Batch, context: Context) -> None:
        self.count += 1
        for name, value in learner.state_dict().items():
            average = 0.8 * self.kept[name] + 0.2 * value
            self.kept[name] = average if value.is_floating_point() else value.clone()
        if self.count % 3 == 0:
            learner.load_state_dict(self.kept)

    def end_task(self, learner: Learner, context: Context) -> None:
        learner.load_state_dict(self.kept)


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_method_is_the_rule_written_out(scenario: Scenario) -> None:
    stream = make_stream(scenario, dtype=torch.float64)
    learners = [
        TinyLoop(method, make_learner(stream, norm=True), stream).run()
        for method in (HareTortoise(mu=0.8, period=3), Slow())
    ]
    torch.testing.assert_close(*map(tensors, learners))


def test_evaluations_see_the_tortoise_and_training_the_hare() -> None:
    stream = make_stream("domain_incremental")
    options = Training(epochs=2, batch_size=8, lr=0.05, evaluate_every=2, device="cpu")
    records = []
    for method in (Finetune(), HareTortoise(mu=0.9, period=10**6)):
        learner = make_learner(stream, norm=True)
        record = run(stream, learner, method, options)
        records.append(record)
        # What is kept is what the last evaluation saw.
        found = nn.functional.cross_entropy(learner.eval()(stream[2].test.x, 2), stream[2].test.y)
        assert found.item() == pytest.approx(record.loss[2, 2], rel=1e-5)
    hare, tortoise = records
    # With no reset within it the first task trains the same hare ...
    assert [e for e in hare.curve if e["task"] == 0] == tortoise.curve[:2]
    # ... of which something else is evaluated, at the same steps.
    ours, theirs = ([e for e in r.evaluations if e["task"] == 0] for r in (tortoise, hare))
    assert len(ours) == len(theirs) > 1
    for slow, fast in zip(ours, theirs, strict=True):
        assert slow["step"] == fast["step"]
        assert slow["loss"][0] > fast["loss"][0]  # the tortoise is behind


def test_a_step_of_mu_zero_is_plain_training() -> None:
    stream = make_stream()
    plain = TinyLoop(Finetune(), make_learner(stream, norm=True), stream).run()
    slow = TinyLoop(HareTortoise(mu=0.0, period=2), make_learner(stream, norm=True), stream).run()
    assert same(tensors(plain), tensors(slow))


@pytest.mark.parametrize("name", NETS)
def test_runs_on_every_net(name: str) -> None:
    trained(name, HareTortoise(mu=0.5, period=2))


def test_a_killed_run_goes_on_with_its_tortoise(tmp_path: Path) -> None:
    stream = make_stream()
    loop = TinyLoop(HareTortoise(mu=0.9, period=4), make_learner(stream, norm=True), stream)
    for _ in loop.steps():
        if loop.index == 1 and loop.step == 3:
            break
    loop.save(tmp_path / "state")
    again = TinyLoop(HareTortoise(mu=0.9, period=4), make_learner(stream, norm=True), stream)
    again.restore(tmp_path / "state")
    with loop.method.evaluated(loop.learner), again.method.evaluated(again.learner):
        assert same(tensors(loop.learner), tensors(again.learner))
    assert same(tensors(loop.run()), tensors(again.run()))


def test_refused() -> None:
    with pytest.raises(ValueError, match=r"mu must be .* at most 1\.0, got 1\.5"):
        HareTortoise(mu=1.5)
    with pytest.raises(ValueError, match=r"period must be a positive integer, got 0"):
        HareTortoise(period=0)
    coarse = mlp((3,), (4,)).to(torch.bfloat16)
    with pytest.raises(ValueError, match=r"linear1\.weight is bfloat16, too coarse"):
        Tortoise(coarse)
    tortoise = Tortoise(mlp((3,), (4,)))
    with pytest.raises(ValueError, match=r"not the network the tortoise began with: linear2"):
        tortoise.follow(mlp((3,), (4, 4)))
