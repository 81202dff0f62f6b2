"""The claims of warm starts, from gaps that are known."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from benchmarks.plasticity_claims import (
    CLAIMS,
    Verdict,
    compared,
    slope,
    student,
    trainable,
    verdicts,
)

from holdfast.records import Record
from holdfast.studies.findings import Findings
from holdfast.studies.good_start.conditions import Condition
from holdfast.studies.plasticity import PlasticityAnalysis

Arms = Mapping[str, float | Sequence[float]]


def record(seed: int, test: float, losses: Sequence[float] = (0.1,), train: float = 1.0) -> Record:
    """A run that is at `test` all the time and ends its tasks at the losses."""
    made = Record.empty([f"task {i}" for i in range(len(losses))], "domain_incremental", seed)
    made.samples = [10] * len(losses)
    for task, loss in enumerate(losses):
        place = {"task": task, "epoch": 0, "step": task + 1}
        made.curve.append({**place, "loss": loss, "accuracy": train, "lr": 0.1})
        made.accuracy[task] = test
    made.status = "complete"
    return made


def spread(mean: float, by: float = 0.001) -> list[float]:
    """Three values around a mean."""
    return [mean - by, mean, mean + by]


@pytest.fixture
def study(monkeypatch):
    """Make findings of arms: accuracies of seeds 0, 1, ... by condition and arm."""
    known: dict[int, tuple[Condition, ...]] = {}
    monkeypatch.setattr(PlasticityAnalysis, "conditions", lambda _, f: known[id(f)])

    def make(
        conditions: Mapping[str, Mapping[str, Sequence[Record]]],
        reference: str = "fresh",
        phases: int = 1,
    ) -> Findings:
        analysis: dict[str, Any] = {"arm": "variant", "reference": [reference]}
        analysis |= {"last": 0.3, "phases": phases}
        findings = Findings("s", ("variant",), (), (), (), {}, analysis)
        known[id(findings)] = tuple(
            Condition({"noise": name} if name else {}, {a: tuple(r) for a, r in arms.items()})
            for name, arms in conditions.items()
        )
        return findings

    return make


def runs(values: Sequence[float], train: float = 1.0) -> list[Record]:
    return [record(seed, value, train=train) for seed, value in enumerate(values)]


def one(found: Sequence[Verdict], start: str, of: str = "") -> Verdict:
    chosen = [v for v in found if v.claim.startswith(start) and of in v.of]
    assert len(chosen) == 1, [v.claim for v in found]
    return chosen[0]


def test_gaps_are_paired_with_the_reference(study) -> None:
    findings = study({"": {"fresh": runs([0.5, 0.7]), "warm": runs([0.48, 0.69, 0.9])}})
    (found,) = compared(findings)
    assert found.gaps["warm"].differences == pytest.approx({0: -0.02, 1: -0.01})
    assert list(found.gaps) == ["warm"]


def test_slopes_are_those_of_each_seed(study) -> None:
    values = np.random.default_rng(0).normal(size=(3, 4))
    arms = {f"x {i}": runs(row) for i, row in enumerate(values)}
    (found,) = compared(study({"": {"fresh": runs([0.0] * 4), **arms}}))
    x = [0.0, 1.0, 3.0]
    fits = [np.polyfit(x, values[:, seed], 1)[0] for seed in range(4)]
    assert slope(x, list(found.gaps.values())) == pytest.approx(student(fits))


@pytest.mark.parametrize(("gap", "shown"), [(0.0, True), (-0.01, False), (0.01, False)])
def test_no_gap_is_one_within_half_a_point(study, gap, shown) -> None:
    findings = study({"clean": {"fresh": runs([0.9] * 3), "warm": runs(spread(0.9 + gap))}})
    assert one(verdicts({"two_stage": findings}), "1.").shown is shown


def test_a_gap_of_the_size_of_the_prototype(study) -> None:
    arms = {"fresh": runs([0.8] * 3), "warm": runs(spread(0.789))}
    found = verdicts({"two_stage": study({"30 % noise": arms})})
    assert one(found, "2. with 30 %").shown
    assert one(found, "2. as much as in prototypes, -1.1 +- 0.2").shown
    arms["warm"] = runs(spread(0.75))
    found = verdicts({"two_stage": study({"30 % noise": arms})})
    assert one(found, "2. with 30 %").shown
    assert not one(found, "2. as much").shown


def test_momentum_is_compared_with_adam(study) -> None:
    def of(gap: float) -> dict[str, list[Record]]:
        return {"fresh": runs([0.8] * 3), "warm": runs(spread(0.8 + gap))}

    found = verdicts({"optimizers": study({"momentum": of(-0.03), "Adam": of(-0.01)})})
    assert one(found, "2. more with SGD").shown
    assert one(found, "2. more with SGD").value.startswith("-2.00")
    assert not any("more with SGD" in v.claim for v in verdicts({"optimizers": study({})}))


@pytest.mark.parametrize(
    ("gaps", "falls", "each"),
    [([-0.01, -0.02, -0.03], True, True), ([-0.01, -0.03, -0.02], True, False),
     ([-0.01, -0.01, 0.01], False, False)],
)  # fmt: skip
def test_a_gap_that_grows_with_the_stages(study, gaps, falls, each) -> None:
    arms = {f"{n} stages": runs(spread(0.8 + g)) for n, g in zip((2, 5, 10), gaps, strict=True)}
    found = verdicts({"stages": study({"30 % noise": {"fresh": runs([0.8] * 3), **arms}})})
    slopes, steps = (v for v in found if v.claim.startswith("7."))
    assert (slopes.shown, steps.shown) == (falls, each)


def test_resets_recover_all_or_half(study) -> None:
    tops = {"reset last 1": runs(spread(0.789)), "reset last 2": runs(spread(0.8))}
    arms = {"fresh": runs([0.8] * 3), "warm": runs([0.78] * 3), **tops}
    found = verdicts({"resets": study({"30 % noise": arms})})
    assert one(found, "9. the last 2").shown
    assert one(found, "9. and at most").shown
    assert one(found, "9. the head alone").value.startswith("0.45;")
    assert one(found, "9. the head alone").shown


def test_both_references_of_the_rate(study) -> None:
    arms = {
        "fresh": runs([0.8] * 3),
        "fresh, rate x 10": runs([0.77] * 3),
        "warm": runs([0.76] * 3),
        "warm, tuned at rate x 10": runs(spread(0.76)),
    }
    found = verdicts({"learning_rate": study({"": arms})})
    assert not one(found, "10. tuning").shown
    assert one(found, "10. at ten times").shown
    assert one(found, "10. at ten times").value.startswith("+3.00")


def test_images_with_and_without_augmentation(study) -> None:
    def of(gap: float) -> dict[str, list[Record]]:
        return {"fresh": runs([0.5] * 3), "warm": runs(spread(0.5 + gap))}

    conditions = {"plain, Adam": of(-0.03), "augmented, Adam": of(-0.01)}
    found = verdicts({"two_stage_cifar10": study(conditions)})
    assert one(found, "11. CIFAR-10").shown
    assert one(found, "11. between 1.5 and 5 points").shown
    assert one(found, "11. less").shown


def test_trainability_kept_and_lost(study) -> None:
    def of(*losses: float) -> list[Record]:
        return [record(seed, 0.5, [loss + 0.01 * seed for loss in losses]) for seed in range(3)]

    normed = [record(seed, 0.5, [0.1, 0.2 + 0.001 * seed]) for seed in range(3)]
    plain = [record(seed, 0.5, [0.1, 1.0 + 0.03 * seed]) for seed in range(3)]
    arms = {"fresh": of(0.1, 0.1), "plain": plain, "layer norm + weight decay": normed}
    lost, kept = trainable({"trainability_labels": study({"": arms})})
    assert lost.shown
    assert lost.value.startswith("+0.92 ")
    assert kept.shown
    assert kept.value.startswith("-0.829 ")


def test_nets_that_have_not_learned_their_samples_are_named(study) -> None:
    arms = {"fresh": runs([0.5] * 2), "warm": runs([0.5] * 2, train=0.9)}
    found = one(verdicts({"stages": study({"": arms})}), "13.")
    assert not found.shown
    assert found.measured.endswith("of warm")


def test_nothing_is_said_without_studies() -> None:
    assert verdicts({}) == []
    assert all(claim({}) == [] for claim in CLAIMS)


def test_mitigations_are_compared_with_plain_carrying_on(study) -> None:
    arms = {
        "plain": {"fresh": runs([0.8] * 3), "warm": runs(spread(0.77))},
        "reset": {"fresh": runs([0.8] * 3), "warm": runs([0.79] * 3)},
        "norm": {"fresh": runs([0.85] * 3), "warm": runs([0.7] * 3)},
    }
    found = verdicts({"mitigations": study(arms)})
    reset, norm = one(found, "14.", "reset"), one(found, "14.", "norm")
    assert (reset.shown, norm.shown) == (True, False)
    assert reset.value.startswith("+2.00")
    assert "to plain fresh weights -10.00" in norm.measured
    assert "mended alike -15.00" in norm.measured
    assert not [v for v in found if v.of == "plain" and v.claim.startswith("14.")]
