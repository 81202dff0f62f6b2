"""What a tuning says of errors that are given."""

import json
import math

import numpy as np
import pytest
from tuning_cases import GRID, tuned

from holdfast.config import resolve
from holdfast.studies.tuning import Tuned


def valley(width: int, gamma0: float, seed: int) -> float:
    """Least at 0.3 whatever the width; wider nets and later seeds are a little better."""
    return 0.2 + math.log10(gamma0 / 0.3) ** 2 / 4 - width / 1000 - seed / 100


def test_an_optimum_that_transfers_is_said_to() -> None:
    found = tuned(valley, standard=0.25)
    assert (found.transferred, found.gamma0) == (0.3, 0.3)
    assert found.optimum.interior
    assert found.regret is not None
    assert found.regret.value == (0.0, 0.0, 0.0)
    text = found.text()
    assert "width 4: least ae at gamma0 0.3 [0.3, 0.3], interior" in text
    assert "width 8: the best of 3 values run, regret 0.0000 [0.0000, 0.0000]" in text
    assert text.endswith("train with gamma0 0.3")
    rows = [line.split() for line in text.splitlines()]
    assert next(row for row in rows if row[:1] == ["0.3"])[:2] == ["0.3", "*"]
    assert next(row for row in rows if row[:1] == ["3"])[-2:] == ["-", "-"]


def test_the_ends_are_compared_with_over_the_same_seeds() -> None:
    found = tuned(valley, standard=0.25)
    ends = {name: found.above(cell) for name, cell in found.ends().items()}
    assert list(ends) == ["lazy", "rich", "standard"]
    for name, gamma0 in (("lazy", 0.1), ("rich", 1.0)):
        assert ends[name] == pytest.approx([valley(8, gamma0, 0) - valley(8, 0.3, 0)] * 3)
    assert ends["standard"].mean == pytest.approx(
        0.25 - (valley(8, 0.3, 0) + valley(8, 0.3, 1)) / 2
    )


@pytest.mark.parametrize(("error", "seeds"), [(0.05, 2), (0.05, 1), (0.25, 2), (0.25, 1)])
def test_a_plain_net_that_does_better_is_told_of(error: float, seeds: int) -> None:
    text = tuned(valley, standard=error, seeds=seeds).text()
    assert ("the plain net does better (standard, lr" in text) == (error < 0.2)


def test_of_several_rates_the_plain_net_has_the_best_that_is_stable() -> None:
    found = tuned(valley, standard_lr=[0.1, 0.2, 0.4])
    assert found.wide is not None
    table = found.wide.table
    known = (("0.1", (0.5, 0.4), "complete"), ("0.2", (0.1, np.nan), "diverged"))
    for cell, values, status in known:
        at = np.flatnonzero(table["cell"] == f"standard, lr {cell}")
        table["ae"][at] = values
        table["status"][at[-1]] = status
    assert found.ends()["standard"] == "standard, lr 0.1"
    assert "1 of 2 diverged" in found.text()
    assert "standard" not in tuned(valley, standard_lr=[]).ends()


@pytest.mark.parametrize(
    ("error", "where", "advice"),
    [
        (lambda w, g, s: 0.5 + g / 10, "lower end", "the lazier the better so far"),
        (lambda w, g, s: 0.5 - g / 10, "upper end", "the richer the better so far: give larger"),
        (
            lambda w, g, s: 0.5 - g / 10 if g < 2 else math.nan,
            "upper end",
            "the error falls up to where runs diverge",
        ),
        (
            lambda w, g, s: {0.1: 0.3, 0.3: 0.2, 1.0: 0.15 if s else 0.9, 3.0: 2.0}[g],
            "lower end",
            "the least lies within the range all the same; more seeds",
        ),
    ],
)
def test_without_an_interior_optimum_that_is_said_with_what_to_do(error, where, advice) -> None:
    found = tuned(error)
    assert found.optimum.where == where
    assert "no interior optimum in this range" in found.text()
    assert advice in found.text()
    assert found.config is not None


def test_one_seed_decides_nothing() -> None:
    found = tuned(valley, seeds=1)
    assert "undecided: that takes two seeds" in found.text()
    assert "regret 0.0000\n" in found.text()
    assert found.gamma0 == 0.3


def test_where_some_diverge_the_stable_range_is_told() -> None:
    found = tuned(lambda w, g, s: math.nan if g > 2 and s else valley(w, g, s))
    assert "width 4: stable up to 1; without a finite error: 1 of 2 at 3" in found.text()
    assert found.gamma0 == 0.3


def test_where_all_diverge_nothing_is_found_and_that_is_said(tmp_path) -> None:
    found = tuned(lambda w, g, s: math.nan)
    assert found.wide is None
    assert found.config is None
    text = found.text()
    assert "width 4: at no gamma0 has every seed a finite ae" in text
    assert "stable at none" in text
    assert "give smaller gamma0, or a lower training.lr" in text
    assert text.endswith("no gamma0 was found")
    (tmp_path / "tuned.yaml").touch()
    found.save(tmp_path)
    assert not (tmp_path / "tuned.yaml").exists()
    assert json.loads((tmp_path / "tuned.json").read_text())["gamma0"] is None


