"""What a start of new rows is asked for, and what it gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64
from torch import Tensor

from holdfast.starts.moments import Moments, Weighting
from holdfast.starts.ridge import BiasForm, Ridge, solve_ridge
from holdfast.starts.ridge_choice import Criterion, Finish, Loss, choose_ridge
from holdfast.starts.sample import Sample
from holdfast.starts.statistics import FeatureStatistics


@dataclass(frozen=True)
class Rows:
    """Rows of a linear head, biases last, and how they came about.

    Args:
        new: (n_new, d+1) rows of the new classes, in the order asked.
        old: (n_old, d+1) rows to put in the place of the old ones; `None`: these stay.
        start: the start that was done in the end.
        scale: what least-squares rows were multiplied by; `None`: by nothing.
        ridge: the lambda used, on the scale of means; `None`: nothing was solved.
        condition: condition number of the matrix that was solved.
        notes: what was done otherwise than asked, and what to be wary of, in words.
    """

    new: Float64[Tensor, "new inputs"]
    old: Float64[Tensor, "known inputs"] | None
    start: str
    scale: float | None = None
    ridge: float | None = None
    condition: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """A request for rows, checked, and what all starts compute alike.

    Args:
        statistics: of the features; `None` for starts that look at none.
        old: (K, d+1) trained rows.
        old_classes: their classes.
        new_classes: the classes that rows are wanted for.
        loss: what the head will be trained with.
        ridge: lambda, or the criterion to choose it by.
        weighting: of the samples; `None`: balanced where the statistics can.
        bias: the form of the bias.
        features: samples that are in the statistics, with their labels.
        shrinkage: of the scatter in discriminant analysis; `None`: estimated.
        generator: that random numbers are drawn from.
    """

    statistics: FeatureStatistics | None
    old: Float64[Tensor, "known inputs"]
    old_classes: tuple[int, ...]
    new_classes: tuple[int, ...]
    loss: Loss
    ridge: float | Criterion
    weighting: Weighting | None
    bias: BiasForm
    features: tuple[Tensor, Tensor] | None
    shrinkage: float | None
    generator: torch.Generator

    @cached_property
    def seen(self) -> FeatureStatistics:
        """The statistics of a start that needs them."""
        if self.statistics is None:
            raise ValueError("this start needs statistics of features, got None")
        return self.statistics

    @cached_property
    def known_old(self) -> tuple[int, ...]:
        """Old classes that the statistics hold samples of."""
        held = set(self.statistics.classes) if self.statistics is not None else set()
        return tuple(c for c in self.old_classes if c in held)

    def old_rows(self, classes: Sequence[int]) -> Float64[Tensor, "chosen inputs"]:
        """The trained rows of some classes, on the device of the statistics."""
        rows = self.old[[self.old_classes.index(c) for c in classes]]
        return rows.to(self.seen.device)

    def moments(self, classes: Sequence[int]) -> Moments:
        """Moments of the samples of some classes."""
        balance = self.weighting is None and self.seen.can_balance
        return self.seen.moments(classes, "balanced" if balance else self.weighting or "frequency")

    def sample(self, moments: Moments) -> Sample | None:
        """The samples given, as they are in some moments; `None` where none are."""
        if self.features is None:
            return None
        found = Sample.of(moments, self.seen, *self.features)
        return found if len(found.columns) else None

    def solve(self, moments: Moments, finish: Finish | None = None) -> tuple[Ridge, list[str]]:
        """Least squares with the ridge given or chosen, and what there is to say about it.

        A ridge is chosen by squared error, or, where the head that comes of the solution is known,
        by its cross-entropy.
        """
        notes = []
        ridge = self.ridge
        if isinstance(ridge, str):
            choice = choose_ridge(
                moments,
                ridge,
                bias=self.bias,
                sample=self.sample(moments),
                loss="mse" if finish is None else "cross_entropy",
                finish=finish,
            )
            ridge = choice.ridge
            if choice.at_edge:
                notes.append(f"the ridge chosen, {ridge:.1e}, is at the edge of those tried")
        solved = solve_ridge(moments, ridge, bias=self.bias)
        if solved.escalations:
            notes.append(
                f"the Gram matrix is singular to working precision at a ridge of "
                f"{solved.asked:.1e}: raised to {solved.ridge:.1e}"
            )
        return solved, notes

    def few_samples(self) -> list[str]:
        """A warning if a new class has one sample only."""
        held = dict(zip(self.seen.classes, self.seen.counts.tolist(), strict=True))
        single = [c for c in self.new_classes if held[c] == 1]
        if not single:
            return []
        return [f"one sample each of the new classes {list_few(single)}: their rows lean on it"]


def list_few(classes: Sequence[int]) -> str:
    """The first of many classes."""
    shown = ", ".join(map(str, classes[:8]))
    return f"[{shown}, ...]" if len(classes) > 8 else f"[{shown}]"
