"""What a head does before the first step on new classes, and how its new rows came about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from holdfast.starts.heads import Replacement
from holdfast.starts.ridge_choice import Loss

_AT_ONCE = 4096


@dataclass(frozen=True)
class Score:
    """Mean loss and accuracy over some samples.

    Args:
        loss: cross-entropy, or half the squared distance to the one-hot target.
        accuracy: share of samples whose largest logit is that of their class.
        samples: how many.
    """

    loss: float
    accuracy: float
    samples: int


@dataclass(frozen=True)
class Scores:
    """Scores over samples of old classes, of new ones, and over all; `None` without samples."""

    old: Score | None = None
    new: Score | None = None
    all: Score | None = None


@dataclass(frozen=True)
class GrowthReport:
    """How the rows of new classes were set, and what the head does with them before any training.

    Args:
        asked: the start that was asked for.
        start: the start that was done; another where `notes` say why.
        loss: that the head was prepared for, and that is scored.
        scale: by which least-squares rows were multiplied; `None`: by nothing.
        ridge_asked: the ridge, or how to choose it.
        ridge: the lambda used, on the scale of means; `None`: nothing was solved.
        condition: condition number of the matrix that was solved.
        columns: the logit column of each class, old and new.
        notes: fallbacks, and what to be wary of, in words.
        before: scores of the head as it was, which has no logits for new classes: of old ones only.
        after: scores of the head as it is.
        random: scores it would have with random new rows, for comparison.
        replacements: parameters and what they became, for `grow_optimizer`.
    """

    asked: str
    start: str
    loss: Loss
    scale: float | None
    ridge_asked: float | str
    ridge: float | None
    condition: float | None
    columns: Mapping[int, int]
    notes: tuple[str, ...]
    before: Scores
    after: Scores
    random: Scores
    replacements: tuple[Replacement, ...] = field(repr=False)

    def text(self) -> str:
        """A small table: loss and accuracy before the first step."""
        done = self.start if self.start == self.asked else f"{self.start}, not {self.asked}"
        facts = [f"start: {done}"]
        facts += [f"scale {self.scale:.3g}"] if self.scale is not None else []
        if self.ridge is not None:
            chosen = isinstance(self.ridge_asked, str) and self.start != "lda"
            how = f" by {self.ridge_asked}" if chosen else ""
            facts.append(f"ridge {self.ridge:.2g}{how}")
        if self.condition is not None and not isnan(self.condition):
            facts.append(f"condition {self.condition:.2g}")
        lines = [", ".join(facts)]
        table = {"old head": self.before, "random rows": self.random, "this start": self.after}
        if self.after.all is not None:
            lines.append(f"{self.loss:<14}{'old':>16}{'new':>16}{'all':>16}")
            lines += [
                f"{name:<14}" + "".join(f"{_cell(s):>16}" for s in (row.old, row.new, row.all))
                for name, row in table.items()
            ]
        else:
            lines.append("not scored: no samples were given (test= or sample=)")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def score(
    rows: Float64[Tensor, "rows inputs"],
    columns: Mapping[int, int],
    features: Float[Tensor, "n width"],
    labels: Int[Tensor, " n"],
    old: frozenset[int],
    loss: Loss,
) -> Scores:
    """Loss and accuracy of a head on samples of old and new classes.

    Rows that belong to no class count as they do in training: their logits are there.

    Args:
        rows: (C, d+1), the bias last.
        columns: the row of each class.
        features: (n, width).
        labels: (n,) classes; samples of classes without a row are left out.
        old: classes that are old; all others are new.
        loss: what to score.
    """
    y = labels.tolist()
    chosen = [i for i, c in enumerate(y) if c in columns]
    if not chosen:
        return Scores()
    targets = torch.tensor([columns[y[i]] for i in chosen], device=rows.device)
    is_old = torch.tensor([y[i] in old for i in chosen], dtype=torch.bool)
    losses, hits = [], []
    for part, aim in zip(
        torch.tensor(chosen, dtype=torch.int64).split(_AT_ONCE),
        targets.split(_AT_ONCE),
        strict=True,
    ):
        h = features[part.to(features.device)].to(rows)
        logits = h @ rows[:, :-1].T + rows[:, -1]
        losses.append(_losses(logits, aim, loss).cpu())
        hits.append((logits.argmax(1) == aim).cpu())
    each, right = torch.cat(losses), torch.cat(hits).double()

    def mean(which: Tensor) -> Score | None:
        count = int(which.sum())
        if count == 0:
            return None
        return Score(float(each[which].mean()), float(right[which].mean()), count)

    new = mean(~is_old)
    everything = torch.ones_like(is_old)
    return Scores(mean(is_old), new, mean(everything))


def _losses(logits: Tensor, columns: Tensor, loss: Loss) -> Tensor:
    if loss == "cross_entropy":
        return torch.nn.functional.cross_entropy(logits, columns, reduction="none")
    # |y - e_k|^2 without the one-hot matrix.
    own = logits.gather(1, columns.unsqueeze(1)).squeeze(1)
    return (logits.square().sum(1) - 2 * own + 1) / 2


def _cell(score: Score | None) -> str:
    return "-" if score is None else f"{score.loss:.3f} {score.accuracy:7.1%}"
