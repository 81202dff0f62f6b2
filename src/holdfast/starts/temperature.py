"""The one number by which scores are multiplied to have the least cross-entropy."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_STEPS = 100
_TOLERANCE = 1e-10


def fit_scale(
    scores: Float[Tensor, "n classes"],
    labels: Int[Tensor, " n"],
    base: Float[Tensor, "n classes"] | None = None,
) -> float:
    """The a >= 0 of least mean cross-entropy of ``softmax(base + a * scores)``.

    Least-squares scores lie in [0, 1], where softmax is all but uniform; 1/a is the temperature at
    which they become probabilities. Scores that separate the classes would have no finite a; as
    Platt (1999) does for two classes, the targets are those of one sample more whose label says
    nothing, (n y + 1/C) / (n + 1).

    The cross-entropy is convex in a: Newton's steps, with a bisection wherever one leaves the
    interval known to hold the minimum.

    Args:
        scores: (n, C).
        labels: (n,) columns of the right classes.
        base: (n, C) logits to start from; `None`: zero.

    Returns:
        a; 0 where the scores do not help.

    Raises:
        ValueError: no samples, or scores that are not finite.

    >>> scores = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    >>> round(fit_scale(scores, torch.tensor([0, 0, 0, 1])), 6)  # 3.5 of 5 right: log(3.5/1.5)
    0.847298
    """
    s = scores.double()
    b = torch.zeros_like(s) if base is None else base.double()
    if len(s) == 0 or not (s.isfinite().all() and b.isfinite().all()):
        raise ValueError("scores must be finite and of at least one sample")
    own = s.gather(1, labels.long().unsqueeze(1)).mean()
    aim = (len(s) * own + s.mean()) / (len(s) + 1)

    def slopes(a: float) -> tuple[float, float]:
        """First and second derivative of the mean cross-entropy."""
        p = (b + a * s).softmax(1)
        mean = (p * s).sum(1)
        spread = (p * (s - mean.unsqueeze(1)).square()).sum(1)
        return float(mean.mean() - aim), float(spread.mean())

    if slopes(0.0)[0] >= 0:
        return 0.0
    low, high = 0.0, 1 / float(s.std(1, correction=0).mean())
    while slopes(high)[0] < 0:
        low, high = high, 2 * high
    a = high
    for _ in range(_STEPS):
        slope, curvature = slopes(a)
        low, high = (a, high) if slope < 0 else (low, a)
        newton = a - slope / curvature if curvature > 0 else float("inf")
        following = newton if low < newton < high else (low + high) / 2
        if abs(following - a) <= _TOLERANCE * a:
            return following
        a = following
    return a
