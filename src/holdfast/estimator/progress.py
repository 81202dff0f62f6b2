"""What a classifier has become so far, and how it learns one more task."""

import copy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from holdfast.data.split import Split
from holdfast.estimator.arriving import Arriving, Past
from holdfast.methods.method import Method
from holdfast.nets.heads import GrowingHead
from holdfast.nets.learner import Learner, feature_width
from holdfast.records.record import Record
from holdfast.seeds import generator, seeded
from holdfast.starts.start import Start
from holdfast.streams.stream import Task
from holdfast.training.loop import Loop
from holdfast.training.options import Training


class Told(NamedTuple):
    """What training on a task left to tell.

    Args:
        losses: mean training loss of each epoch.
        growth: what the start did, in JSON values; `None` where it had nothing to tell.
    """

    losses: list[float]
    growth: dict[str, Any] | None


class Parts(NamedTuple):
    """What a learner is made of and trained by."""

    backbone: nn.Module
    method: Method
    start: Start


@dataclass(frozen=True, eq=False)
class Progress:
    """All that learning goes on from; never changed, only followed by the next.

    Args:
        learner: with a head that grows.
        method: with what it remembers.
        start: likewise.
        stream: the tasks so far.
        input_shape: of one sample.
        draws: state of the generator that method and start draw from.
        seed: of everything drawn.
    """

    learner: Learner
    method: Method
    start: Start
    stream: Arriving
    input_shape: tuple[int, ...]
    draws: Tensor
    seed: int

    @classmethod
    def begin(cls, parts: Parts, input_shape: tuple[int, ...], seed: int) -> "Progress":
        """Nothing learned yet.

        Raises:
            ValueError: the backbone does not make features (n, width) of such inputs.
        """
        blank = Split(torch.zeros(1, *input_shape), torch.zeros(1, dtype=torch.int64))
        width = feature_width(parts.backbone, Task("blank", blank, blank))
        draws = generator(seed, "method").get_state()
        learner = Learner(parts.backbone, GrowingHead(width))
        return cls(learner, parts.method, parts.start, Arriving(), input_shape, draws, seed)

    def after(self, task: Task, classes: int, training: Training) -> tuple["Progress", Told]:
        """What becomes of it by one more task, trained as `holdfast.run` would.

        Args:
            task: whose labels are codes below `classes`.
            classes: codes the head is to have room for.
            training: of the task.

        Returns:
            the progress after it, and what there is to tell.

        Raises:
            ValueError: the method or the start cannot serve the learner, the device is not there.
            Diverged: training left the finite numbers.
        """
        index = len(self.stream)
        learner, method, start = copy.deepcopy((self.learner, self.method, self.start))
        stream = self.stream.joined_by(task)
        if index == 0:
            method.check(learner.to(training.place()), stream)
            start.check(learner, stream)
        record = Record.empty([task.name], stream.scenario, self.seed)
        draws = torch.Generator()
        draws.set_state(self.draws)
        with seeded(self.seed, "torch", index):
            loop = Loop(
                stream, learner, method, start, training, (), self.seed, record,
                None, "", None, whole=False,
            )  # fmt: skip
            loop.index, loop.draws = index, draws
            learner.heads.accommodate(index, range(classes), generator(self.seed, "head", index))
            loop.train_task()
        learner.eval()
        learner.zero_grad(set_to_none=True)
        stream = stream.keeping(method.rehearses(index + 1))
        after = replace(
            self, learner=learner, method=method, start=start, stream=stream,
            draws=draws.get_state(),
        )  # fmt: skip
        # Each task has a loop of its own, which begins at step 0.
        growth = (
            {k: v for k, v in record.starts[0].items() if k != "step"} if record.starts else None
        )
        return after, Told([entry["loss"] for entry in record.curve], growth)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and JSON values that `restored` makes the progress of."""
        kept = {
            str(i): {"x": task.test.x, "y": task.test.y}
            for i, task in enumerate(self.stream)
            if not isinstance(task, Past)
        }
        return {
            "tasks": [[task.name, task.classes] for task in self.stream],
            "input_shape": self.input_shape,
            "kept": kept,
            "learner": self.learner.state_dict(),
            "method": self.method.state_dict(),
            "start": self.start.state_dict(),
            "draws": self.draws,
            "seed": self.seed,
        }

    @classmethod
    def restored(cls, state: dict[str, Any], parts: Parts, device: torch.device) -> "Progress":
        """The inverse of `state_dict`, with copies of parts made as they were at first.

        Raises:
            KeyError, RuntimeError, TypeError, ValueError: the state does not fit them.
        """
        parts = copy.deepcopy(parts)
        shape, tensors = tuple(state["input_shape"]), state["learner"]
        head = GrowingHead(tensors["heads.weight"].shape[1])
        learner = Learner(parts.backbone, head).to(device)
        last = len(state["tasks"]) - 1
        head.accommodate(last, tensors["heads.known"].tolist(), torch.Generator())
        parts.method.load_state_dict(state["method"])
        parts.method.restore(learner, last)
        learner.load_state_dict(tensors)
        parts.start.load_state_dict(state["start"])
        stream = Arriving(
            [
                _task(name, tuple(classes), shape, state["kept"].get(str(i)))
                for i, (name, classes) in enumerate(state["tasks"])
            ]
        )
        return cls(
            learner.eval(), parts.method, parts.start, stream, shape, state["draws"], state["seed"]
        )


def _task(
    name: str, classes: tuple[int, ...], shape: tuple[int, ...], kept: dict[str, Tensor] | None
) -> Task:
    if kept is None:
        return Past(name, classes, shape)
    split = Split(kept["x"], kept["y"])
    return Task(name, split, split, classes=classes)
