from dataclasses import asdict

import pytest

from holdfast.methods.halrp import Choice, Plan
from holdfast.reports import plan_figure, save_figure

PLAN = Plan(
    {
        "conv1": Choice(20, 20, 1.0, 0.3, 1900, 20),
        "linear1": Choice(100, 412, 0.5, 0.6, 400_000, 800),
        "linear2": Choice(0, 0, 0.0, 0.0, 0, 500),
    },
    0.9,
    0.9,
)


def test_a_row_a_layer_with_rank_share_and_size(tmp_path):
    figure = plan_figure(PLAN)
    ranks, shares, sizes = figure.axes
    assert [t.get_text() for t in ranks.get_yticklabels()] == list(PLAN.layers)
    assert [b.get_width() for b in ranks.patches] == [20, 800, 500, 20, 100, 0]
    assert [b.get_width() for b in shares.patches] == [1.0, 0.5, 0.0, 0.3, 0.6, 0.0]
    assert [b.get_width() for b in sizes.patches] == [1900, 400_000, 0]
    assert "90.0% of the score, 401,900 parameters" in figure.get_suptitle()
    written = save_figure(plan_figure(asdict(PLAN)), tmp_path / "plan.png")
    assert written[0].stat().st_size > 1000


def test_an_empty_plan_is_refused():
    with pytest.raises(ValueError, match="plan has no layers"):
        plan_figure(Plan({}, 1.0, None))
