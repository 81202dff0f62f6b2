"""The one number by which scores are multiplied to have the least cross-entropy."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

LARGEST = 1e4
_STEPS = 100
_TOLERANCE = 1e-10


def fit_scale(
    scores: Float[Tensor, "n classes"],
    labels: Int[Tensor, " n"],
    base: Float[Tensor, "n classes"] | None = None,
) -> float:
    """The a >= 0 of least mean cross-entropy of ``softmax(base + a * scores)``.

    Least-squares scores lie in [0, 1], where softmax is all but uniform; the inverse of a is the
    temperature at which they become probabilities. The cross-entropy is convex in a: Newton's
    steps, with a bisection wherever one leaves the interval known to hold the minimum.

    Args:
        scores: (n, C).
        labels: (n,) columns of the right classes.
        base: (n, C) logits to start from; `None`: zero.

    Returns:
        a in [0, 10,000]: 0 where scores do not help, the upper end where they separate the classes
        and no finite scale is best.

    Raises:
        ValueError: no samples, or scores that are not finite.

    >>> scores = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    >>> round(fit_scale(scores, torch.tensor([0, 0, 0, 1])), 6)  # log(3): probabilities 3/4, 1/4
    1.098612
    """
    s = scores.double()
    b = torch.zeros_like(s) if base is None else base.double()
    if len(s) == 0 or not (s.isfinite().all() and b.isfinite().all()):
        raise ValueError("scores must be finite and of at least one sample")
    own = s.gather(1, labels.long().unsqueeze(1)).mean()

    def slopes(a: float) -> tuple[float, float]:
        """First and second derivative of the mean cross-entropy."""
        p = (b + a * s).softmax(1)
        mean = (p * s).sum(1)
        spread = (p * (s - mean.unsqueeze(1)).square()).sum(1)
        return float(mean.mean() - own), float(spread.mean())

    if slopes(0.0)[0] >= 0:
        return 0.0
    if slopes(LARGEST)[0] < 0:
        return LARGEST
    low, high, a = 0.0, LARGEST, 1.0
    for _ in range(_STEPS):
        slope, curvature = slopes(a)
        low, high = (a, high) if slope < 0 else (low, a)
        newton = a - slope / curvature if curvature > 0 else float("inf")
        following = newton if low < newton < high else (low + high) / 2
        if abs(following - a) <= _TOLERANCE * a:
            return following
        a = following
    return a
