"""Every invalid option raises and names its field."""

import math
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError

from holdfast.training.options import Training

VALUES: dict[str, tuple[Any, ...]] = {
    "epochs": (0, -1),
    "pretraining_epochs": (0, -1),
    "batch_size": (0, -5),
    "optimizer": ("lbfgs", "SGD"),
    "lr": (0.0, -0.1, math.nan, math.inf),
    "momentum": (-0.1, 1.0, math.nan),
    "rms_decay": (-0.1, 1.0, math.nan),
    "betas": ((0.9, 1.0), (-0.1, 0.9), (0.9, math.nan)),
    "weight_decay": (-1e-4, math.nan, math.inf),
    "schedule": ("linear",),
    "decay": (0.0, 1.5, -1.0, math.nan),
    "milestones": ((0,), (3, -1)),
    "clip": (0.0, -1.0, math.nan),
    "loss": ("hinge",),
    "augment": ("flip", None),
    "precision": ("float16",),
    "freeze_backbone": ("after", "later"),
    "evaluate_every": (0, -3),
    "evaluate_on": ("train",),
    "evaluate_tasks": ("none",),
    "evaluation_batch": (0,),
    "checkpoint_minutes": (-1.0, math.nan),
}
TYPES: dict[str, tuple[Any, ...]] = {
    "epochs": (1.5, "2", True, None),
    "pretraining_epochs": (1.5, "2", True),
    "batch_size": (8.0, None),
    "lr": ("0.1", True, None, 1j),
    "momentum": ("0",),
    "betas": (0.9, ("a", "b"), None, (0.9,), (0.9, 0.99, 0.999)),
    "weight_decay": ("0",),
    "decay": ([0.1],),
    "milestones": (3, ("a",), (1.5,), (True,)),
    "clip": ("1",),
    "freeze_old_rows": ("false", 1, None),
    "reset_optimizer": ("false", 1, None),
    "evaluate_start": ("true", 0, None),
    "evaluate_every": (2.0, "3", "epochs"),
    "evaluation_batch": (1e3,),
    "checkpoint_minutes": ("5",),
    "device": (0, None),
}


def cases(table: dict[str, tuple[Any, ...]]) -> list[Any]:
    return [pytest.param(f, v, id=f"{f}={v!r}") for f, values in table.items() for v in values]


def made(field: str, value: Any) -> Training:
    """As by a caller without the run-time type checks that the tests have."""
    training = object.__new__(Training)
    for f in fields(Training):
        object.__setattr__(training, f.name, value if f.name == field else f.default)
    training.__post_init__()
    return training


@pytest.mark.parametrize(("field", "value"), cases(VALUES))
def test_refuses_values(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"training\.{field} must be .*"):
        made(field, value)


@pytest.mark.parametrize(("field", "value"), cases(TYPES))
def test_refuses_types(field: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"training\.{field} must be .*"):
        made(field, value)


def test_every_field_is_covered() -> None:
    assert set(VALUES) | set(TYPES) == {f.name for f in fields(Training)}


def test_refused_when_made() -> None:
    with pytest.raises(ValueError, match=r"training\.lr must be a positive number; got -1.0"):
        Training(lr=-1.0)
    with pytest.raises((TypeError, TypeCheckError)):
        Training(epochs="2")  # type: ignore[arg-type]


def test_step_needs_milestones() -> None:
    with pytest.raises(ValueError, match=r"training\.milestones must be given for schedule='step'"):
        Training(schedule="step")
    assert Training(schedule="step", milestones=(3, 1)).milestones == (3, 1)


def test_lists_become_tuples() -> None:
    assert made("betas", [0.5, 0.9]).betas == (0.5, 0.9)
    assert made("milestones", [2, 4]).milestones == (2, 4)
    assert hash(made("milestones", [2])) == hash(made("milestones", (2,)))


def test_whole_numbers_are_numbers() -> None:
    for field in ("lr", "clip", "decay", "checkpoint_minutes"):
        assert made(field, 1) == made(field, 1.0)
        assert repr(made(field, 1)) == repr(made(field, 1.0))


def test_epochs_of_the_last_task_and_of_those_before() -> None:
    same, other = Training(epochs=7), Training(epochs=7, pretraining_epochs=2)
    assert [same.epochs_of(i, 3) for i in range(3)] == [7, 7, 7]
    assert [other.epochs_of(i, 3) for i in range(3)] == [2, 2, 7]
    assert other.epochs_of(0, 1) == 7


def test_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Training().lr = 1.0  # type: ignore[misc]


def test_place() -> None:
    there = "cuda" if torch.cuda.is_available() else "cpu"
    assert Training().place().type == there
    assert Training(device="cpu").place() == torch.device("cpu")


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "", "meta", "cpu:x"])
def test_device_that_is_not_there(device: str) -> None:
    with pytest.raises(ValueError, match=r"training\.device .* is not there; .*\['cpu'"):
        Training(device=device).place()


def test_bfloat16_runs_on_cuda_alone() -> None:
    with pytest.raises(ValueError, match=r"training\.precision 'bfloat16' runs on CUDA.*float32"):
        Training(precision="bfloat16", device="cpu").place()
