"""Warm and fresh arms side by side on clouds of points: pairing, cost, keeping, bad input."""

import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import holdfast
from holdfast import methods
from holdfast.data.split import Split
from holdfast.methods.method import Method
from holdfast.nets.heads import SharedHead
from holdfast.nets.learner import Learner
from holdfast.seeds import generator
from holdfast.streams.batches import Batch
from holdfast.streams.stream import Stream
from holdfast.studies import plasticity
from holdfast.studies.plasticity import diagnose_probes
from holdfast.studies.plasticity.diagnose_data import two_phases
from holdfast.studies.plasticity.diagnose_model import built
from holdfast.studies.progress import Progress
from holdfast.training.options import Training

driver = sys.modules["holdfast.studies.plasticity.diagnose"]
"""The module, whose name in its package is that of the function."""

TRAINING = Training(epochs=4, batch_size=8, optimizer="adam", lr=0.01)


def build(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def with_head(seed: int) -> Learner:
    torch.manual_seed(seed)
    return Learner(nn.Linear(3, 8), SharedHead(8, [0, 1, 2]))


def cloud(rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draws = generator(seed, "cloud")
    y = torch.arange(rows) % 3
    return torch.randn(rows, 3, generator=draws) + nn.functional.one_hot(y, 3), y


KEPT = build(0)
OLD, NEW, TEST = cloud(30, 0), cloud(30, 1), cloud(50, 2)


def diagnose(**changed: Any) -> plasticity.Diagnosis:
    given = {"training": TRAINING, "seeds": 2, **changed}
    data = [given.pop(name, default) for name, default in (("old", OLD), ("new", NEW))]
    return plasticity.diagnose(given.pop("build", build), *data, given.pop("test", TEST), **given)


def test_warm_and_fresh_are_runs_over_two_and_over_one_phase() -> None:
    found = diagnose(seeds=[3, 5])
    assert found.seeds == (3, 5)
    stream = two_phases(OLD, NEW, TEST, torch.device("cpu"))
    training = replace(TRAINING, evaluate_every=8)
    for place, seed in enumerate(found.seeds):
        warm = holdfast.run(stream, built(build, seed, stream[0]), training=training, seed=seed)
        curve = [e["accuracy"][1] for e in warm.evaluations if e["task"] == 1]
        assert found["warm"].runs[place].accuracy == tuple(curve)
        learner = built(build, seed, stream[0])
        fresh = holdfast.run(Stream(stream[1:], stream.scenario), learner, training=training)
        assert len(fresh.evaluations) == len(found["fresh"].runs[place].accuracy) == 4
        # Over one phase the batches come in the order of a first task: another, of as many updates.
        assert found["fresh"].updates == fresh.evaluations[-1]["step"] == 32


def test_all_arms_of_a_seed_meet_the_same_batches_in_the_same_order() -> None:
    class Recording(Method):
        def __init__(self) -> None:
            self.met: list[torch.Tensor] = []

        def loss(self, learner: Learner, batch: Any, context: Any) -> Any:
            met.setdefault(context.seed, []).append((context.index, batch.x.clone()))
            return super().loss(learner, batch, context)

    met: dict[int, list[tuple[int, torch.Tensor]]] = {}
    diagnose(seeds=2, try_=[{"method": Recording(), "label": "recorded"}])
    for seed in (0, 1):
        # yesterday's 4 x 4 batches, the warm arm's 4 x 8, and those of its fresh reference
        phases = [index for index, _ in met[seed]]
        assert phases == [0] * 16 + [1] * 64
        warm, fresh = met[seed][16:48], met[seed][48:]
        assert all(torch.equal(a, b) for (_, a), (_, b) in zip(warm, fresh, strict=True))
    assert not torch.equal(met[0][16][1], met[1][16][1])


def test_the_gap_is_a_paired_mean_over_the_last_part() -> None:
    found = diagnose(seeds=3, training=replace(TRAINING, epochs=10))
    warm, fresh = (
        np.array([run.accuracy for run in found[label].runs]) for label in ("warm", "fresh")
    )
    each = (warm - fresh)[:, 7:].mean(axis=1)
    gap = found.gap()
    assert gap.mean == pytest.approx(each.mean())
    half = 4.302652729911275 * each.std(ddof=1) / 3**0.5  # t of 2 degrees of freedom
    assert gap.high - gap.mean == pytest.approx(half)
    assert found.gap("fresh") == (0.0, 0.0, 0.0)
    assert all(0 <= run.train_accuracy <= 1 for run in found["warm"].runs)


def test_an_arm_that_changes_nothing_is_the_warm_arm_and_weights_of_yesterday_are_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls, pretrain = count(), driver.pretrain

    def counted(*given: Any) -> None:
        next(calls)
        pretrain(*given)

    monkeypatch.setattr(driver, "pretrain", counted)
    tried = [
        {"training": {}, "label": "same"},
        {"start": "fresh", "label": "anew"},
        {"training": {"lr": 0.1}},
    ]
    found = diagnose(try_=tried, seeds=2)
    assert next(calls) == 2
    labels = [arm.label for arm in found.arms]
    assert labels == ["fresh", "warm", "same", "anew", "lr=0.1", "fresh, lr=0.1"]
    assert [arm.kind for arm in found.arms[2:]] == ["tried", "tried", "tried", "reference"]
    for same, warm in zip(found["same"].runs, found["warm"].runs, strict=True):
        assert same.accuracy == warm.accuracy
        assert same.probes == warm.probes
    assert found.gap("same", "warm") == (0.0, 0.0, 0.0)
    diagnose(try_=[methods.L2(strength=0.1)], seeds=2)
    # The method trains on the old samples too: once for its warm arm, in each seed.
    assert next(calls) == 3 + 4


def test_what_was_run_is_kept_and_a_killed_diagnosis_goes_on(tmp_path: Path) -> None:
    begun: list[str] = []

    def told(event: Progress) -> None:
        if event.event == "running":
            begun.append(f"{event.cell} {event.seed}")
            if len(begun) == 3:
                raise KeyboardInterrupt

    tried = [{"training": {"lr": 0.1}, "label": "fast"}]
    with pytest.raises(KeyboardInterrupt):
        diagnose(try_=tried, out=tmp_path, listener=told)
    assert len(list((tmp_path / "runs").iterdir())) == 2
    assert len(list((tmp_path / "weights").iterdir())) == 1
    assert not (tmp_path / "diagnosis.json").exists()
    begun += ["not again"]
    found = diagnose(try_=tried, out=tmp_path, listener=told)
    assert begun[:3] == ["fresh 0", "warm 0", "fast 0"]
    assert begun[4:6] == ["fast 0", "fresh, lr=0.1 0"]
    assert len(begun) == 3 + 1 + 6
    assert not (tmp_path / "weights").exists()
    whole = diagnose(try_=tried)
    for arm in whole.arms:
        assert [r.accuracy for r in found[arm.label].runs] == [r.accuracy for r in arm.runs]
    held = plasticity.Diagnosis.load(tmp_path)
    assert held.text() == found.text() == (tmp_path / "diagnosis.txt").read_text().rstrip()
    assert held.to_dict() == found.to_dict()

    del begun[3:]
    begun.append("more")
    diagnose(try_=tried, out=tmp_path, listener=told, seeds=3)
    assert begun[4:] == ["fresh 2", "warm 2", "fast 2", "fresh, lr=0.1 2"]
    diagnose(try_=tried, out=tmp_path, listener=told, old=cloud(30, 9))
    assert len(begun) == 4 + 4 + 8


def test_given_weights_take_the_place_of_trained_ones() -> None:
    stream = two_phases(OLD, NEW, TEST, torch.device("cpu"))
    learner = built(build, 0, stream[0])
    holdfast.run(stream[:1], learner, training=TRAINING)
    trained = learner.backbone
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    found = diagnose(model=trained, seeds=[0])
    assert found["warm"].runs[0].accuracy == diagnose(seeds=[0])["warm"].runs[0].accuracy
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert found.settings["old_epochs"] is None
    with pytest.raises(
        ValueError, match=r"model is not built as build\(seed\) builds it.*2\.weight"
    ):
        diagnose(model=nn.Sequential(*list(build(0))[:2]))


@pytest.mark.parametrize("kind", ["loader", "dataset", "split", "arrays"])
def test_data_come_in_any_of_the_usual_forms(kind: str) -> None:
    made: dict[str, Callable[[Any, Any], Any]] = {
        "loader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=7),
        "dataset": TensorDataset,
        "split": Split,
        "arrays": lambda x, y: (x.numpy().astype("float64"), y.numpy()),
    }
    old, new, test = (made[kind](*data) for data in (OLD, NEW, TEST))
    stream = two_phases(old, new, test, torch.device("cpu"))
    expected = two_phases(OLD, NEW, TEST, torch.device("cpu"))
    assert torch.equal(stream[1].train.x, expected[1].train.x)
    assert torch.equal(stream[1].train.y, torch.cat([OLD[1], NEW[1]]))
    assert torch.equal(stream[1].test.y, TEST[1])
    # nothing is copied for the second phase
    assert stream[0].train.x.data_ptr() == stream[1].train.x.data_ptr()


def test_updates_are_rounded_up_to_epochs_and_global_draws_are_left_alone() -> None:
    state = torch.get_rng_state()
    found = diagnose(updates=9, seeds=1)
    assert found["warm"].updates == 16
    assert torch.equal(torch.get_rng_state(), state)
    probes = found["fresh"].runs[0].probes
    assert probes["gradient_ratio"] > 0
    assert probes["weight_norm"] == pytest.approx(
        sum(float(p.detach().square().sum()) for p in build(0).parameters()) ** 0.5
    )


def test_an_arm_that_diverges_is_told_of() -> None:
    found = diagnose(try_=[{"training": {"optimizer": "sgd", "lr": 1e30}, "label": "wild"}])
    assert found["wild"].diverged == 2
    assert np.isnan(found["wild"].accuracy).all()
    assert "Wild diverged in 2 of 2 seeds." in found.verdict()
    assert found.to_dict()["arms"][2]["runs"][0]["diverged"].startswith("at update")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"build": lambda seed: nn.Linear(3, 3)}, r"build\(0\) gave other weights the second time"),
        ({"build": lambda seed: build(0)}, r"build\(0\) and build\(1\) gave the same weights"),
        ({"build": lambda seed: KEPT}, "must make a new model at each call"),
        ({"build": lambda seed: nn.Linear(5, 3)}, "does not take inputs of shape"),
        (
            {"build": lambda seed: nn.Sequential(nn.Linear(3, 3), nn.Unflatten(1, (3, 1)))},
            r"build\(0\) must give a model with logits \(n, classes\)",
        ),
        ({"build": lambda seed: nn.Linear(3, 2)}, "gives 2 outputs, but there are labels up to 2"),
        ({"seeds": 0}, "seeds must be a positive number"),
        ({"seeds": [1, 1]}, "seeds must be"),
        ({"updates": 0}, "updates must be a positive integer"),
        ({"old_epochs": 0}, "old_epochs must be a positive integer"),
        ({"tolerance": 1.0}, "tolerance must be an accuracy"),
        ({"updates": True}, "updates must be a positive integer, got True"),
        ({"transform": lambda x: x[:2]}, "transform made 2 inputs of the 30 samples of old"),
        (
            {
                part: (x, torch.zeros_like(y))
                for part, (x, y) in {"old": OLD, "new": NEW, "test": TEST}.items()
            },
            "old and new hold the class 0 alone",
        ),
        ({"new": cloud(0, 0)}, "new x holds no samples|new.*no samples"),
        ({"new": (torch.zeros(6, 2), NEW[1][:6])}, "new holds samples of shape"),
        (
            {"test": (TEST[0], TEST[1] + 1)},
            "test holds labels \\[3\\] that neither old nor new has",
        ),
        ({"try_": ["ressets"]}, "which is no start or method"),
        ({"try_": [{}]}, "a mitigation needs one or more of"),
        ({"try_": [{"strat": "fresh"}]}, "no key 'strat' .did you mean 'start'"),
        ({"try_": [{"training": {"epochs": 9}}]}, "unequal budgets: .* training.epochs to 9"),
        ({"try_": [{"training": {"batch_size": 4}}]}, "unequal budgets"),
        ({"try_": [{"training": {"lr": -1.0}}]}, "training.lr must be a positive number"),
        ({"try_": [methods.Joint()]}, r"joint trains on phases \[0, 1\].*must be equal"),
        (
            {"build": with_head, "try_": [methods.Rifle(times=4)]},
            r"rifle\(times=4\): times must be below the number of epochs of a task, 4",
        ),
        ({"try_": ["fresh", "fresh"]}, "try names 'fresh' twice"),
        ({"try_": [{"net": {"norm": "layer"}}]}, "net must be a mapping of options to change"),
    ],
)
def test_bad_input_is_refused_before_any_work(
    changed: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "tune", lambda *given: pytest.fail("it ran"))
    with pytest.raises(ValueError, match=message):
        diagnose(out=tmp_path / "out", **changed)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"build": "mlp"}, "build must be a function|parameter 'build'"),
        ({"build": build(0)}, "a function of a seed that gives a model, got Sequential"),
        ({"build": lambda seed: seed}, "must give an nn.Module, got int"),
        ({"seeds": 2.5}, "seeds must be a number of seeds, or a list|parameter 'seeds'"),
        ({"seeds": True}, "seeds must be a number of seeds, or a list"),
        ({"training": {"epochs": 3}}, "training must be a Training|parameter 'training'"),
        ({"transform": "half"}, "transform must be a function|parameter 'transform'"),
        ({"old": 3}, "old must be a pair|parameter 'old'"),
        ({"old": (OLD[0], OLD[1].float()[:, None])}, "old must hold class labels"),
        ({"try_": [3]}, "try must hold names|parameter 'try_'"),
    ],
)
def test_what_is_of_another_kind_is_refused(changed: dict[str, Any], message: str) -> None:
    # What annotations tell is refused by the hook of the tests before the library can.
    with pytest.raises((TypeError, TypeCheckError), match=message):
        diagnose(**changed)


