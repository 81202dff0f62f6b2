"""Synthetic tasks from teachers of known likeness."""

import math
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from holdfast.data.split import Dataset, Split
from holdfast.seeds import generator
from holdfast.streams.holdout import hold_out
from holdfast.streams.stream import Scenario, Stream, Task


def teacher_student(
    tasks: int = 2,
    similarity: float = 0.5,
    input_similarity: float = 0.0,
    inputs: int = 100,
    hidden: int | None = None,
    outputs: int = 1,
    target: Literal["regression", "class"] = "regression",
    noise: float = 0.0,
    samples: int = 1000,
    test_samples: int = 1000,
    scenario: Scenario = "domain_incremental",
    validation: float = 0.0,
    seed: int = 0,
) -> Stream:
    """A stream of Gaussian inputs labelled by teachers of given pairwise similarity.

    The linear teacher of task t is f_t(x) = W_t x with `outputs` rows of length 1. The two-layer
    one is f_t(x) = V erf(W_t x / sqrt(2)) with `hidden` rows of length 1 in W_t and a readout V,
    entries N(0, 1 / hidden), that all tasks share. Row j of W_s and row k of W_t have the exact
    inner product

        w_sj . w_tk = similarity if j = k else 0    (s != t),

    and rows of one teacher are orthogonal. Inputs are N(0, I); the n-th inputs of two tasks
    correlate by eps = `input_similarity`, as X_2 = eps X_1 + sqrt(1 - eps^2) Xi does.

    Soft committee machines as in Saad & Solla (1995); teachers of tunable feature similarity as in
    Lee, Goldt & Saxe (2021, *Continual Learning in the Teacher-Student Setup*), with the readout's
    similarity fixed at 1 here.

    Args:
        tasks: number of tasks.
        similarity: of the teachers, in [0, 1]; 1 makes them the same.
        input_similarity: eps, in [0, 1]; 0 draws fresh inputs for each task, 1 the same.
        inputs: dimension of x.
        hidden: units of a two-layer teacher; `None` for a linear one.
        outputs: dimension of f_t(x).
        target: ``regression`` onto f_t(x), or its ``class``: the largest output, or for a single
            output 1 where it is positive, else 0.
        noise: standard deviation of Gaussian noise added to f_t(x) in training; test targets have
            none.
        samples: of training, a task.
        test_samples: a task.
        scenario: ``domain_incremental``, or ``task_incremental``.
        validation: fraction of the training samples held out, see `hold_out`.
        seed: of teachers, inputs, noise and of what is held out.

    Raises:
        ValueError: a similarity outside [0, 1], a size that is not positive, a negative noise,
            fewer inputs than orthogonal rows are needed, or a class-incremental scenario.
    """
    for name, dial in (("similarity", similarity), ("input_similarity", input_similarity)):
        if not 0 <= dial <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {dial}")
    counts = {"tasks": tasks, "inputs": inputs, "outputs": outputs, "samples": samples}
    for name, count in (counts | {"test_samples": test_samples}).items():
        if count < 1:
            raise ValueError(f"{name} must be a positive integer, got {count}")
    if hidden is not None and hidden < 1:
        raise ValueError(f"hidden must be a positive integer or None, got {hidden}")
    if not 0 <= noise < math.inf:
        raise ValueError(f"noise must be 0 or more, got {noise}")
    if target not in ("regression", "class"):
        raise ValueError(f"target must be 'regression' or 'class', got {target!r}")
    if scenario == "class_incremental":
        raise ValueError(
            "scenario must be 'domain_incremental' or 'task_incremental' where all tasks have the "
            "same targets, got 'class_incremental'"
        )
    units = outputs if hidden is None else hidden
    weights = similar_teachers(tasks, similarity, units, inputs, generator(seed, "teachers"))
    readout = None
    if hidden is not None:
        readout = _gaussian((outputs, hidden), generator(seed, "readout")) / math.sqrt(hidden)
    x = _similar_inputs(tasks, input_similarity, samples, inputs, generator(seed, "inputs"))
    x_test = _similar_inputs(tasks, input_similarity, test_samples, inputs, generator(seed, "test"))
    stream = []
    for t in range(tasks):
        exact = _teach(weights[t], readout, x[t])
        noisy = exact + noise * _gaussian(exact.shape, generator(seed, "noise", t))
        dataset = Dataset(
            train=_split(x[t], noisy, target),
            test=_split(x_test[t], _teach(weights[t], readout, x_test[t]), target),
            name=f"teacher {t}",
        )
        train, held = hold_out(dataset, validation, seed)
        classes = tuple(range(max(outputs, 2))) if target == "class" else ()
        stream.append(Task(dataset.name, train, dataset.test, held, classes))
    return Stream(stream, scenario, "teacher_student")


def similar_teachers(
    tasks: int, similarity: float, units: int, inputs: int, draw: torch.Generator
) -> Float64[Tensor, "tasks units inputs"]:
    """Rows of length 1: unit j of two tasks overlaps by `similarity`, all others are orthogonal.

    W_t = sum_s M_ts Q_s with orthonormal rows in all Q_s and M the square root of the overlaps.

    Raises:
        ValueError: there are fewer inputs than tasks * units.
    """
    if tasks * units > inputs:
        raise ValueError(
            f"inputs must be at least {tasks * units} for the orthogonal rows of {tasks} teachers "
            f"with {units} units, got {inputs}"
        )
    q, r = torch.linalg.qr(_gaussian((inputs, tasks * units), draw))
    rows = (q * r.diagonal().sign()).T.reshape(tasks, units, inputs)  # signs: uniform directions
    return torch.einsum("ts,sui->tui", _overlap_root(tasks, similarity), rows)


def _similar_inputs(
    tasks: int, similarity: float, samples: int, inputs: int, draw: torch.Generator
) -> Float64[Tensor, "tasks samples inputs"]:
    fresh = _gaussian((tasks, samples, inputs), draw)
    return torch.einsum("ts,sni->tni", _overlap_root(tasks, similarity), fresh)


def _overlap_root(tasks: int, overlap: float) -> Float64[Tensor, "tasks tasks"]:
    """The symmetric square root of the matrix with 1 on the diagonal and `overlap` elsewhere."""
    mean = torch.full((tasks, tasks), 1 / tasks, dtype=torch.float64)
    apart = torch.eye(tasks, dtype=torch.float64) - mean
    return math.sqrt(1 - overlap) * apart + math.sqrt(1 - overlap + tasks * overlap) * mean


def _teach(weights: Tensor, readout: Tensor | None, x: Tensor) -> Tensor:
    response = x @ weights.T
    return response if readout is None else torch.erf(response / math.sqrt(2)) @ readout.T


def _split(x: Tensor, response: Tensor, target: str) -> Split:
    if target == "regression":
        return Split(x.float(), response.float())
    single = response.shape[1] == 1
    return Split(x.float(), (response[:, 0] > 0).long() if single else response.argmax(dim=1))


def _gaussian(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=draw, dtype=torch.float64)
