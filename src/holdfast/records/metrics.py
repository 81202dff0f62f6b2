"""Metrics of a run, each a pure function of R[i, j]: on task j after training task i, T tasks.

Accuracies are fractions in [0, 1]. One rule holds for all: an unknown (NaN) entry that the formula
reads makes the result NaN, as does a mean over no tasks (T = 1 where the formula needs a later
task). So a run that is unfinished or has diverged gives NaN; ``R[:k, :k]`` is the run as it stood
after its first k tasks.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float

Matrix = Float[np.ndarray, "tasks tasks"]
Vector = Float[np.ndarray, " tasks"]


def average_accuracy(accuracy: Matrix) -> float:
    """ACC: mean accuracy on all tasks at the end, (1/T) sum_j R[T-1, j].

    Also AA or A_T; the last task counts. Lopez-Paz & Ranzato, 2017, eq. 2.

    >>> average_accuracy(np.array([[1.0, 0.0], [0.5, 0.9]]))
    0.7
    """
    return float(_fractions(accuracy)[-1].mean())


def average_error(accuracy: Matrix) -> float:
    """AE = 1 - ACC."""
    return 1.0 - average_accuracy(accuracy)


def learning_accuracy(accuracy: Matrix) -> float:
    """LA: mean accuracy on each task just after it was trained, (1/T) sum_j R[j, j].

    Riemer et al., 2019.
    """
    return float(_fractions(accuracy).diagonal().mean())


def learning_error(accuracy: Matrix) -> float:
    """LE = 1 - LA."""
    return 1.0 - learning_accuracy(accuracy)


def incremental_accuracy(accuracy: Matrix) -> float:
    """Mean over the stages of the mean accuracy on the tasks seen by then.

    (1/T) sum_k (1/(k+1)) sum_{j<=k} R[k, j]: each task counts alike, however many classes it has.
    Rebuffi et al., 2017 (average incremental accuracy), who weigh by test samples.
    """
    accuracy = _fractions(accuracy)
    return float(np.mean([row[: k + 1].mean() for k, row in enumerate(accuracy)]))


def backward_transfer(accuracy: Matrix) -> float:
    """BWT: what later tasks changed, (1/(T-1)) sum_{j<T-1} (R[T-1, j] - R[j, j]).

    Negative is forgetting; equals -`forgetting` with reference ``after_learning``.
    Lopez-Paz & Ranzato, 2017, eq. 3.
    """
    accuracy = _fractions(accuracy)
    return _mean(accuracy[-1, :-1] - accuracy.diagonal()[:-1])


def forward_transfer(accuracy: Matrix, initial: Vector) -> float:
    """FWT: what earlier tasks gave, (1/(T-1)) sum_{0<j} (R[j-1, j] - b[j]).

    Args:
        accuracy: (T, T) R, with the entries above the diagonal.
        initial: (T,) b, the accuracy on each task before any training.

    NaN where the learner cannot predict a task before it is trained (heads that grow). Lopez-Paz
    & Ranzato, 2017, eq. 4, with b of this very run rather than a mean over initializations.
    """
    accuracy = _fractions(accuracy)
    if initial.shape != accuracy.shape[:1]:
        raise ValueError(f"initial must have shape {accuracy.shape[:1]}, got {initial.shape}")
    return _mean(accuracy.diagonal(1) - initial[1:])


def forgetting(accuracy: Matrix, reference: Literal["max", "after_learning"] = "max") -> float:
    """CF: mean drop on the tasks before the last, (1/(T-1)) sum_{j<T-1} (ref_j - R[T-1, j]).

    Args:
        accuracy: (T, T) R.
        reference: ``max``, the best from when task j was learned until before the last task,
            ref_j = max_{j <= t < T-1} R[t, j]; ``after_learning``, ref_j = R[j, j].

    Negative when the last task improves earlier ones. Chaudhry et al., 2018 let the maximum
    start before task j was learned; libraries also average over all T tasks, which scales this by
    (T-1)/T.
    """
    accuracy = _fractions(accuracy)
    return _mean(_best(accuracy, reference, "max") - accuracy[-1, :-1])


def relative_forgetting(
    accuracy: Matrix, reference: Literal["max", "after_learning"] = "max"
) -> float:
    """CFr: mean share lost, (1/(T-1)) sum_{j<T-1} (ref_j - R[T-1, j]) / ref_j.

    `reference` as in `forgetting`; NaN when a reference accuracy is 0. Graldi et al., 2025,
    appendix A.

    >>> round(relative_forgetting(np.array([[0.4, 0.0], [0.3, 0.9]])), 9)
    0.25
    """
    accuracy = _fractions(accuracy)
    best = _best(accuracy, reference, "max")
    return _mean(_ratio(best - accuracy[-1, :-1], best))


def average_loss(loss: Matrix) -> float:
    """AL: mean loss on all tasks at the end, (1/T) sum_j L[T-1, j]."""
    return float(_square(loss)[-1].mean())


def learning_loss(loss: Matrix) -> float:
    """LL: mean loss on each task just after it was trained, (1/T) sum_j L[j, j]."""
    return float(_square(loss).diagonal().mean())


def loss_forgetting(loss: Matrix, reference: Literal["min", "after_learning"] = "min") -> float:
    """Mean rise of the loss on earlier tasks, (1/(T-1)) sum_{j<T-1} (L[T-1, j] - ref_j).

    Args:
        loss: (T, T) L.
        reference: ``min``, ref_j = min_{j <= t < T-1} L[t, j]; ``after_learning``, ref_j = L[j, j].

    Positive is forgetting, as for accuracies: putting a loss into the formula of `forgetting`
    would turn the sign around and take the worst moment for the best.
    """
    loss = _square(loss)
    with np.errstate(invalid="ignore"):  # inf - inf is unknown, not a mistake
        return _mean(loss[-1, :-1] - _best(loss, reference, "min"))


def relative_loss_forgetting(
    loss: Matrix, reference: Literal["min", "after_learning"] = "min"
) -> float:
    """Mean relative rise of the loss, (1/(T-1)) sum_{j<T-1} (L[T-1, j] - ref_j) / ref_j.

    `reference` as in `loss_forgetting`; NaN when a reference loss is 0.
    """
    loss = _square(loss)
    best = _best(loss, reference, "min")
    with np.errstate(invalid="ignore"):
        return _mean(_ratio(loss[-1, :-1] - best, best))


def _best(
    matrix: Matrix, reference: str, extreme: Literal["max", "min"]
) -> Float[np.ndarray, " n"]:
    """ref_j of the tasks before the last; NaN where any entry it is chosen from is unknown."""
    if reference == "after_learning":
        return matrix.diagonal()[:-1]
    if reference != extreme:
        raise ValueError(f"reference must be {extreme!r} or 'after_learning', got {reference!r}")
    choose = np.max if extreme == "max" else np.min
    return np.array([choose(matrix[j:-1, j]) for j in range(len(matrix) - 1)])


def _ratio(
    change: Float[np.ndarray, " n"], reference: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    return change / np.where(reference == 0, np.nan, reference)


def _mean(values: Float[np.ndarray, " n"]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _square(matrix: Matrix) -> Matrix:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ValueError(f"the matrix must be (tasks, tasks), got {matrix.shape}")
    return matrix


def _fractions(accuracy: Matrix) -> Matrix:
    _square(accuracy)
    outside = (accuracy < 0) | (accuracy > 1)
    if outside.any():
        raise ValueError(
            f"accuracies must be fractions in [0, 1], got {accuracy[outside][0]}; divide "
            "percentages by 100, and use the loss forms for losses"
        )
    return accuracy
