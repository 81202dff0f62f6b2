"""What a diagnosis says of made-up arms, and what it costs to reach an accuracy."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from holdfast.reports import diagnosis_figure
from holdfast.studies.plasticity import ArmFound, ArmRun, Diagnosis, last_part, reach

EPOCHS = 20


def arm(
    label: str,
    level: float,
    differences: Sequence[float] = (-0.01, 0.0, 0.01, 0.0),
    kind: str | None = None,
    rises: int = 10,
    train: float = 1.0,
    lost: int = 0,
) -> ArmFound:
    """Accuracy that rises in a line over some epochs and then stays, a little else each seed."""
    shape = np.minimum(np.arange(1, EPOCHS + 1) / rises, 1.0)
    runs = tuple(
        ArmRun(seed, tuple((level + d) * shape), train, 100, 2.0, 1.0, {"weight_norm": 3.0 + seed})
        for seed, d in enumerate(differences[lost:])
    )
    gone = tuple(
        ArmRun(seed + 90, (), float("nan"), 100, float("nan"), float("nan"), {}, "at update 3, inf")
        for seed in range(lost)
    )
    kinds = {"fresh": "fresh", "warm": "warm"}
    return ArmFound(label, kind or kinds.get(label, "tried"), label, gone + runs)  # type: ignore[arg-type]


FRESH = arm("fresh", 0.9)


def said(*arms: ArmFound) -> str:
    return " ".join(Diagnosis(arms, {}).verdict().split())


def test_a_cost_is_claimed_where_the_interval_is_below_0() -> None:
    text = said(FRESH, arm("warm", 0.88, (-0.012, 0.0, 0.012, 0.0)))
    # differences -2.2, -2, -1.8, -2 points: s = 0.1633, t of 3 degrees of freedom 3.1824
    assert text == (
        "Warm start costs 2.0 +- 0.3 points of test accuracy (88.0 % from yesterday's weights, "
        "90.0 % from fresh ones; 95 % interval over 4 paired seeds)."
    )


def test_no_gap_is_seen_where_the_interval_holds_0() -> None:
    text = said(FRESH, arm("warm", 0.899, (0.01, -0.01, 0.0, 0.0), rises=5))
    assert text.startswith("No gap seen: -0.1 +- 2.3 points")
    assert "a cost of up to 2.4 points is not excluded" in text
    assert "It comes within 0.5 points of fresh weights' accuracy at 50 % [" in text


def test_equal_accuracies_exclude_every_cost() -> None:
    text = said(FRESH, arm("warm", 0.9))
    assert "No gap seen: +0.00 +- 0.00 points" in text
    assert "not excluded" not in text


def test_a_gain_is_told_too() -> None:
    assert said(FRESH, arm("warm", 0.92)).startswith("Warm start gains 2.00 +- 0.00 points")


@pytest.mark.parametrize(
    ("level", "rises", "differences", "expected"),
    [
        (0.9, 5, (-0.01, 0.0, 0.01, 0.001),
         "Cure recovers it (+0.02 +- 0.08 points against fresh weights), at 50 % [50, 50] of the "
         "cost of retraining."),
(0.889, 10, (0.0, 0.002, 0.012, -0.006),
         "Cure recovers 1.1 +- 1.0 of 2.00 +- 0.00 points, and what is left is not told from 0 "
         "(-0.9 +- 1.0 points against fresh weights)."),
                (0.89, 10, (-0.01, 0.0, 0.01, 0.0),
         "Cure recovers 1.00 +- 0.00 of 2.00 +- 0.00 points (-1.00 +- 0.00 points against fresh "
         "weights)."),
        (0.87, 10, (-0.01, 0.0, 0.01, 0.0),
         "Cure makes it worse by 1.00 +- 0.00 points (-3.00 +- 0.00 points against fresh "
         "weights)."),
        (0.88, 10, (-0.011, 0.0, 0.01, 0.001),
         "Cure is not seen to recover it (-2.0 +- 0.1 points against fresh weights)."),
        (0.89, 10, (0.02, -0.02, 0.0, 0.0),
         "Cure is told apart neither from fresh weights nor from plain warm start (-1.0 +- 3.4 "
         "points against fresh weights); it does not come to stay within 0.5 points of fresh "
         "weights' accuracy in this budget."),
    ],
)  # fmt: skip
def test_what_a_mitigation_is_said_to_do(
    level: float, rises: int, differences: Sequence[float], expected: str
) -> None:
    text = said(FRESH, arm("warm", 0.88), arm("cure", level, differences, rises=rises))
    assert text.endswith(expected)


@pytest.mark.parametrize(
    ("level", "first", "expected"),
    [(0.92, -0.01, "does better than plain warm start by 2.00 +- 0.00 points"),
     (0.88, -0.01, "does worse than plain warm start by 2.00 +- 0.00 points"),
     (0.9, 0.0, "makes no difference that was seen")],
)  # fmt: skip
def test_nothing_is_recovered_where_there_was_no_gap(
    level: float, first: float, expected: str
) -> None:
    text = said(FRESH, arm("warm", 0.9), arm("cure", level, (first, 0.0, 0.01, 0.0)))
    assert f"Cure {expected}" in text
    assert "recover" not in text


def test_what_a_diagnosis_cautions_of() -> None:
    assert said(FRESH, arm("warm", 0.88), arm("cure", 0.88)).endswith(
        "Cure changed nothing: its runs are those of plain warm start."
    )
    one = (0.0,)
    text = said(arm("fresh", 0.9, one), arm("warm", 0.88, one), arm("cure", 0.9, one))
    assert text.startswith("One seed tells no interval: -2.0 points")
    assert text.endswith("Cure: +0.0 points against fresh weights, of one seed.")
    lost = said(FRESH, arm("warm", 0.88, lost=1), arm("cure", 0.88, lost=2))
    assert lost.startswith("Nothing can be said: warm in 1 of 4 seeds diverged.")
    assert "Cure diverged in 2 of 4 seeds." in lost
    text = said(FRESH, arm("warm", 0.9, train=0.95), arm("fresh, lr=1", 0.8, kind="reference"))
    assert "Not fitted in this budget, by accuracy on the training data: warm 95.0 %." in text
    assert text.endswith(
        "Fresh, lr=1: -10.00 +- 0.00 points against plain fresh weights, which is what all arms "
        "are held against."
    )


def test_tables_of_many_arms_keep_to_a_terminal() -> None:
    tried = [arm(f"a mitigation of a long name, {i}", 0.9) for i in range(6)]
    text = Diagnosis((FRESH, arm("warm", 0.88), *tried), {}).text()
    assert max(map(len, text.splitlines())) <= 100
    assert "a mitigation of a long ..." in text
    assert text.count("weight norm") > 1  # in blocks
    assert text.count("4.5 +- ") == 8  # of all arms


def test_it_is_drawn_saved_and_read_again(tmp_path: Path) -> None:
    found = Diagnosis((FRESH, arm("warm", 0.88), arm("lost", 0.9, lost=4)), {"old": 0.5})
    found.save(tmp_path)
    held = Diagnosis.load(tmp_path)
    assert (held.text(), held.settings) == (found.text(), {"old": 0.5})
    assert held["lost"].runs[0].diverged == "at update 3, inf"
    assert held.seeds == (0, 1, 2, 3)
    with pytest.raises(KeyError, match="there is no arm 'cold', but"):
        held["cold"]
    figure = diagnosis_figure(held)
    assert isinstance(figure, Figure)
    curves, gaps = figure.axes
    assert [text.get_text() for text in curves.get_legend().get_texts()] == ["fresh", "warm"]
    assert [text.get_text() for text in gaps.get_yticklabels()] == ["warm"]
    assert gaps.get_lines()[-2].get_xdata()[0] == pytest.approx(-2.0)  # before the line at 0
    with pytest.raises(ValueError, match="every run diverged"):
        diagnosis_figure(Diagnosis((arm("fresh", 0.9, lost=4),), {}))
    for text, message in (("{}", "holds no diagnosis"), ("[", "Expecting value")):
        (tmp_path / "diagnosis.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            Diagnosis.load(tmp_path)


def naive_first(curves: np.ndarray, fresh: np.ndarray, tolerance: float) -> float:
    """Epoch by epoch, from the definition."""
    epochs = curves.shape[1]
    late = [e for e in range(epochs) if e + 1 > 0.7 * epochs + 1e-9] or [epochs - 1]
    wanted = np.mean([fresh[:, e].mean() for e in late]) - tolerance
    if np.mean([curves[:, e].mean() for e in late]) < wanted:
        return np.inf
    width = max(1, round(0.05 * epochs))
    for epoch in range(epochs):
        if curves[:, max(0, epoch + 1 - width) : epoch + 1].mean() >= wanted:
            return epoch + 1
    return np.inf


@pytest.mark.parametrize("epochs", [1, 3, 10, 60])
def test_reach_is_the_first_epoch_that_is_near_enough(epochs: int) -> None:
    draws = np.random.default_rng(epochs)
    for shift in (-0.02, 0.0, 0.02):
        fresh = 0.8 + 0.1 * np.linspace(0, 1, epochs) + 0.01 * draws.normal(size=(3, epochs))
        curves = fresh + shift + 0.01 * draws.normal(size=(3, epochs))
        found = reach(curves, fresh)
        expected = naive_first(curves, fresh, 0.005)
        assert found.epochs == expected
        assert found.fresh_epochs == naive_first(fresh, fresh, 0.005)
        assert found.ratio.mean == expected / found.fresh_epochs
        assert found.ratio.low <= found.ratio.high
    late = [e for e in range(epochs) if e + 1 > 0.7 * epochs + 1e-9]
    assert last_part(fresh) == pytest.approx(fresh[:, late].mean(axis=1))


def test_of_one_seed_reach_has_no_interval_and_an_arm_that_falls_again_never_reaches() -> None:
    fresh = np.array([[0.5, 0.9, 0.9, 0.9, 0.9]])
    assert reach(fresh, fresh).ratio[0] == 1.0
    assert np.isnan(reach(fresh, fresh).ratio.low)
    passing = np.array([[0.5, 0.95, 0.9, 0.8, 0.7]])
    assert reach(passing, fresh).epochs == np.inf