def test_a_folder_of_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "tune", lambda *given: pytest.fail("it ran"))
    (tmp_path / "notes").write_text("")
    with pytest.raises(ValueError, match=r"out must be a folder, .*notes is a file"):
        diagnose(out=tmp_path / "notes")
    (tmp_path / "study.yaml").write_text("")
    with pytest.raises(ValueError, match="holds a study"):
        diagnose(out=tmp_path)
    with pytest.raises(FileNotFoundError, match="no findings yet"):
        plasticity.Diagnosis.load(tmp_path)


def test_gradients_are_of_samples_from_all_over_sorted_data() -> None:
    x, y = cloud(90, 3)
    order = y.argsort(stable=True)
    stream = two_phases((x[order], y[order]), (x[order], y[order]), TEST, torch.device("cpu"))
    learner, met = built(build, 0, stream[1]), []
    batch = Batch(TEST[0], TEST[1], 1)

    def ratio(learner: Learner, new: Batch, old: Batch, **options: Any) -> float:
        met.extend([old.y, new.y])
        return 1.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagnose_probes, "gradient_ratio", ratio)
        patch.setattr(diagnose_probes, "SHOWN", 9)
        diagnose_probes.measured_at_start(learner, batch, stream, "cross_entropy")
    assert [labels.unique(return_counts=True)[1].tolist() for labels in met] == [[3, 3, 3]] * 2
