"""What cannot be grown is refused, and a refusal changes nothing."""

from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
import torch
from growing import NEW, OLD, samples, statistics, trained
from torch import nn

from holdfast.starts import FeatureStatistics, grow_head


def nan_features() -> tuple:
    h, y = samples()
    h[5, 2] = torch.nan
    return h, y


FAILURES: dict[str, tuple[Callable[[], dict[str, Any]], type[Exception], str]] = {
    "start": (lambda: {"start": "guess"}, ValueError, "start must be one of .*got 'guess'"),
    "loss": (lambda: {"loss": "hinge"}, ValueError, "loss must be one of .*got 'hinge'"),
    "ridge": (lambda: {"ridge": -1.0}, ValueError, "ridge must be a finite number >= 0, got -1"),
    "tolerance": (lambda: {"tolerance": -1.0}, ValueError, "tolerance must be points .*got -1"),
    "known": (lambda: {"new_classes": [3, 4]}, ValueError, r"already has classes \[3\]"),
    "words": (lambda: {"new_classes": ["a"]}, TypeError, r"new_classes must hold .* got \['a'\]"),
    "fractions": (lambda: {"new_classes": [4.5]}, TypeError, "new_classes must hold .* integers"),
    "one number": (lambda: {"new_classes": 4}, TypeError, "new_classes must hold .* got 4"),
    "words in the head": (
        lambda: {"classes": ["a", "b", None, None]},
        TypeError,
        "classes must hold classes as integers",
    ),
    "no number": (lambda: {"ridge": "gvc"}, ValueError, "ridge must be .* got 'gvc'"),
    "empty class": (
        lambda: {"new_classes": [4, 5, 6, 7]},
        ValueError,
        r"needs samples of all new classes, there are none of \[7\]",
    ),
    "no statistics": (lambda: {"statistics": None}, ValueError, r"there are none of \[4, 5, 6\]"),
    "width": (
        lambda: {"statistics": FeatureStatistics(3)},
        ValueError,
        "statistics are of 3 features, the head takes 8",
    ),
    "width of features": (
        lambda: {"statistics": (torch.zeros(2, 3), torch.tensor([0, 4]))},
        ValueError,
        r"statistics: features of batch 0 must have shape \(n, 8\), got \(2, 3\)",
    ),
    "nan": (lambda: {"statistics": nan_features()}, ValueError, "hold nan at row 5, column 2"),
    "nan in sample": (lambda: {"sample": nan_features()}, ValueError, "sample: features .* nan"),
    "nan in test": (lambda: {"test": nan_features()}, ValueError, "test: features .* nan"),
    "integer features": (
        lambda: {"statistics": (torch.zeros(2, 8).long(), torch.tensor([0, 4]))},
        TypeError,
        "features must be a tensor of float16",
    ),
    "stranger": (
        lambda: {"statistics": samples((*OLD, *NEW)), "new_classes": [4, 5]},
        ValueError,
        r"statistics holds samples of classes \[6\], which are neither in the head nor among",
    ),
    "spare": (lambda: {"classes": [0, 1]}, ValueError, "which rows are spare would be a guess"),
    "task": (lambda: {"task": 1}, ValueError, "task is for TaskHeads"),
    "too large": (
        lambda: {"head": trained().half(), "statistics": statistics(), "start": "class_mean"},
        ValueError,
        "do not fit the head's type torch.float16",
    ),
}


@pytest.fixture
def _unchecked() -> Any:
    """Types are checked by nothing but the function itself."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("_unchecked")
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_changes_nothing(name: str) -> None:
    change, error, match = FAILURES[name]
    options = {"head": trained(), "statistics": samples(), "new_classes": NEW} | change()
    if name == "too large":
        h, y = samples()
        options["statistics"] = (1e5 * h, y)
    layer = options["head"]
    parameters = dict(layer.named_parameters())
    bits = {k: p.detach().clone() for k, p in parameters.items()}
    with pytest.raises(error, match=match):
        grow_head(**options)
    assert layer.out_features == 4
    for k, p in layer.named_parameters():
        assert p is parameters[k]
        assert torch.equal(p, bits[k])


def test_a_head_that_is_no_linear_layer_is_refused() -> None:
    with pytest.raises(TypeError, match=r"head must be one of: torch.nn.Linear; .*timm"):
        grow_head(nn.Sequential(nn.Linear(8, 4)), samples(), NEW)