def test_where_the_value_found_diverges_at_the_target_the_best_stable_one_is_taken() -> None:
    found = tuned(lambda w, g, s: math.nan if w == 8 and g >= 0.3 else valley(w, g, s))
    assert (found.transferred, found.gamma0) == (0.3, 0.1)
    assert "width 8: gamma0 0.3 diverges; 0.1 is best there" in found.text()
    assert found.config is not None
    assert found.config["richness"]["gamma0"] == 0.1


def test_where_all_diverge_at_the_target_nothing_is_found() -> None:
    found = tuned(lambda w, g, s: math.nan if w == 8 else valley(w, g, s))
    assert math.isnan(found.gamma0)
    assert found.config is None
    assert "width 8: at no gamma0 that was run there has every seed a finite error" in found.text()
    assert found.text().endswith("no gamma0 was found")


def moved(width: int, gamma0: float, seed: int) -> float:
    """The optimum is at 0.3 in the narrow net and at 1 in the wide one."""
    return valley(width, gamma0 if width == 4 else gamma0 * 0.3, seed)


def test_where_the_regret_is_told_from_0_the_better_value_is_taken() -> None:
    found = tuned(moved)
    assert found.regret is not None
    assert (found.transferred, found.gamma0) == (0.3, 1.0)
    assert found.regret.value.mean == pytest.approx(moved(8, 0.3, 0) - moved(8, 1.0, 0))
    assert "1 is best of 3 values run, regret" in found.text()
    assert ", told from 0" in found.text()


def test_a_regret_that_is_not_told_from_0_changes_nothing() -> None:
    """At the target either of two values is best, depending on the seed."""

    def error(width: int, gamma0: float, seed: int) -> float:
        noise = (0.02 if seed else -0.03) if width == 8 and gamma0 == 1.0 else 0.0
        return (0.2 if gamma0 in (0.3, 1.0) else 0.4) + noise + (gamma0 == 1.0) * (width == 4) / 9

    found = tuned(error)
    assert found.regret is not None
    assert found.regret.best == 1.0
    assert "not told from 0" in found.text()
    assert found.gamma0 == 0.3


def test_with_the_whole_grid_at_the_target_its_optimum_is_told_too() -> None:
    assert tuned(valley).wide_optimum is None
    found = tuned(valley, verify=True)
    assert found.wide_optimum is not None
    assert "width 8: least ae at gamma0 0.3" in found.text()
    assert found.cost().measured == found.cost().runs == 8


def test_the_cost_is_what_was_run_against_the_whole_grid() -> None:
    """A run at width 4 takes 4 s, one at width 8 takes 8 s."""
    found = tuned(valley, neighbours=0).cost()
    assert (found.narrow, found.target) == (4 * 2 * 4, 1 * 2 * 8)
    assert found.besides == 3 * 2 * 8  # the ends and the plain net
    assert (found.measured, found.runs, found.grid) == (6, 8, 4 * 2 * 8)
    assert found.ratio == pytest.approx(64 / 48)
    text = tuned(valley, neighbours=0).text()
    assert "CPU: 32 s at width 4 and 16 s at 8; the whole grid at width 8: 64 s" in text
    assert "(6 of 8 runs measured, the others estimated by their mean), 1.3 times" in text
    dear = tuned(valley, verify=True, neighbours=4).text()
    assert "the whole grid at width 8: 64 s (measured), 0.7 times what was spent: nothing" in dear


def test_a_configuration_for_a_plain_net_is_told_of_its_rate() -> None:
    plain = {
        "stream": "small_parts:clouds",
        "net": "small_parts:tiny",
        "training": {"lr": 0.05},
    }
    text = tuned(valley, config=plain).text()
    assert "training.lr 0.05 was taken for the eta_0 of muP" in text
    assert "about 1.6 would take steps like those of the plain net" in text
    assert "eta_0" not in tuned(valley).text()


def test_what_is_found_is_kept_for_programs_and_as_a_configuration(tmp_path) -> None:
    found = tuned(valley)
    found.save(tmp_path)
    kept = json.loads((tmp_path / "tuned.json").read_text())
    assert (kept["gamma0"], kept["transferred"]) == (0.3, 0.3)
    assert kept["optimum"]["where"] == "interior"
    assert kept["regret"]["value"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert kept["ends"]["lazy"]["cell"] == "gamma0 0.1"
    assert kept["cost"]["cpu_seconds"]["ratio"] == pytest.approx(found.cost().ratio)
    assert found.config == resolve(found.config)
    assert found.config["net"]["width"] == 8


def test_columns_are_a_row_a_run() -> None:
    found: Tuned = tuned(valley)
    columns = found.columns()
    assert columns["gamma0"].tolist() == [*GRID, *GRID, 0.1, 0.3, 1.0, 0.1, 0.3, 1.0]
    assert columns["width"].tolist() == [4] * 8 + [8] * 6
    expected = [valley(4, g, s) for s in (0, 1) for g in GRID]
    expected += [valley(8, g, s) for s in (0, 1) for g in GRID[:3]]
    assert columns["ae"] == pytest.approx(expected)
