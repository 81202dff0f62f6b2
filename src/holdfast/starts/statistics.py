"""Sufficient statistics of features, class by class, in memory that no number of samples changes."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.distributed import ProcessGroup

from holdfast.starts.arriving import batch
from holdfast.starts.down_date import check_removal
from holdfast.starts.moments import Moments, Weighting
from holdfast.starts.products import add_products, add_rows, augmented, by_position
from holdfast.starts.reduction import reduced
from holdfast.starts.statistics_file import read_state, write_state


class FeatureStatistics:
    """What a closed-form head needs of features h (n, width) and their classes: n_c, sum h, sum h h^T.

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
            classes and `settle` need.
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
        self.per_class = per_class
        self.backbone = backbone
        self.batches = 0
        self._positions: dict[int, int] = {}
        self._counts = torch.zeros(0, dtype=torch.int64, device=device)
        self._sums = torch.zeros(0, width, dtype=torch.float64, device=device)
        # The pool: the products of all classes that have no Gram of their own, upper triangles.
        self._pool = self._sums.new_zeros(width, width)
        self._balanced_pool = self._sums.new_zeros(width, width) if per_class else None
        self._apart: dict[int, Tensor] = {}

    @property
    def device(self) -> torch.device:
        """Where the sums lie."""
        return self._pool.device

    @property
    def classes(self) -> tuple[int, ...]:
        """Labels seen, in the order of their arrival: that of the rows of `counts`, `sums`, `means`."""
        return tuple(self._positions)

    @property
    def settled(self) -> tuple[int, ...]:
        """Classes whose Grams were folded together, by `settle`."""
        return tuple(c for c in self._positions if self.per_class and c not in self._apart)

    @property
    def counts(self) -> Int64[Tensor, " classes"]:
        """Samples of each class."""
        return self._counts[: len(self._positions)].clone()

    @property
    def total(self) -> int:
        """Samples of all classes."""
        return int(self.counts.sum())

    @property
    def sums(self) -> Float64[Tensor, "classes width"]:
        """Sum of the features of each class."""
        return self._sums[: len(self._positions)].clone()

    @property
    def means(self) -> Float64[Tensor, "classes width"]:
        """Mean feature of each class."""
        return self.sums / self.counts.unsqueeze(1)

    @property
    def gram(self) -> Float64[Tensor, "inputs inputs"]:
        """Sum over all samples of [h, 1] [h, 1]^T, (d+1, d+1), the bias row last."""
        scatter = self._scatter(self.classes)
        return augmented(scatter, self._summed(self.classes), self.total)

    @property
    def class_grams(self) -> Float64[Tensor, "classes inputs inputs"] | None:
        """The same for each class; `None` where a class has none of its own. Made when asked for."""
        if not self._positions or len(self._apart) < len(self._positions):
            return None
        counts = self.counts.tolist()
        return torch.stack(
            [
                augmented(self._apart[c], self._sums[i], counts[i])
                for c, i in self._positions.items()
            ]
        )

    @property
    def can_balance(self) -> bool:
        """Whether class-balanced moments are known, or the same as those by frequency."""
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
        fresh = [c for c in arrived.classes if c not in self._positions]
        apart = {c: torch.zeros_like(self._pool) for c in fresh if self.per_class}
        self._make_room(fresh)
        self._apart.update(apart)
        rows = self._rows(arrived.classes)
        self._counts[rows] += arrived.counts
        add_rows(self._sums, rows[arrived.positions], arrived.features)
        if self.per_class:
            for position, own in by_position(arrived.positions, arrived.features):
                add_products(self._apart[arrived.classes[position]], own)
        else:
            add_products(self._pool, arrived.features)
        self.batches += 1
        return self

    def remove(self, features: Tensor, labels: Tensor) -> "FeatureStatistics":
        """Take out samples that were taken in; returns self. A removal that is refused changes nothing.

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
        held = {c: int(self._counts[i]) for c, i in self._positions.items()}
        for c, count in zip(leaving.classes, leaving.counts.tolist(), strict=True):
            if count > held.get(c, 0):
                raise ValueError(
                    f"cannot remove {count} samples of class {c}: the statistics hold "
                    f"{held.get(c, 0)}"
                )
        rows = self._rows(leaving.classes)
        counts, sums = self.counts, self.sums
        counts[rows] -= leaving.counts
        sums.index_add_(0, rows, self._leaving_sums(leaving.features, leaving.positions), alpha=-1)
        sums[counts == 0] = 0
        apart: dict[int, Tensor] = {}
        pool = self._pool
        if self.per_class:
            for position, own in by_position(leaving.positions, leaving.features):
                c = leaving.classes[position]
                i = self._positions[c]
                before = augmented(self._apart[c], self._sums[i], held[c])
                apart[c] = self._apart[c] - self._products(own)
                left = augmented(apart[c], sums[i], int(counts[i]))
                check_removal(before, left, f"class {c}")
        else:
            pool = pool - self._products(leaving.features)
            left = augmented(pool, sums.sum(0), int(counts.sum()))
            check_removal(self.gram, left, "all classes")
        self._apart.update(apart)
        self._pool = pool if counts.any() else torch.zeros_like(pool)
        self._keep(counts, sums)
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
        self._check_mergeable(other)
        merged = FeatureStatistics(
            self.width,
            per_class=self.per_class,
            backbone=_common_backbone(self, other),
            device=self.device,
        )
        merged.batches = self.batches + other.batches
        merged._make_room(dict.fromkeys([*self.classes, *other.classes]))
        for part in (self, other):
            rows = merged._rows(part.classes)
            merged._counts[rows] += part.counts.to(self.device)
            merged._sums[rows] += part.sums.to(self.device)
            merged._pool += part._pool.to(self.device)
            if merged._balanced_pool is not None and part._balanced_pool is not None:
                merged._balanced_pool += part._balanced_pool.to(self.device)
            for c, scatter in part._apart.items():
                known = merged._apart.get(c)
                here = scatter.to(self.device)
                merged._apart[c] = here.clone() if known is None else known + here
        return merged

    def __add__(self, other: "FeatureStatistics") -> "FeatureStatistics":
        return self.merge(other) if isinstance(other, FeatureStatistics) else NotImplemented

    def settle(self, classes: Sequence[int] | None = None) -> None:
        """Fold the Grams of classes that are complete into one: memory no longer grows with them.

        Frequency and balanced moments stay the same, of all classes, of the settled ones together
        and of any that are not settled; a settled class takes no more samples.

        Args:
            classes: those to settle; `None`: all classes seen.

        Raises:
            ValueError: the statistics were made without ``per_class``, or a class is unknown.
        """
        if self._balanced_pool is None:
            raise ValueError(
                "settle needs statistics made with per_class=True; without, there is nothing to fold"
            )
        chosen = self.classes if classes is None else self._known(classes)
        for c in sorted(c for c in chosen if c in self._apart):
            scatter = self._apart.pop(c)
            self._pool += scatter
            self._balanced_pool += scatter / int(self._counts[self._positions[c]])

    def moments(
        self, classes: Sequence[int] | None = None, weighting: Weighting = "frequency"
    ) -> Moments:
        """Weighted means of [h, 1] [h, 1]^T and of the targets' products, ready to be solved.

        Args:
            classes: those whose samples count, in the order of the rows; `None`: all, by arrival.
            weighting: ``frequency``: each sample counts 1/N; ``balanced``: 1/(C n_c).

        Raises:
            ValueError: there are no samples, a class is unknown or named twice, or the Grams of
                these classes, or with these weights, were not kept apart (with the remedy).
        """
        if weighting not in ("frequency", "balanced"):
            raise ValueError(f"weighting must be 'frequency' or 'balanced', got {weighting!r}")
        chosen = self.classes if classes is None else self._known(classes)
        if not chosen:
            raise ValueError("the statistics hold no samples yet; give them some with update")
        self._check_separable(chosen)
        counts = self.counts[self._rows(chosen)].double()
        means = self.means[self._rows(chosen)]
        if weighting == "balanced":
            weights = torch.full_like(counts, 1 / len(chosen))
            scatter = self._balanced_scatter(chosen) / len(chosen)
        else:
            weights = counts / counts.sum()
            scatter = self._scatter(chosen) / counts.sum()
        cross = torch.cat([means, torch.ones_like(means[:, :1])], 1) * weights.unsqueeze(1)
        ordered = cross[torch.tensor(chosen, device=self.device).argsort()]
        gram = augmented(scatter, ordered[:, :-1].sum(0), 1.0)
        return Moments(gram, cross, weights, tuple(chosen), int(counts.sum()))

    def subset(self, classes: Sequence[int]) -> "FeatureStatistics":
        """The statistics of some classes, in the order named; a new object.

        Raises:
            ValueError: a class is unknown or named twice, or their Grams were not kept apart.
        """
        chosen = self._known(classes)
        self._check_separable(chosen)
        part = FeatureStatistics(
            self.width, per_class=self.per_class, backbone=self.backbone, device=self.device
        )
        part.batches = self.batches
        part._make_room(chosen)
        rows = self._rows(chosen)
        part._counts[: len(rows)] = self._counts[rows]
        part._sums[: len(rows)] = self._sums[rows]
        part._apart = {c: self._apart[c].clone() for c in chosen if c in self._apart}
        if len(part._apart) < len(chosen):
            part._pool = self._pool.clone()
            part._balanced_pool = (
                None if self._balanced_pool is None else self._balanced_pool.clone()
            )
        return part

    def all_reduce(self, group: ProcessGroup | None = None) -> "FeatureStatistics":
        """The statistics of the samples of all processes, the same on each; a new object.

        Every process of the group must call it; they may know different classes, or none. Classes
        come in the order of the ranks.

        Raises:
            RuntimeError: torch.distributed is not initialised.
            ValueError: on every process: what `merge` refuses.
        """
        return self.from_state(reduced(self.state_dict(), self.device, group), self.device)

    def state_dict(self) -> dict[str, Any]:
        """All there is: tensors, and values that JSON holds."""
        return {
            "width": self.width,
            "per_class": self.per_class,
            "backbone": self.backbone,
            "batches": self.batches,
            "classes": list(self.classes),
            "counts": self.counts,
            "sums": self.sums,
            "pool": self._pool.triu(),
            "balanced_pool": None if self._balanced_pool is None else self._balanced_pool.triu(),
            "apart": {str(c): scatter.triu() for c, scatter in self._apart.items()},
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
        loaded = self.from_state(state, self.device)
        self.__dict__.update(loaded.__dict__)

    @classmethod
    def from_state(
        cls, state: dict[str, Any], device: torch.device | str = "cpu"
    ) -> "FeatureStatistics":
        """The statistics that `state_dict` described.

        Raises:
            KeyError: the state lacks an entry.
            ValueError: its shapes do not fit together.
        """
        found = cls(
            state["width"], per_class=state["per_class"], backbone=state["backbone"], device=device
        )
        kept = {name: state[name] for name in ("counts", "sums", "pool", "balanced_pool")}
        found.batches = state["batches"]
        found._positions = {int(c): i for i, c in enumerate(state["classes"])}
        found._counts, found._sums, found._pool, found._balanced_pool = (
            None if t is None else t.to(device, copy=True) for t in kept.values()
        )
        found._apart = {int(c): t.to(device, copy=True) for c, t in state["apart"].items()}
        square = (found.width, found.width)
        squares = [found._pool, *found._apart.values()]
        if (
            found._counts.shape != (len(found._positions),)
            or found._sums.shape != (len(found._positions), found.width)
            or any(s.shape != square for s in squares)
            or not found._apart.keys() <= found._positions.keys()
        ):
            raise ValueError("the shapes of this state of FeatureStatistics do not fit together")
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
            f"FeatureStatistics(width={self.width}{kept}: {len(self._positions)} classes, "
            f"{self.total} samples)"
        )

    def _rows(self, classes: Sequence[int]) -> Tensor:
        return torch.tensor([self._positions[c] for c in classes], dtype=torch.int64).to(
            self.device
        )

    def _make_room(self, fresh: Iterable[int]) -> None:
        """Rows for new classes; the room doubles, so that classes may come one by one."""
        for c in fresh:
            self._positions[c] = len(self._positions)
        missing = len(self._positions) - len(self._counts)
        if missing > 0:
            extra = max(missing, len(self._counts))
            self._counts = torch.cat([self._counts, self._counts.new_zeros(extra)])
            self._sums = torch.cat([self._sums, self._sums.new_zeros(extra, self.width)])

    def _keep(self, counts: Tensor, sums: Tensor) -> None:
        """Take over new counts and sums, without the classes that have no samples left."""
        kept = counts > 0
        left = [c for c, stays in zip(self.classes, kept.tolist(), strict=True) if stays]
        self._counts, self._sums = counts[kept], sums[kept]
        self._positions = {c: i for i, c in enumerate(left)}
        self._apart = {c: s for c, s in self._apart.items() if c in self._positions}

    def _leaving_sums(self, features: Tensor, positions: Tensor) -> Tensor:
        sums = self._sums.new_zeros(int(positions.max()) + 1, self.width)
        add_rows(sums, positions, features)
        return sums

    def _products(self, features: Tensor) -> Tensor:
        scatter = torch.zeros_like(self._pool)
        add_products(scatter, features)
        return scatter

    # Sums over classes run in the order of the labels, so that none depends on who came first.

    def _summed(self, classes: Sequence[int]) -> Tensor:
        return self._sums[self._rows(sorted(classes))].sum(0)

    def _scatter(self, classes: Sequence[int]) -> Tensor:
        own = sorted(c for c in classes if c in self._apart)
        found = self._pool.clone() if len(own) < len(classes) else torch.zeros_like(self._pool)
        for c in own:
            found += self._apart[c]
        return found

    def _balanced_scatter(self, classes: Sequence[int]) -> Tensor:
        """Sum over classes of their mean h h^T."""
        own = sorted(c for c in classes if c in self._apart)
        found = torch.zeros_like(self._pool)
        if self._balanced_pool is not None:
            found += self._balanced_pool if len(own) < len(classes) else 0
        elif self.can_balance:
            found += self._pool / int(self._counts[0])
        else:
            raise ValueError(
                "balanced moments need the Gram of each class, and classes differ in their number "
                "of samples; make the statistics with per_class=True, or take "
                "weighting='frequency'"
            )
        for c in own:
            found += self._apart[c] / int(self._counts[self._positions[c]])
        return found

    def _known(self, classes: Sequence[int]) -> tuple[int, ...]:
        chosen = tuple(int(c) for c in classes)
        strangers = [c for c in chosen if c not in self._positions]
        if strangers or not chosen:
            raise ValueError(
                f"classes must be among those seen, {_few(self.classes)}; got "
                f"{_few(strangers or chosen)}"
            )
        if len(set(chosen)) < len(chosen):
            raise ValueError(f"classes must be named once each, got {_few(chosen)}")
        return chosen

    def _check_separable(self, classes: Sequence[int]) -> None:
        """All classes of the pool may be asked for, or none of them."""
        pooled = [c for c in self.classes if c not in self._apart]
        asked = [c for c in pooled if c in set(classes)]
        if not asked or len(asked) == len(pooled):
            return
        missing = [c for c in pooled if c not in set(asked)]
        if self.per_class:
            raise ValueError(
                f"classes {_few(asked)} were settled together with {_few(missing)} and cannot be "
                "told apart any more; ask for all of them or none, or settle later"
            )
        raise ValueError(
            f"the Gram of classes {_few(asked)} was not kept apart from that of {_few(missing)}; make "
            "the statistics with per_class=True, or collect those of these classes alone"
        )

    def _refuse_settled(self, classes: Sequence[int]) -> None:
        settled = [
            c
            for c in classes
            if self.per_class and c in self._positions.keys() - self._apart.keys()
        ]
        if settled:
            raise ValueError(
                f"classes {_few(settled)} are settled: their samples can no longer change; settle "
                "classes when they are complete"
            )

    def _check_mergeable(self, other: "FeatureStatistics") -> None:
        if not isinstance(other, FeatureStatistics):
            raise TypeError(f"other must be FeatureStatistics, got {type(other).__name__}")
        if other.width != self.width:
            raise ValueError(
                f"statistics of {self.width} and of {other.width} features cannot be merged"
            )
        if other.per_class != self.per_class:
            raise ValueError(
                "one of the statistics keeps its classes apart and the other does not; make both "
                "with the same per_class"
            )
        shared = self._positions.keys() & other._positions.keys()
        settled = sorted(shared & {*self.settled, *other.settled})
        if settled:
            raise ValueError(
                f"classes {_few(settled)} are in both statistics and settled; settle after merging"
            )


def _common_backbone(a: FeatureStatistics, b: FeatureStatistics) -> str | None:
    """The print of both; `None` where one is not known. Without samples there is none to keep."""
    prints = {s.backbone for s in (a, b) if s.classes} or {a.backbone, b.backbone}
    if len(prints - {None}) > 1:
        raise ValueError(
            "the statistics are of features of different backbones (their prints are "
            f"{a.backbone} and {b.backbone}); collect both with the same parameters"
        )
    return None if None in prints else prints.pop()


def _few(classes: Sequence[int]) -> str:
    shown = ", ".join(map(str, classes[:8]))
    return f"[{shown}, ...]" if len(classes) > 8 else f"[{shown}]"
