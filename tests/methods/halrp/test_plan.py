from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.methods.halrp.plan import Plan, Spectrum, choose_ranks, flat_ranks


def spectrum(values, weight=1.0, cost=1, largest=None, mass=None) -> Spectrum:
    v = torch.tensor(sorted(values, reverse=True), dtype=torch.float64)
    known = float(v.square().sum())
    return Spectrum(v, known if mass is None else mass, weight, cost, largest or len(v))


layers = st.lists(
    st.builds(
        spectrum,
        st.lists(st.floats(0.01, 10), min_size=1, max_size=6),
        st.floats(0.01, 100),
        st.integers(1, 50),
    ),
    min_size=1,
    max_size=5,
).map(lambda found: {f"l{i}": s for i, s in enumerate(found)})


def naive_prefix(spectra, alpha):
    """The published rule, one triplet after the other."""
    scores = [(s.weight * v.item() ** 2, n) for n, s in spectra.items() for v in s.values]
    total = sum(s.weight * s.mass for s in spectra.values())
    reached, counts = 0.0, dict.fromkeys(spectra, 0)
    for a, n in sorted(scores, key=lambda score: -score[0]):
        reached += a
        counts[n] += 1
        if reached > alpha * total:
            break
    return counts


@given(layers, st.floats(0.05, 0.99))
def test_ranks_are_the_shortest_prefix_past_alpha(spectra, alpha):
    plan = choose_ranks(spectra, alpha=alpha, most=None, least=0)
    assert plan.ranks == naive_prefix(spectra, alpha)
    assert plan.share > alpha - 1e-12
    kept = [
        (spectra[n].weight * spectra[n].values[c.rank - 1].item() ** 2)
        for n, c in plan.layers.items() if c.rank
    ]  # fmt: skip
    total = sum(s.weight * s.mass for s in spectra.values())
    assert plan.share - min(kept) / total <= alpha + 1e-9


@given(layers, st.floats(0.05, 1.0), st.integers(1, 4))
def test_floors_and_caps_hold(spectra, alpha, most):
    plan = choose_ranks(spectra, alpha=alpha, most=most, least=1)
    for name, choice in plan.layers.items():
        assert 1 <= choice.rank <= min(most, spectra[name].largest)
        wanted = naive_prefix(spectra, alpha)[name] if alpha < 1 else len(spectra[name].values)
        assert choice.wanted == wanted
        assert choice.rank == max(1, min(wanted, most))


@given(layers, st.integers(0, 400), st.booleans())
def test_the_budget_is_never_exceeded_and_used_up(spectra, extra, per_cost):
    floor = sum(s.cost for s in spectra.values())
    budget = floor + extra
    plan = choose_ranks(spectra, alpha=None, budget=budget, most=None, per_cost=per_cost)
    assert plan.parameters == sum(plan.ranks[n] * s.cost for n, s in spectra.items())
    assert plan.parameters <= budget
    open_ = [n for n, s in spectra.items() if plan.ranks[n] < len(s.values)]
    assert all(plan.parameters + spectra[n].cost > budget for n in open_)
    both = choose_ranks(spectra, alpha=0.5, budget=budget, most=None)
    assert both.parameters <= budget
    one = choose_ranks(spectra, alpha=0.5, most=None)
    assert all(both.ranks[n] <= one.ranks[n] for n in spectra)


@given(layers, st.floats(0.1, 0.9), st.floats(0.01, 100))
def test_only_ratios_of_weights_matter(spectra, alpha, by):
    scaled = {n: s._replace(weight=s.weight * by) for n, s in spectra.items()}
    pick = {"alpha": alpha, "most": None}
    assert choose_ranks(spectra, **pick).ranks == choose_ranks(scaled, **pick).ranks


def test_gain_a_parameter_prefers_the_cheap_layer():
    spectra = {"dear": spectrum([3.0, 2.9], cost=1000), "cheap": spectrum([2.0, 1.9], cost=10)}
    plain = choose_ranks(spectra, alpha=None, budget=1020, least=0)
    per_cost = choose_ranks(spectra, alpha=None, budget=1020, least=0, per_cost=True)
    assert plain.ranks == {"dear": 1, "cheap": 2}
    assert per_cost.ranks == {"dear": 1, "cheap": 2}
    tight = {"alpha": None, "budget": 1000, "least": 0}
    assert choose_ranks(spectra, **tight).ranks == {"dear": 1, "cheap": 0}
    assert choose_ranks(spectra, **tight, per_cost=True).ranks == {"dear": 0, "cheap": 2}


def test_triplets_that_were_not_computed_count_in_the_total():
    spectra = {"a": spectrum([2.0], mass=8.0, largest=5), "b": spectrum([1.0, 1.0])}
    plan = choose_ranks(spectra, alpha=0.9)
    assert plan.ranks == {"a": 1, "b": 2}
    assert plan.share == pytest.approx(0.6)
    assert plan.layers["a"].share == pytest.approx(0.5)
    assert plan.layers["b"].of_all == pytest.approx(0.2)


def test_where_nothing_changed_the_least_is_kept():
    spectra = {"a": spectrum([0.0, 0.0]), "b": spectrum([0.0])}
    plan = choose_ranks(spectra, alpha=0.9)
    assert plan.ranks == {"a": 1, "b": 1}
    assert plan.share == 1.0


def test_flat_ranks_go_as_far_as_a_layer_can():
    plan = flat_ranks({"a": spectrum([3.0, 2.0, 1.0], cost=5), "b": spectrum([1.0], cost=7)}, 2)
    assert plan.ranks == {"a": 2, "b": 1}
    assert plan.parameters == 17
    assert plan.share == pytest.approx(14 / 15)


def test_a_plan_is_told_and_survives_as_values():
    plan = choose_ranks({"conv": spectrum([2.0, 1.0], cost=23), "fc": spectrum([1.0], cost=40)})
    text = plan.text()
    assert "conv" in text
    assert "86 parameters" in text
    assert str(plan) == text
    assert Plan.from_values(asdict(plan)) == plan


def test_bad_input():
    spectra = {"a": spectrum([1.0, 1.0], cost=10), "b": spectrum([1.0], cost=5)}
    with pytest.raises(ValueError, match="alpha and budget are both None"):
        choose_ranks(spectra, alpha=None)
    with pytest.raises(ValueError, match=r"alpha must be in \(0, 1\], got 0.0"):
        choose_ranks(spectra, alpha=0.0)
    with pytest.raises(ValueError, match="least 3 and most 2"):
        choose_ranks(spectra, least=3, most=2)
    with pytest.raises(
        ValueError, match="budget is 12 parameters, but rank 1 in every layer takes 15"
    ):
        choose_ranks(spectra, budget=12)
    with pytest.raises(ValueError, match=r"score of layer 'b' must be finite.*weight nan"):
        choose_ranks({"a": spectrum([1.0]), "b": spectrum([1.0], weight=float("nan"))})
    with pytest.raises(ValueError, match="rank must be at least 0, got -1"):
        flat_ranks(spectra, -1)
    with pytest.raises(ValueError, match="spectra is empty"):
        choose_ranks({})
