import numpy as np
import pytest

from holdfast.reports import comparison_figure, comparison_table


@pytest.fixture
def runs(make_record):
    repeats = [make_record(2, rate=rate) for rate in (0.2, 0.4)]
    return {"Finetune": repeats, "Joint": make_record(2, rate=0.0)}


def test_the_table_as_text(runs):
    # Of two tasks that end at .95 exp(-rate) and .95.
    low, high = 0.95 * np.exp(-0.4), 0.95 * np.exp(-0.2)
    accuracy = [(low + 0.95) / 2, (high + 0.95) / 2]
    lines = comparison_table(runs).splitlines()
    assert lines[0].split() == ["runs", "acc", "forgetting", "seconds"]
    mean, spread = np.mean(accuracy), np.std(accuracy, ddof=1)
    assert lines[1].split()[:5] == ["Finetune", "2", f"{mean:.3f}", "±", f"{spread:.3f}"]
    assert lines[1].endswith("1.0 ± 0.0")
    assert lines[2].split() == ["Joint", "1", "0.950", "0.000", "1.0"]
    assert len({len(line) for line in lines[:2]}) == 1


def test_the_table_as_markdown(runs):
    text = comparison_table({"a|b": runs["Joint"]}, ["bwt", "cpu_seconds"], "markdown")
    assert text.splitlines() == [
        "|  | bwt | cpu_seconds |",
        "| --- | ---: | ---: |",
        "| a\\|b | 0.000 | 0.5 |",
    ]


def test_runs_that_did_not_complete_are_told(runs):
    first = runs["Finetune"][0]
    first.status, first.accuracy[1] = "diverged", np.nan
    lines = comparison_table(runs).splitlines()
    assert lines[0].endswith("status")
    assert lines[1].split() == ["Finetune", "2", "-", "-", "1.0", "±", "0.0", "1", "diverged"]
    assert lines[2].split() == ["Joint", "1", "0.950", "0.000", "1.0"]
    assert comparison_table({"a": first}).splitlines()[1].endswith("diverged")


def test_regressions_are_compared_by_loss(make_record):
    table = comparison_table({"a": make_record(2, regression=True)})
    assert table.split()[:3] == ["average_loss", "loss_forgetting", "seconds"]


def test_bars_are_means_and_dots_are_runs(runs, assert_readable):
    figure = comparison_figure(runs)
    axes = figure.axes[0]
    finals = [r.metrics()["acc"] for r in runs["Finetune"]]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([np.mean(finals), 0.95])
    assert axes.lines[0].get_xdata().tolist() == pytest.approx(finals)
    assert [text.get_text() for text in axes.texts] == [f"{np.mean(finals):.3f}", "0.950"]
    assert_readable(figure)


def test_many_names_and_metrics_can_be_read(make_record, assert_readable):
    runs = {f"a method with a rather long name {i}": make_record(3) for i in range(30)}
    assert_readable(comparison_figure(runs, ["acc", "forgetting", "seconds"]))
    assert_readable(comparison_figure({"a": make_record(1)}))


def test_an_unknown_value_has_no_bar(runs):
    runs["Finetune"][0].accuracy[1] = np.nan
    axes = comparison_figure(runs).axes[0]
    assert axes.texts[0].get_text() == "-"
    assert np.isnan(axes.patches[0].get_width())


@pytest.mark.parametrize("compare", [comparison_table, comparison_figure])
def test_wrong_arguments(runs, compare):
    with pytest.raises(ValueError, match="runs must name one or more records"):
        compare({})
    with pytest.raises(ValueError, match=r"runs\['a'\] holds no records"):
        compare({"a": []})
    with pytest.raises(ValueError, match=r"metric must be one of acc, .*got 'accuracy'"):
        compare(runs, ["accuracy"])
