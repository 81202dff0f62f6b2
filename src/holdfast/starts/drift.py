"""Whether a net still makes the features that statistics were gathered of."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from holdfast.starts.statistics import FeatureStatistics

LEVEL = 1e-6
"""Means have moved where a sample like this one would come of still means more rarely than this.

Small, since a backbone in training moves its means by many deviations, and since features are not
normal: in 2,400 halvings of the digits (pixels, and random ReLU features of them), with 2 to 20 new
samples a class, the least probability was 2e-5; in 90 splits of the 15,000 training sentences of
CLINC150 (MiniLM), with 3 to 30, it was .005.
"""

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Movement:
    """How far class means of a new sample lie from those of statistics.

    Args:
        distance: root mean square over classes of the means' movement, over that of the distances
            of the means from their centre; what sampling adds to it on average is taken off.
        probability: of a sample whose means lie at least as far off, if only sampling moved them.
        classes: how many were compared.
    """

    distance: float
    probability: float
    classes: int

    @property
    def moved(self) -> bool:
        """Whether sampling does not explain it: `probability` below 1e-6."""
        return self.probability < LEVEL


def movement(
    statistics: FeatureStatistics,
    features: Float[Tensor, "n width"],
    labels: Int[Tensor, " n"],
    classes: Sequence[int],
) -> Movement | None:
    """Test whether class means have moved by more than sampling explains.

    With d_c the difference between the mean of the m_c new samples and of the n_c in the
    statistics, and S_c the covariance of the new samples within the class,

        F = sum_c |d_c|^2 / (1/m_c + 1/n_c)  /  sum_c tr(S_c).

    Both sums have the same expectation where nothing moved, and each is close to a multiple of a
    chi-squared variable (Satterthwaite, 1946): F is compared with Fisher's distribution of

        (sum_c tr S_c)^2 / sum_c tr(S_c^2)   and   (sum_c tr S_c)^2 / sum_c tr(S_c^2)/(m_c - 1)

    degrees of freedom, tr(S_c^2) without the bias it has for normal features (of a class with two
    new samples its upper bound tr(S_c)^2). Classes may spread differently, in size and direction.
    New samples that are among those of the statistics make the test cautious.

    Args:
        statistics: of features as they were.
        features: (n, width), as they are now.
        labels: (n,) their classes.
        classes: those to compare; only classes of two or more new samples are.

    Returns:
        What was found, or `None` where no class can be compared.
    """
    counts = dict(zip(statistics.classes, statistics.counts.tolist(), strict=True))
    h, y = (t.to(statistics.device) for t in (features, labels))
    own = {c: h[y == c].double() for c in classes if c in counts}
    own = {c: group for c, group in own.items() if len(group) > 1}
    if not own:
        return None
    held = statistics.means[[statistics.classes.index(c) for c in own]]
    means = torch.stack([group.mean(0) for group in own.values()])
    m = torch.tensor([len(group) for group in own.values()], dtype=torch.float64)
    n = torch.tensor([counts[c] for c in own], dtype=torch.float64)
    shifts = (means - held).square().sum(1).cpu()
    spreads = [_spread(group - mean) for group, mean in zip(own.values(), means, strict=True)]
    trace, square = torch.tensor(spreads, dtype=torch.float64).T
    rounding = _ROUNDING**2 * float(held.square().sum()) + 1e-300
    total = float(trace.sum()) + rounding
    ratio = float((shifts / (1 / m + 1 / n)).sum()) / total
    freedom = [total**2 / (float(q.sum()) + rounding**2) for q in (square, square / (m - 1))]
    from scipy.stats import f  # type: ignore[import-untyped]

    probability = f.sf(ratio, *freedom)
    between = float((held - held.mean(0)).square().sum(1).mean())
    excess = max(0.0, float((shifts - trace * (1 / m + 1 / n)).mean()))
    distance = (excess / between) ** 0.5 if between > 0 else float("inf")
    return Movement(distance, float(probability), len(m))


def _spread(centred: Tensor) -> tuple[float, float]:
    """tr(Sigma) and tr(Sigma^2) of a class, from deviations from its mean; the latter from above
    where two samples leave it open.
    """
    degrees = len(centred) - 1
    gram = centred.T @ centred if len(centred) > centred.shape[1] else centred @ centred.T
    trace, square = float(gram.trace()) / degrees, float(gram.square().sum()) / degrees**2
    if degrees == 1:
        return trace, trace**2
    unbiased = degrees**2 / ((degrees - 1) * (degrees + 2)) * (square - trace**2 / degrees)
    return trace, min(trace**2, max(unbiased, trace**2 / centred.shape[1]))


def without_drifted(
    statistics: FeatureStatistics,
    sample: tuple[Tensor, Tensor],
    old: Sequence[int],
    new: Sequence[int],
) -> tuple[FeatureStatistics | None, list[str]]:
    """The statistics less what a sample of present features contradicts, and why, in words.

    Where the means of old classes have moved, their part is replaced by the sample's own
    statistics; that takes new classes whose Grams were kept apart (``per_class``), or a sample of
    all of them.

    Args:
        statistics: of features as they were.
        sample: present features and their labels.
        old: classes that the statistics should know from before.
        new: classes that rows are wanted for.

    Returns:
        The statistics, what can be trusted in their place, or `None` if nothing can.
    """
    features, labels = sample
    known = set(labels.tolist())
    of_old, of_new = (movement(statistics, *sample, classes) for classes in (old, new))
    if of_old is None and known & set(old) & set(statistics.classes):
        return statistics, ["drift was not looked for: no old class has two samples to compare"]
    found = [(name, m) for name, m in (("old", of_old), ("new", of_new)) if m and m.moved]
    if not found:
        return statistics, []
    said = " and ".join(
        f"the means of {m.classes} {name} classes moved by {m.distance:.2g} of their distances "
        f"(by sampling alone: probability {m.probability:.0e})"
        for name, m in found
    )
    said = f"the backbone has drifted since the statistics were collected: {said}"
    present = FeatureStatistics(
        statistics.width, per_class=True, backbone=None, device=statistics.device
    ).update(features, labels)
    if of_new is None or not of_new.moved:
        apart = _apart(statistics, new)
        if apart is not None:
            again = present.subset([c for c in present.classes if c not in new])
            return apart.merge(again), [
                f"{said}; old classes count by the {again.total} samples given; collect again"
            ]
    if set(new) <= known:
        return present, [f"{said}; only the {present.total} samples given count; collect again"]
    return None, [f"{said}, and what is still true cannot be told apart; collect again"]


def _apart(statistics: FeatureStatistics, classes: Sequence[int]) -> FeatureStatistics | None:
    """The statistics of some classes where their Grams were kept."""
    if not statistics.per_class or set(classes) & set(statistics.settled):
        return None
    return statistics.subset(classes)
