from typing import Any

import pytest

from holdfast.studies.axes import label, read_axes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ewc", "ewc"),
        ("small_parts:Shrink", "Shrink"),
        ("a b: c", "a b: c"),
        (0.1, "0.1"),
        (1e-5, "1e-05"),
        (3, "3"),
        (True, "true"),
        (None, "none"),
        ([100, 100], "[100, 100]"),
        ({"name": "ewc"}, "ewc"),
        ({"name": "x.y:Mine", "strength": 1.5, "sizes": [1]}, "Mine(strength=1.5, sizes=[1])"),
        ({"epochs": 2}, "(epochs=2)"),
        ({}, "()"),
    ],
)
def test_labels_are_short_and_readable(value: Any, text: str) -> None:
    assert label(value) == text


def test_an_axis_of_numbers_keeps_its_numbers_and_others_their_labels() -> None:
    numbers, mixed, named = read_axes(
        {"lr": [1, 0.5], "clip": [None, 1.0], "method": {"plain": "finetune", 5: {"name": "ewc"}}},
        {},
    )
    assert [choice.value for choice in numbers.choices] == [1, 0.5]
    assert [choice.value for choice in mixed.choices] == ["none", "1.0"]
    assert [choice.value for choice in named.choices] == ["plain", "5"]
    assert named.choices[1].settings == {"method": {"name": "ewc"}}


def test_variants_are_one_axis_of_linked_settings() -> None:
    (axis,) = read_axes({}, {"slow": {"lr": 0.1, "epochs": 9}, "fast": {"lr": 1}})
    assert (axis.name, axis.keys) == ("variant", {"lr", "epochs"})
    assert [choice.label for choice in axis.choices] == ["slow", "fast"]


@pytest.mark.parametrize(
    ("grid", "variants", "message"),
    [
        ({"method": "ewc"}, {}, "grid.method must be a list of values, or a mapping .*got 'ewc'"),
        ({"lr": 0.1}, {}, r"grid.lr must be a list of values, .*got 0.1"),
        ({"lr": []}, {}, "lr has no values"),
        ({"lr": {}}, {}, "lr has no values"),
        ({"lr": [0.1, 0.1]}, {}, "lr has two values labelled '0.1'"),
        ({"method": ["a.b:C", "d.e:C"]}, {}, "two values labelled 'C'; give a mapping of labels"),
        ({"seed": [0, 1]}, {}, "seed cannot be varied .* give the study's seeds"),
        ({}, {"a": {"seed": 1}}, "seed cannot be varied"),
        ({"lr": [1, 2]}, {"a": {"lr": 3}}, "lr is set by two axes"),
        ({}, {"a": 3}, "variants.a must be a mapping of dotted keys to values, got 3"),
        ([1], {}, r"grid must be a mapping, got \[1\]"),
        ({}, "a", "variants must be a mapping, got 'a'"),
    ],
)
def test_axes_of_another_form_are_refused(grid: Any, variants: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_axes(grid, variants)
