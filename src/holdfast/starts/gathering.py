"""Features of the samples at hand between tasks: their statistics, and some of them."""

from collections.abc import Collection, Iterable, Iterator

import torch
from torch import Tensor

from holdfast.nets.learner import Learner
from holdfast.nets.modes import evaluation_mode, uses_batch_statistics
from holdfast.starts.fingerprint import fingerprint
from holdfast.starts.statistics import FeatureStatistics
from holdfast.streams.batches import Batch

PASSED = 1024
"""Samples of one forward pass."""


class Gathering:
    """Statistics of the features of some classes, and a sample of features of more.

    Classes go by their columns in the learner's head. The learner is in evaluation mode while it
    is asked, and its mode put back.

    Args:
        learner: as it is now.
        per_class: see `FeatureStatistics`.
        limit: about as many features are kept of each source.

    Attributes:
        statistics: `None` while nothing was counted.
    """

    def __init__(self, learner: Learner, per_class: bool, limit: int) -> None:
        self.learner, self.per_class, self.limit = learner, per_class, limit
        self.statistics: FeatureStatistics | None = None
        self._backbone = fingerprint(learner.backbone)
        self._kept: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def take(
        self,
        batches: Iterable[Batch],
        total: int,
        counted: Collection[int],
        sampled: Collection[int] = (),
    ) -> None:
        """Pass a source.

        Args:
            batches: of it, in the learner's columns.
            total: number of its samples; every (total / limit)-th may be kept.
            counted: columns of the classes whose samples enter the statistics.
            sampled: of those whose features may be kept.
        """
        if not counted and not sampled:
            return
        every, position = -(-total // self.limit), 0
        whole = uses_batch_statistics(self.learner.backbone)
        with evaluation_mode(self.learner.backbone):
            for batch in batches:
                place = torch.arange(position, position + len(batch), device=batch.y.device)
                position += len(batch)
                counts = _among(batch.y, counted)
                shows = _among(batch.y, sampled) & (place % every == 0)
                rows = (counts | shows).nonzero().flatten()
                if len(rows) == 0:
                    continue
                if len(rows) < len(batch) and not whole:
                    batch = _part(batch, rows)
                    counts, shows = counts[rows], shows[rows]
                features = self.learner.features(batch.x, batch.task)
                if bool(counts.any()):
                    self._count(features[counts], batch.y[counts])
                if bool(shows.any()):
                    self._kept.append((features[shows], batch.y[shows]))

    def _count(self, features: Tensor, columns: Tensor) -> None:
        if self.statistics is None:
            self.statistics = FeatureStatistics(
                features.shape[1],
                per_class=self.per_class,
                backbone=self._backbone,
                device=features.device,
            )
        self.statistics.update(features, columns)

    @property
    def counted(self) -> set[int]:
        """Columns of the classes that were counted."""
        return set() if self.statistics is None else set(self.statistics.classes)

    def sample(self, statistics: FeatureStatistics | None) -> tuple[Tensor, Tensor] | None:
        """Features (n, width) and columns (n,) that were kept; `None` where there are none.

        Of each class at most as many as `statistics` hold.
        """
        if not self._kept:
            return None
        features, columns = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
        if statistics is None:
            return features, columns
        held = dict(zip(statistics.classes, statistics.counts.tolist(), strict=True))
        own = torch.nn.functional.one_hot(columns, int(columns.max()) + 1)
        nth = own.cumsum(0).gather(1, columns.unsqueeze(1)).squeeze(1)
        most = torch.tensor([held.get(c, len(columns)) for c in range(own.shape[1])])
        chosen = nth <= most.to(columns.device)[columns]
        return features[chosen], columns[chosen]


def pieces(samples: Batch, device: torch.device) -> Iterator[Batch]:
    """A large batch in batches for one pass each, on the device."""
    for start in range(0, len(samples), PASSED):
        part = slice(start, start + PASSED)
        task = samples.task[part] if isinstance(samples.task, Tensor) else samples.task
        moved = task.to(device) if isinstance(task, Tensor) else task
        yield Batch(samples.x[part].to(device), samples.y[part].to(device), moved)


def distinct(samples: Batch) -> Batch:
    """Each sample once: a memory may have met one in several epochs."""
    _, which = samples.x.flatten(1).unique(dim=0, return_inverse=True)
    first = torch.full((int(which.max()) + 1,), len(which), device=which.device)
    place = torch.arange(len(which), device=which.device)
    first.scatter_reduce_(0, which, place, "amin")
    if len(first) == len(which):
        return samples
    return _part(samples, first.sort().values)


def _among(columns: Tensor, chosen: Collection[int]) -> Tensor:
    return torch.isin(columns, torch.tensor(sorted(chosen), dtype=torch.int64).to(columns.device))


def _part(batch: Batch, rows: Tensor) -> Batch:
    task = batch.task[rows] if isinstance(batch.task, Tensor) else batch.task
    return Batch(batch.x[rows], batch.y[rows], task)
