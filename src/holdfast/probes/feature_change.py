"""How far the activations of the same samples changed between two moments."""

from collections.abc import Sequence
from math import nan
from typing import Any, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from holdfast.nets.learner import Learner
from holdfast.probes.activations import Activations, activations
from holdfast.probes.probe import Phase
from holdfast.probes.shown import shown_samples, shown_task
from holdfast.streams.batches import Batch


class Change(NamedTuple):
    """Of one layer between two moments: `gram_change`, and `pattern_change` or NaN."""

    gram: float
    pattern: float


def gram_change(before: Float[Tensor, "n d"], after: Float[Tensor, "_ e"]) -> float:
    """Change of the normalised Gram matrix of features of the same samples.

        | K / |K| - K' / |K'| |_F,    K = H H^T, K' = H' H'^T

    Lies in [0, sqrt 2], as sqrt(2 (1 - `kernel_alignment`(K, K'))). It does not see rotations and a
    common factor, and is not centred: of features with a large common part, such as those of a
    ReLU, it is small. NaN where features are all 0. Computed in float64. Lyle et al., 2026.

    Raises:
        ValueError: different numbers of samples.

    >>> import torch
    >>> h = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> round(gram_change(h, torch.tensor([[1.0, 0.0], [0.0, 0.0]])), 6)  # sqrt(2 - sqrt 2)
    0.765367
    """
    if len(before) != len(after):
        raise ValueError(
            f"before and after must be features of the same samples, got {len(before)} and "
            f"{len(after)}"
        )
    a, b = before.double(), after.double()
    k, m = a @ a.T, b @ b.T
    return (k / k.norm() - m / m.norm()).norm().item()


def pattern_change(before: Bool[Tensor, "*shape"], after: Bool[Tensor, "*other"]) -> float:
    """Share of signs h > 0, one a sample, position and unit, that are not what they were.

    For a ReLU, of the binary pattern of which units fire on which sample: while it stays, each
    sample takes the same paths through the network. Lyle et al., 2026.

    Raises:
        ValueError: the shapes differ.

    >>> import torch
    >>> pattern_change(torch.tensor([[True, False]]), torch.tensor([[True, True]]))
    0.5
    """
    if before.shape != after.shape:
        raise ValueError(
            f"before and after must be signs of the same samples and units, got shapes "
            f"{tuple(before.shape)} and {tuple(after.shape)}"
        )
    return (before != after).double().mean().item()


def feature_change(
    before: Sequence[Activations], after: Sequence[Activations]
) -> dict[str, Change]:
    """The change of each layer between two moments, both `activations` of one model and batch.

    The pattern is that of at most 16 positions; NaN for a nonlinearity whose outputs do not tell
    the sign of its inputs (a sigmoid, a softplus).

    Raises:
        ValueError: other layers, or of other shapes.
    """
    shapes = [{a.name: tuple(a.pattern.shape) for a in moment} for moment in (before, after)]
    if shapes[0] != shapes[1]:
        other = sorted(dict(set(shapes[0].items()) ^ set(shapes[1].items())))
        raise ValueError(
            "before and after must be activations of the same samples in the same layers, which "
            f"is not so of {', '.join(other)}"
        )
    return {
        then.name: Change(
            gram_change(then.features, now.features),
            pattern_change(then.pattern, now.pattern) if now.known.signed else nan,
        )
        for then, now in zip(before, after, strict=True)
    }


class FeatureChange:
    """Probe: how far training on the current task changed what nonlinearities put out.

    - ``gram``: `gram_change` since just before the current task, a mean over nonlinearities;
    - ``pattern``: `pattern_change` likewise.

    Of the penultimate features alone `FeatureMovement` tells more: its ``kernel_moved`` is half the
    square of their `gram_change`. NaN without `before`, or where layers or their widths changed.
    It keeps features and signs of n samples of each task and layer, in checkpoints too.

    Args:
        samples: n, of those that probes are shown, evenly spaced.

    Raises:
        ValueError: `samples` is less than 2.
    """

    columns = ("gram", "pattern", "gram.own", "pattern.own")

    def __init__(self, samples: int = 64) -> None:
        if samples < 2:
            raise ValueError(f"samples must be 2 or more, got {samples}")
        self.samples = samples
        self._before: dict[str, list[dict[str, Any]]] = {}

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        """Remember what the nonlinearities put out."""
        if phase.index == 0:  # of another run
            self._before = {}
        self._before[shown_task(batch)] = [
            {"name": a.name, "features": a.features, "pattern": a.pattern}
            for a in self._seen(learner, batch)
        ]

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """The change since `before`."""
        then, now = self._before.get(shown_task(batch), []), self._seen(learner, batch)
        was = [(a["name"], tuple(a["pattern"].shape)) for a in then]
        if was != [(a.name, tuple(a.pattern.shape)) for a in now]:
            return {"gram": nan, "pattern": nan}
        pairs = list(zip(then, now, strict=True))
        grams = [gram_change(a["features"].to(b.features), b.features) for a, b in pairs]
        patterns = [
            pattern_change(a["pattern"].to(b.pattern), b.pattern)
            for a, b in pairs
            if b.known.signed
        ]
        return {"gram": _mean(grams), "pattern": _mean(patterns)}

    def state_dict(self) -> dict[str, Any]:
        """What the nonlinearities put out before the current task."""
        return {"before": self._before}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._before = dict(state["before"])

    def _seen(self, learner: Learner, batch: Batch) -> tuple[Activations, ...]:
        return activations(learner, shown_samples(batch, self.samples))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else nan
