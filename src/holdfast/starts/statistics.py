"""Sufficient statistics of features in one pass and constant memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from holdfast.starts.arriving import batch
from holdfast.starts.class_sums import ClassSums
from holdfast.starts.down_date import check_removal
from holdfast.starts.kinship import Origin, common_backbone
from holdfast.starts.moments import Moments, Weighting
from holdfast.starts.products import augmented
from holdfast.starts.reduction import reduced
from holdfast.starts.scatters import Scatters, few
from holdfast.starts.statistics_file import read_state, write_state


class FeatureStatistics:
    """What a closed-form head needs of features h and their classes: n_c, sum h and sum h h^T.

    One pass over batches of any size fills them; they are float64 sums, so statistics of shards, of
    workers and of tasks are merged by addition, and samples are taken out by subtraction. Features
    of float16, bfloat16 and float32 are made float64 before anything is summed: their products are
    exact then (what rounding features to float16 took from them before is gone all the same).

    Memory is 8 (C d + d^2) bytes, and 8 C d^2 with ``per_class`` until classes are settled. A raw
    second moment is kept, not a centred one: features whose mean is k times their spread lose
    2 log10(k) of the 16 digits.

    Args:
        width: number d of features.
        per_class: keep the Gram matrix of each class apart: what class-balanced weights, subsets of
            classes and `settle` need. Large batches, or batches of few classes, fill them faster.
        backbone: `holdfast.starts.fingerprint` of the net that makes the features; `None`: unknown.
        device: where the sums lie; features are brought there. Accelerators add in no fixed order:
            sums repeat bit for bit on the CPU alone.

    Raises:
        ValueError: a width below 1.

    >>> features = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> FeatureStatistics(2).update(features, torch.tensor([7, 3, 7])).means
    tensor([[3., 4.],
            [3., 4.]], dtype=torch.float64)
    """

    def __init__(
        self,
        width: int,
        *,
        per_class: bool = False,
        backbone: str | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        self.width = width
        self.backbone = backbone
        self.batches = 0
        self._by_class = ClassSums(width, device)
        self._scatters = Scatters(width, per_class, device)

    @property
    def per_class(self) -> bool:
        """Whether the Gram matrices of classes are kept apart."""
        return self._scatters.per_class

    @property
    def device(self) -> torch.device:
        """Where the sums lie."""
        return self._scatters.pool.device

    @property
    def classes(self) -> tuple[int, ...]:
        """Labels in the order of their arrival: that of the rows of counts, sums and means."""
        return tuple(self._by_class.positions)

    @property
    def settled(self) -> tuple[int, ...]:
        """Classes whose Gram matrices were folded together by `settle`."""
        pooled = self._scatters.pooled if self.per_class else set()
        return tuple(c for c in self.classes if c in pooled)

    @property
    def counts(self) -> Int64[Tensor, " classes"]:
        """Samples of each class."""
        return self._by_class.counts.clone()

    @property
    def total(self) -> int:
        """Samples of all classes."""
        return int(self.counts.sum())

    @property
    def sums(self) -> Float64[Tensor, "classes width"]:
        """Sum of the features of each class."""
        return self._by_class.sums.clone()

    @property
    def means(self) -> Float64[Tensor, "classes width"]:
        """Mean feature of each class."""
        return self.sums / self.counts.unsqueeze(1)

    @property
    def gram(self) -> Float64[Tensor, "inputs inputs"]:
        """Sum over all samples of [h, 1] [h, 1]^T, (d+1, d+1), the bias row last."""
        return self._gram(self.classes)

    @property
    def class_grams(self) -> Float64[Tensor, "classes inputs inputs"] | None:
        """The Gram matrix of each class, made when asked for; `None` where one is not apart."""
        if not self.classes or self._scatters.pooled:
            return None
        return torch.stack([self._gram([c]) for c in self.classes])

    @property
    def can_balance(self) -> bool:
        """Whether class-balanced moments are known: kept apart, or the same as by frequency."""
        return self.per_class or len(self.counts.unique()) == 1

    def update(self, features: Tensor, labels: Tensor) -> "FeatureStatistics":
        """Take a batch in; returns self. A batch that is refused changes nothing.

        Args:
            features: (n, width), float16, bfloat16, float32 or float64.
            labels: (n,) integers >= 0, the class of each row.

        Raises:
            TypeError: features or labels of another kind.
            ValueError: another width, no samples, labels of another number or below 0, a feature
                that is not finite (naming batch and row), or a class that is settled.
        """
        arrived = batch(features, labels, self.width, self.batches, self.device)
        self._refuse_settled(arrived.classes)
        self._scatters.add(arrived.features, arrived.positions, arrived.classes)
        self._by_class.add(arrived.features, arrived.positions, arrived.classes)
        self.batches += 1
        return self

    def remove(self, features: Tensor, labels: Tensor) -> "FeatureStatistics":
        """Take samples out that were taken in; returns self. A refusal changes nothing.

        What is left equals statistics of the rest up to the rounding of what was there: about 1e-16
        of the larger sums. A class without samples left is forgotten.

        Args:
            features: (n, width), as they were in `update`.
            labels: (n,) their classes.

        Raises:
            TypeError, ValueError: as `update`.
            ValueError: more samples of a class than it has, a class that is settled, or samples
                that cannot have been among those taken in: the Gram matrix left has an
                eigenvalue below -1e-10 of its largest diagonal element before.
        """
        leaving = batch(features, labels, self.width, 0, self.device)
        self._refuse_settled(leaving.classes)
        held = self._by_class.sizes
        counts = leaving.positions.bincount().tolist()
        for c, count in zip(leaving.classes, counts, strict=True):
            if count > held.get(c, 0):
                raise ValueError(
                    f"cannot remove {count} samples of class {c}: the statistics hold "
                    f"{held.get(c, 0)}"
                )
        parts = leaving.features, leaving.positions, leaving.classes
        left = self._alike()
        left.batches = self.batches
        left._by_class = self._by_class.without(*parts)
        left._scatters = self._scatters.without(*parts)
        groups = [(c,) for c in leaving.classes] if self.per_class else [self.classes]
        for group in groups:
            check_removal(self._gram(group), left._gram(group), f"classes {few(group)}")
        left._scatters.forget(left._by_class.forget_empty())
        self.__dict__.update(left.__dict__)
        return self

    def merge(self, other: "FeatureStatistics") -> "FeatureStatistics":
        """The statistics of the samples of both, a new object on the device of this one.

        Classes come in the order of this one, then the other's new ones; but for that order
        ``a + b`` and ``b + a`` are equal bit for bit.

        Raises:
            TypeError: `other` is no `FeatureStatistics`.
            ValueError: widths or backbones differ, one keeps its classes apart and the other does
                not, or a class that one of them has settled is in both.
        """
        if not isinstance(other, FeatureStatistics):
            raise TypeError(f"other must be FeatureStatistics, got {type(other).__name__}")
        merged = self._alike()
        merged.backbone = common_backbone([self._origin(), other._origin()])
        merged.batches = self.batches + other.batches
        merged._by_class.add_sums(self._by_class, self.classes)
        merged._by_class.add_sums(other._by_class, other.classes)
        merged._scatters = self._scatters.merged(other._scatters)
        return merged

    def __add__(self, other: "FeatureStatistics") -> "FeatureStatistics":
        return self.merge(other) if isinstance(other, FeatureStatistics) else NotImplemented

    def settle(self, classes: Sequence[int] | None = None) -> None:
        """Fold the Gram matrices of complete classes into one: memory no longer grows with them.

        Frequency and balanced moments stay the same, of all classes, of the settled ones together
        and of any that are not settled; a settled class takes no more samples.

        Args:
            classes: those to settle; `None`: all classes seen.

        Raises:
            ValueError: the statistics were made without ``per_class``, or a class is unknown.
        """
        if not self.per_class:
            raise ValueError("settle needs statistics made with per_class=True; nothing to fold")
        chosen = self.classes if classes is None else self._known(classes)
        self._scatters.settle(chosen, self._by_class.sizes)

    def moments(
        self, classes: Sequence[int] | None = None, weighting: Weighting = "frequency"
    ) -> Moments:
        """Weighted means of [h, 1] [h, 1]^T and of the targets' products, ready to be solved.

        Args:
            classes: those whose samples count, in the order of the rows; `None`: all, by arrival.
            weighting: ``frequency``: each sample counts 1/N; ``balanced``: 1/(C n_c).

        Raises:
            ValueError: there are no samples, a class is unknown or named twice, or the Gram
                matrices of these classes, or with these weights, were not kept apart (with the
                remedy).
        """
        if weighting not in ("frequency", "balanced"):
            raise ValueError(f"weighting must be 'frequency' or 'balanced', got {weighting!r}")
        if not self.classes:
            raise ValueError("the statistics hold no samples yet; give them some with update")
        chosen = self.classes if classes is None else self._known(classes)
        self._scatters.check_separable(chosen)
        rows = self._by_class.rows(chosen)
        counts = self._by_class.counts[rows].double()
        if weighting == "balanced":
            weights = torch.full_like(counts, 1 / len(chosen))
            scatter = self._scatters.mean(chosen, self._by_class.sizes)
        else:
            weights = counts / counts.sum()
            scatter = self._scatters.total(chosen) / counts.sum()
        means = self._by_class.sums[rows] / counts.unsqueeze(1)
        cross = torch.cat([means, torch.ones_like(means[:, :1])], 1) * weights.unsqueeze(1)
        by_label = torch.tensor(chosen, device=self.device).argsort()
        gram = augmented(scatter, cross[by_label, :-1].sum(0), 1.0)
        return Moments(gram, cross, weights, chosen, int(counts.sum()))

    def subset(self, classes: Sequence[int]) -> "FeatureStatistics":
        """The statistics of some classes, in the order named; a new object.

        Raises:
            ValueError: a class is unknown or named twice, or their Gram matrices were not kept
                apart.
        """
        chosen = self._known(classes)
        self._scatters.check_separable(chosen)
        part = self._alike()
        part.batches = self.batches
        part._by_class.add_sums(self._by_class, chosen)
        part._scatters = self._scatters.subset(chosen)
        return part

    def all_reduce(self, group: Any = None) -> "FeatureStatistics":
        """The statistics of the samples of all processes, the same on each; a new object.

        Every process of the group must call it; they may know different classes, or none. Classes
        come in the order of the ranks.

        Args:
            group: a `torch.distributed.ProcessGroup`; `None`: all processes.

        Raises:
            RuntimeError: torch.distributed is not initialised.
            ValueError: on every process: what `merge` refuses.
        """
        state = reduced(self.state_dict(), self._origin(), self.device, group)
        return self.from_state(state, self.device)

    def state_dict(self) -> dict[str, Any]:
        """All there is: tensors, and values that JSON holds."""
        return {
            "width": self.width,
            "per_class": self.per_class,
            "backbone": self.backbone,
            "batches": self.batches,
            **self._by_class.state_dict(),
            **self._scatters.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Become what `state_dict` described, on the device of these statistics.

        Raises:
            KeyError: the state lacks an entry.
            ValueError: it has another width, or classes are kept apart in one and not the other.
        """
        if state["width"] != self.width or state["per_class"] != self.per_class:
            raise ValueError(
                f"the state has width {state['width']} and per_class={state['per_class']}; these "
                f"statistics have {self.width} and {self.per_class}"
            )
        self.__dict__.update(self.from_state(state, self.device).__dict__)

    @classmethod
    def from_state(
        cls, state: dict[str, Any], device: torch.device | str = "cpu"
    ) -> "FeatureStatistics":
        """The statistics that `state_dict` described.

        Raises:
            KeyError: the state lacks an entry.
        """
        found = cls(
            state["width"], per_class=state["per_class"], backbone=state["backbone"], device=device
        )
        found.batches = state["batches"]
        found._by_class.load_state_dict(state)
        found._scatters.load_state_dict(state)
        return found

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file; it is whole, or as it was before.

        Raises:
            OSError: the file could not be written.
        """
        write_state(Path(path), self.state_dict())

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> "FeatureStatistics":
        """Read what `save` wrote. Nothing is unpickled.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is cut short, damaged, or holds something else.
        """
        return cls.from_state(read_state(Path(path)), device)

    def __repr__(self) -> str:
        kept = ", per_class=True" if self.per_class else ""
        return (
            f"FeatureStatistics(width={self.width}{kept}: {len(self.classes)} classes, "
            f"{self.total} samples)"
        )

    def _alike(self) -> "FeatureStatistics":
        return FeatureStatistics(
            self.width, per_class=self.per_class, backbone=self.backbone, device=self.device
        )

    def _origin(self) -> Origin:
        return Origin(self.width, self.per_class, self.backbone, self.classes, self.settled)

    def _gram(self, classes: Sequence[int]) -> Tensor:
        rows = self._by_class.rows(sorted(classes))
        counts, sums = self._by_class.counts[rows], self._by_class.sums[rows]
        return augmented(self._scatters.total(classes), sums.sum(0), int(counts.sum()))

    def _known(self, classes: Sequence[int]) -> tuple[int, ...]:
        chosen = tuple(int(c) for c in classes)
        strangers = [c for c in chosen if c not in self._by_class.positions]
        if strangers or not chosen:
            raise ValueError(
                f"classes must be some of those seen, {few(self.classes)}; got {few(strangers)}"
            )
        if len(set(chosen)) < len(chosen):
            raise ValueError(f"classes must be named once each, got {few(chosen)}")
        return chosen

    def _refuse_settled(self, classes: Sequence[int]) -> None:
        settled = self._scatters.pooled & set(classes) if self.per_class else None
        if settled:
            raise ValueError(
                f"classes {few(settled)} are settled: their samples can no longer change; settle "
                "classes when they are complete"
            )
