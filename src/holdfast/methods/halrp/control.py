"""How a run keeps the growth of its tasks within bounds."""

from dataclasses import dataclass, field, replace
from typing import Literal

from holdfast.methods.arguments import check_choice, check_number
from holdfast.methods.halrp.adapted import Adapted, Task
from holdfast.methods.halrp.growth import Costs
from holdfast.methods.halrp.pruning import Pruning, prune, share_for
from holdfast.methods.halrp.sizes import sizes
from holdfast.methods.halrp.storage import Storage, check_storage, quantise
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner
from holdfast.streams.stream import Stream

Means = Literal["ranks", "pruning"]
"""What keeps growth down: ``ranks``: each task's bytes are fixed before it comes and buy ranks;
``pruning``: after each task entries of U and V of all tasks go, as in the authors' code."""


Growth = float | Literal["auto"] | None
"""A share of the base's bytes; ``auto``: .2, or more where that leaves little to U and V."""


@dataclass(frozen=True)
class Control:
    """Bounds on what tasks take; see the arguments of the same names of `HALRP`.

    Raises:
        ValueError: a number out of range, an unknown name, or options that exclude each other.
    """

    growth: Growth = None
    task_budget: float | None = None
    growth_by: Means = "ranks"
    storage: Storage = "float32"
    pruning: Pruning = field(default_factory=Pruning)
    least: int = 1

    def __post_init__(self) -> None:
        check_choice("growth_by", self.growth_by, Means)
        check_choice("storage", self.storage, Storage)
        if self.growth is not None and self.growth != "auto":
            check_number("growth", self.growth, positive=True)
        if self.task_budget is not None:
            check_number("task_budget", self.task_budget, positive=True)
        if self.growth is not None and self.task_budget is not None:
            raise ValueError("growth and task_budget both bound what a task takes: give one")
        if self.growth_by == "pruning" and self.growth in (None, "auto"):
            raise ValueError(
                "growth_by 'pruning' needs growth, the total that tasks are pruned to; to prune by "
                "fixed numbers give prune_below or prune_share alone"
            )
        if self.growth_by == "pruning" and self.pruning.share > 0:
            raise ValueError(
                f"prune_share must be 0 with growth_by 'pruning', which sets it by the growth, got "
                f"{self.pruning.share}"
            )
        if self.growth_by == "ranks" and self.pruning.over == "all_tasks":
            raise ValueError(
                "prune_over 'all_tasks' changes earlier tasks, which growth_by 'ranks' never does; "
                "choose 'layer' or 'task', or growth_by='pruning'"
            )

    @property
    def bounded(self) -> bool:
        """Whether a task's bytes are fixed before it comes."""
        given = self.growth is not None or self.task_budget is not None
        return self.growth_by == "ranks" and given

    def check(self, model: Adapted, heads: TaskHeads, stream: Stream) -> None:
        """Refuse a storage that the model cannot have, or a bound below the fixed costs of a task.

        Raises:
            ValueError: saying the smallest bound.
        """
        check_storage(self.storage, model)
        first = 0 if model.base_task is None else 1
        for index in range(first, len(stream)):
            self.low_rank_bytes(model, heads, stream, index)

    def low_rank_bytes(
        self, model: Adapted, heads: TaskHeads, stream: Stream, index: int
    ) -> int | None:
        """Bytes that U and V of the task at a position of the stream may take; `None`: any."""
        if not self.bounded:
            return None
        classes = [len(task.classes) for task in stream]
        costs = Costs.of(model, heads, classes, self.storage, self.least)
        if self.growth == "auto":
            return costs.low_rank_auto()
        if self.growth is not None:
            return costs.low_rank_of_growth(self.growth)
        assert self.task_budget is not None
        first = 0 if model.base_task is None else 1
        return costs.low_rank_of_task(self.task_budget, index - first)

    def settle(self, learner: Learner, task: Task) -> None:
        """Prune what is to be, and put the new task on the grid of its storage."""
        adapted = learner.backbone
        assert isinstance(adapted, Adapted)
        if self.growth_by == "pruning":
            assert isinstance(self.growth, int | float)
            share = share_for(self.growth, sizes(learner).growth_paper_dense)
            if share is not None:
                prune(adapted, replace(self.pruning, share=share))
        else:
            prune(adapted, self.pruning, [task])
        quantise(adapted, task, self.storage)
