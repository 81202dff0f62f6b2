"""The variance of final accuracies by what it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from holdfast.studies.order_robustness.finals import Accuracies

_FACTORS = ("order", "seed", "task")


@dataclass(frozen=True)
class Components:
    """Variances of the parts of one final accuracy.

    Estimates are free of bias and so may come out below 0 where a part is small.

    Args:
        task: some tasks are easier than others.
        order: an order is better for all tasks.
        task_by_order: a task gains by one order what another loses.
        seed: all that differs between seeds at one order: the sum of the parts that name seeds.
        parts: each of the seven, by the factors it is of, such as ``order x task``.
    """

    task: float
    order: float
    task_by_order: float
    seed: float
    parts: Mapping[str, float]


def components(accuracy: Accuracies) -> Components:
    """Split the variance of final accuracies by the method of moments.

    The random effects model y[o, s, t] = mean + O + S + T + OS + OT + ST + E with independent
    parts, orders, seeds and tasks crossed. With MS_B the mean square of the effect of the factors
    B, and n_f the number of levels of factor f,

        var_A = sum over B that hold A of (-1)^(|B| - |A|) MS_B / prod over f not in A of n_f

    (Searle, Casella & McCulloch, 1992, for balanced data). All parts are NaN for a single seed,
    which cannot tell tasks that mind the order from noise, and for a single task.

    Args:
        accuracy: final accuracies of the same seeds at each order.
    """
    if min(accuracy.shape) < 2:
        nan = float("nan")
        return Components(nan, nan, nan, nan, {})
    sizes = accuracy.shape
    subsets = [s for k in (1, 2, 3) for s in combinations(range(3), k)]
    squares = {subset: _mean_square(accuracy, subset) for subset in subsets}
    parts = {}
    for subset in subsets:
        above = [s for s in subsets if set(subset) <= set(s)]
        signed = sum((-1) ** (len(s) - len(subset)) * squares[s] for s in above)
        others = np.prod([sizes[f] for f in range(3) if f not in subset])
        parts[" x ".join(_FACTORS[f] for f in subset)] = float(signed / others)
    seed = sum(value for name, value in parts.items() if "seed" in name)
    return Components(parts["task"], parts["order"], parts["order x task"], seed, parts)


def _mean_square(values: Float[np.ndarray, "a b c"], factors: tuple[int, ...]) -> float:
    """Sum of squares of the effect of some factors together over its degrees of freedom."""
    effect = values
    for axis in range(values.ndim):
        mean = effect.mean(axis=axis, keepdims=True)
        effect = effect - mean if axis in factors else mean
    freedom = int(np.prod([values.shape[f] - 1 for f in factors]))
    repeats = values.size // effect.size
    return float((effect**2).sum() * repeats / freedom)
