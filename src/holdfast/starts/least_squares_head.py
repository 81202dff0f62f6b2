"""New rows of the head begin where the features of their classes say, in runs."""

from dataclasses import asdict
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from holdfast.nets.heads import GrowingHead, SharedHead, TaskHeads
from holdfast.nets.learner import Learner
from holdfast.seeds import generator
from holdfast.starts.fingerprint import fingerprint
from holdfast.starts.gathering import PASSED, Gathering, distinct, pieces
from holdfast.starts.growth_report import score
from holdfast.starts.heads import LinearHead, linear_head
from holdfast.starts.moments import Weighting
from holdfast.starts.new_rows import STARTS, RowStart, new_rows
from holdfast.starts.ridge import check_ridge
from holdfast.starts.ridge_choice import Criterion
from holdfast.starts.start import Start
from holdfast.starts.statistics import FeatureStatistics
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream

Loss = Literal["auto", "cross_entropy", "mse"]
Sampled = tuple[Tensor, Tensor] | None

_BLIND = ("random", "zeros", "mean_of_old")
"""Starts that look at no features."""


class LeastSquaresHead(Start):
    """Before each task, the rows of its new classes are set by `holdfast.starts.new_rows`.

    Features of the present backbone are gathered in evaluation mode, before the first step, of
    the samples of the phase (with `Joint` those of all tasks so far) and of what the method
    remembers of earlier tasks, and become `FeatureStatistics`. These are kept, and no sample is:

    - While the backbone stays as it is (its `fingerprint` the same) statistics of earlier tasks
      stay exact, and no old sample is needed for them.
    - A backbone that has moved makes them worthless. Those of a task are therefore gathered anew
      at its end, which serves the task after it; of tasks before that one, what is rehearsed or
      remembered is passed again. Old classes of which there is neither are left out of the
      solution, and what follows from that is in the notes.

    Statistics of a memory are those of a part of the samples. With ``balanced`` weights each class
    counts alike, however few of its samples there are; with ``frequency`` it counts by their
    number.

    In a head with rows for all classes so far (`GrowingHead`, or a `SharedHead` whose rows wait)
    rows of old classes stay as they are, unless the start replaces all: ``least_squares_all_rows``
    does, and ``calibrated`` under squared error. In `TaskHeads` a new head has no old rows: all of
    it is set. Where a task brings no new class nothing is done.

    Left in the record, `Record.starts`, at each task: ``asked`` and ``start``, what was done in the
    end; ``loss``; ``scale``, ``ridge``, ``condition`` and ``notes`` as in `Rows`; and what the head
    gives on training samples at hand of ``old``, ``new`` and ``all`` classes, ``before``, with the
    rows as they were drawn, and ``after``: ``loss``, ``accuracy`` and number of ``samples``, or
    None where there were none. Of test samples ``training.evaluate_start`` tells.

    Harun & Kanan, "A Good Start Matters", CoLLAs 2025, start new rows by least squares; the
    calibrated form is of this library.

    Args:
        start: one of `STARTS`. ``random`` leaves the rows as the head drew them.
        loss: that the rows are made for; ``auto`` takes that of the training.
        ridge: lambda on the scale of means, or how it is chosen: ``auto``, ``gcv``, ``loo`` or
            ``held_out`` (see `choose_ridge`); ``gcv`` where no class has two samples at hand.
        weighting: of samples, ``balanced`` or ``frequency``. The former needs a Gram matrix for
            each class of a phase while it is gathered.
        first: set the rows of the first task too; else they begin as drawn.
        samples: about as many features are kept, while the task is prepared, of the phase and of
            the memory each, for ``loo`` and ``held_out``, temperatures and the report.

    Raises:
        ValueError: an unknown option, a ridge below 0; from `check`, a stream of targets, or
            ``lda`` for a head without biases.
    """

    def __init__(
        self,
        start: RowStart = "calibrated",
        *,
        loss: Loss = "auto",
        ridge: float | Criterion = "auto",
        weighting: Weighting = "balanced",
        first: bool = False,
        samples: int = 4096,
    ) -> None:
        for name, value, allowed in (
            ("start", start, STARTS),
            ("loss", loss, get_args(Loss)),
            ("weighting", weighting, get_args(Weighting)),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        if isinstance(ridge, str) and ridge not in get_args(Criterion):
            allowed = get_args(Criterion)
            raise ValueError(f"ridge must be a number or one of {allowed}, got {ridge!r}")
        if not isinstance(ridge, str):
            check_ridge(ridge, "free")
        if samples < 1:
            raise ValueError(f"samples must be positive, got {samples}")
        self.start, self.loss, self.ridge = start, loss, ridge
        self.weighting, self.first, self.samples = weighting, first, samples
        self._statistics: FeatureStatistics | None = None
        self._in_part: tuple[int, ...] = ()

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse what is known at once not to work."""
        if stream.is_regression:
            raise ValueError("LeastSquaresHead needs class labels; this stream has targets")
        heads = learner.heads
        bias = heads.linear.bias if isinstance(heads, SharedHead) else getattr(heads, "bias", None)
        if self.start == "lda" and (bias is None or bias is False):
            raise ValueError("start 'lda' needs a head with biases; this one has none")

    def prepare(self, learner: Learner, context: Context) -> dict[str, Any] | None:
        """Set the rows of the new classes; the report is for the record."""
        if context.index == 0:
            # Columns of another run, which this object may have served, stand for other classes.
            self._statistics, self._in_part = None, ()
            if not self.first:
                return None
        heads = learner.heads
        if not isinstance(heads, (GrowingHead, SharedHead, TaskHeads)):
            return self._nothing(f"the rows of {type(heads).__name__} are not known")
        if learner.per_task:
            return self._nothing("the backbone computes another function for each task")
        old, new = _columns(learner, context)
        if not new:
            return self._nothing("the task brings no new class")
        sample, notes = self._gather(learner, context, old, new)
        counted = () if self._statistics is None else self._statistics.classes
        empty = [] if self.start in _BLIND else [c for c in new if c not in counted]
        if empty:
            notes.append(f"{len(empty)} new classes have no samples: their rows stay as drawn")
            new = [c for c in new if c not in empty]
        if not new:
            return self._nothing(*notes)
        head = linear_head(heads, task=context.index if isinstance(heads, TaskHeads) else None)
        before = _scores(head, sample, old, context)
        done = self._write(head, sample, old, new, context)
        if isinstance(heads, TaskHeads):
            self._statistics = None
        self._keep()
        notes = [*done.pop("notes"), *notes]
        after = _scores(head, sample, old, context)
        return {"asked": self.start, **done, "notes": notes, "before": before, "after": after}

    def _write(
        self, head: LinearHead, sample: Sampled, old: list[int], new: list[int], context: Context
    ) -> dict[str, Any]:
        loss = context.loss if self.loss == "auto" else self.loss
        if self.start == "random":
            nothing = dict.fromkeys(("scale", "ridge", "condition"))
            return {"start": "random", "loss": loss, **nothing, "notes": ()}
        few = sample is None or int(sample[1].bincount().max()) < 2
        rows = new_rows(
            self._statistics,
            head.rows()[old],
            old,
            new,
            start=self.start,
            loss=loss,
            ridge="gcv" if few and isinstance(self.ridge, str) else self.ridge,
            weighting=self.weighting,
            bias=head.bias is not None,
            features=None if self.start in _BLIND else sample,
            generator=generator(context.seed, "least_squares_head", context.index),
        )
        functions = dict(zip(new, rows.new, strict=True))
        if rows.old is not None:
            functions |= dict(zip(old, rows.old, strict=True))
        head.write(functions, {})
        told = ("start", "scale", "ridge", "condition", "notes")
        return {"loss": loss, **{name: getattr(rows, name) for name in told}}

    def end_task(self, learner: Learner, context: Context) -> None:
        """Gather statistics of the phase anew if the backbone has moved in it."""
        one = isinstance(learner.heads, (GrowingHead, SharedHead)) and not learner.per_task
        if self.start in _BLIND or not one:
            return
        self._forget_what_is_stale(learner)
        old, new = _columns(learner, context)
        wanted = {*old, *new} - self._counted()
        gathering = Gathering(learner, self._per_class, self.samples)
        gathering.take(context.source.batches(PASSED), len(context.source), wanted)
        self._join(gathering, context)
        self._keep()

    def state_dict(self) -> dict[str, Any]:
        """The statistics kept."""
        kept = None if self._statistics is None else self._statistics.state_dict()
        return {"statistics": kept, "in_part": list(self._in_part)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        kept = state["statistics"]
        self._statistics = None if kept is None else FeatureStatistics.from_state(kept)
        self._in_part = tuple(state["in_part"])

    @property
    def _per_class(self) -> bool:
        return self.weighting == "balanced" or self.start == "least_squares_new"

    def _nothing(self, *why: str) -> dict[str, Any]:
        return {"asked": self.start, "start": "none", "notes": list(why)}

    def _counted(self) -> set[int]:
        return set() if self._statistics is None else set(self._statistics.classes)

    def _forget_what_is_stale(self, learner: Learner) -> None:
        if self._statistics is None or self._statistics.backbone != fingerprint(learner.backbone):
            self._statistics, self._in_part = None, ()

    def _gather(
        self, learner: Learner, context: Context, old: list[int], new: list[int]
    ) -> tuple[Sampled, list[str]]:
        """Bring the statistics up to date; a sample of features, and what there is to say."""
        self._forget_what_is_stale(learner)
        looks = self.start not in _BLIND
        wanted = {*old, *new} - self._counted() if looks else set()
        again = set(old) & set(_columns_of(learner, context.index, context))
        gathering = Gathering(learner, self._per_class, self.samples)
        batches, total = context.source.batches(PASSED), len(context.source)
        gathering.take(batches, total, wanted, {*old, *new} - again)
        lacking = (wanted & set(old)) - gathering.counted
        memory = context.remembered() if old else None
        if memory is not None:
            memory = distinct(memory)
            some = pieces(memory, context.device)
            gathering.take(some, len(memory), lacking, set(old) - again)
        self._join(gathering, context)
        found = lacking & self._counted()
        self._in_part = tuple(sorted({*self._in_part, *found}))
        notes = []
        if again:
            notes.append(f"{len(again)} classes of the task have rows already, which stay")
        if self._in_part and looks:
            alike = self.weighting == "balanced"
            notes.append(
                f"{len(self._in_part)} of {len(old)} old classes are known by the samples that "
                f"were remembered; each counts {'alike' if alike else 'by the number of them'}"
            )
        if lacking - found:
            notes.append(
                f"of {len(lacking - found)} of {len(old)} old classes no sample is rehearsed or "
                "remembered, and the backbone has moved since they were seen"
            )
        return gathering.sample(self._statistics), notes

    def _join(self, gathering: Gathering, context: Context) -> None:
        fresh, kept = gathering.statistics, self._statistics
        if fresh is not None and kept is not None:
            kept = FeatureStatistics.from_state(kept.state_dict(), context.device)
            self._statistics = kept.merge(fresh)
        elif fresh is not None:
            self._statistics = fresh

    def _keep(self) -> None:
        """What is kept takes the same memory however many classes it is of."""
        if self._statistics is not None and self._per_class:
            self._statistics.settle()


def _columns_of(learner: Learner, index: int, context: Context) -> list[int]:
    classes = torch.tensor(context.stream[index].classes, device=context.device)
    columns: list[int] = learner.columns(classes, index).tolist()
    return columns


def _columns(learner: Learner, context: Context) -> tuple[list[int], list[int]]:
    """Columns of the classes of earlier tasks, and of those that this task is the first to bring.

    `TaskHeads` number them by task: there are none of earlier tasks.
    """
    own = _columns_of(learner, context.index, context)
    if isinstance(learner.heads, TaskHeads):
        return [], own
    earlier = [c for i in range(context.index) for c in _columns_of(learner, i, context)]
    old = list(dict.fromkeys(earlier))
    return old, [c for c in own if c not in set(old)]


def _scores(
    head: LinearHead, sample: Sampled, old: list[int], context: Context
) -> dict[str, Any] | None:
    if sample is None:
        return None
    rows = head.rows()
    columns = {c: c for c in range(len(rows))}
    return asdict(score(rows, columns, *sample, frozenset(old), context.loss))
