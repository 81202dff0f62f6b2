"""How far a net can still be trained: on probe tasks, from its weights and from fresh ones."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn import functional

from holdfast.curvature.samples import checked_outputs
from holdfast.nets.learner import Learner
from holdfast.nets.modes import evaluation_mode
from holdfast.nets.redraw import redraw
from holdfast.probes.probe import Phase
from holdfast.probes.shown import shown_samples, shown_task
from holdfast.seeds import seeded
from holdfast.streams.batches import Batch

Targets = Literal["labels", "sines"]
ProbeOptimizer = Literal["adam", "sgd"]
Forward = Callable[[nn.Module, Tensor], Tensor]


@dataclass(frozen=True)
class ProbeTasks:
    """Tasks on given inputs that say nothing of them, and the budget they are trained with.

    Args:
        targets: ``labels``, random ones, uniform over the outputs, with cross-entropy; or
            ``sines``, a + sin(1e5 f(x; w)) for each output, with f(x; w) the same net with weights
            w of its own and a the mean output of the net to be trained, with the mean squared error
            (Lyle et al., 2023, *Understanding plasticity in neural networks*).
        tasks: how many are drawn.
        steps: of training on each.
        batch_size: at most, drawn without replacement at each step.
        optimizer: ``adam`` or ``sgd``, made anew for each task.
        lr: learning rate, constant.

    Raises:
        ValueError: an option out of range.
    """

    targets: Targets = "labels"
    tasks: int = 5
    steps: int = 200
    batch_size: int = 64
    optimizer: ProbeOptimizer = "adam"
    lr: float = 1e-3

    def __post_init__(self) -> None:
        for name, kind in (("targets", Targets), ("optimizer", ProbeOptimizer)):
            if getattr(self, name) not in get_args(kind):
                allowed = ", ".join(get_args(kind))
                raise ValueError(f"{name} must be one of {allowed}; got {getattr(self, name)!r}")
        for name in ("tasks", "steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be a positive integer, got {getattr(self, name)}")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr must be a positive number, got {self.lr}")


class TrainabilityGap(NamedTuple):
    """What is left of a net's trainability.

    Args:
        gap: mean of loss - fresh_loss over the probe tasks; positive where it has become harder to
            train.
        loss: (tasks,) on each after the budget, from the net's weights.
        fresh_loss: (tasks,) from fresh weights.
    """

    gap: float
    loss: tuple[float, ...]
    fresh_loss: tuple[float, ...]


def trainability_gap(
    model: nn.Module,
    x: Shaped[Tensor, "n ..."],
    tasks: ProbeTasks | None = None,
    seed: int = 0,
    fresh: Callable[[int], nn.Module] | None = None,
    forward: Forward | None = None,
) -> TrainabilityGap:
    """Loss on probe tasks after a fixed budget, from the weights of a net less from fresh ones.

    Both see the same inputs, targets and batches, and both are copies: the model is left as it
    was. Training is in training mode (dropout draws, batch norm uses its batch and moves its
    statistics); the loss at the end is over all inputs in evaluation mode. It says whether targets
    can still be fitted, nothing of how well what is learned generalises.

    Args:
        model: any module; parameters that require no gradient stay frozen, in the copies too.
        x: inputs of the probe tasks.
        tasks: what they are; `ProbeTasks()` by default.
        seed: of targets, batches and fresh weights.
        fresh: makes a fresh net of a seed; by default the model's weights are drawn anew
            (`holdfast.nets.redraw`), those of frozen layers excepted.
        forward: (model, inputs) -> (n, outputs); by default the model is called.

    Raises:
        TypeError: outputs that are no tensor.
        ValueError: fewer than two samples, outputs that are not (n, outputs), nothing to train, or
            weights that cannot be drawn anew, without `fresh`.
    """
    tasks = ProbeTasks() if tasks is None else tasks
    call: Forward = (lambda net, inputs: net(inputs)) if forward is None else forward
    if len(x) < 2:
        raise ValueError(f"x must hold 2 samples or more, got {len(x)}")
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("model must have parameters that require a gradient, it has none")
    losses: dict[str, list[float]] = {"own": [], "fresh": []}
    for i in range(tasks.tasks):
        drawn = _fresh(model, fresh, seed, i, "start")
        with torch.no_grad(), evaluation_mode(model):
            outputs = checked_outputs(call(model, x), x)
        base = _fresh(model, fresh, seed, i, "target") if tasks.targets == "sines" else None
        for name, net in (("own", copy.deepcopy(model)), ("fresh", drawn)):
            with seeded(seed, "trainability", i):
                y = _targets(net, base, x, outputs.shape[1], call)
                losses[name].append(_fitted(net, x, y, tasks, call))
    own, other = (torch.tensor(losses[name]) for name in ("own", "fresh"))
    gap = (own.double() - other.double()).mean().item()
    return TrainabilityGap(gap, tuple(losses["own"]), tuple(losses["fresh"]))


class Trainability:
    """The trainability gap of a learner where a task begins, `trainability_gap` on its inputs.

    Measured before the first step on each task, after the start prepared the weights: what a warm
    start hands on. Told after the task, as ``gap``, ``loss`` and ``fresh_loss``, means over the
    probe tasks, and of the current task alone. Without `before`, in a loop of one's own, each batch
    is measured as it is. Costs 2 tasks x steps training steps for each task of the stream.

    Args:
        targets, tasks, steps, batch_size, optimizer, lr: see `ProbeTasks`.
        samples: inputs, at most, of those that probes are shown, evenly spaced.
        seed: of what is drawn, the same at each task.

    Raises:
        ValueError: an option out of range.
    """

    columns = ("gap.own", "loss.own", "fresh_loss.own")

    def __init__(
        self,
        targets: Targets = "labels",
        tasks: int = 3,
        steps: int = 200,
        batch_size: int = 64,
        optimizer: ProbeOptimizer = "adam",
        lr: float = 1e-3,
        samples: int = 256,
        seed: int = 0,
    ) -> None:
        self.tasks = ProbeTasks(targets, tasks, steps, batch_size, optimizer, lr)
        if samples < 2:
            raise ValueError(f"samples must be 2 or more, got {samples}")
        self.samples, self.seed = samples, seed
        self._current: dict[str, Any] = {}

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        """Measure where the current task begins."""
        if batch.task == phase.index:
            self._current = {"task": shown_task(batch), "values": self._values(learner, batch)}

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """What was measured before the current task."""
        if not self._current:
            return self._values(learner, batch)
        return dict(self._current["values"]) if self._current["task"] == shown_task(batch) else {}

    def state_dict(self) -> dict[str, Any]:
        """The current task and its numbers."""
        return {"current": self._current}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._current = dict(state["current"])

    def _values(self, learner: Learner, batch: Batch) -> dict[str, float]:
        some = shown_samples(batch, self.samples)
        found = trainability_gap(
            learner, some.x, self.tasks, self.seed, forward=lambda net, x: net(x, some.task)
        )
        loss, fresh = (sum(v) / len(v) for v in (found.loss, found.fresh_loss))
        return {"gap": found.gap, "loss": loss, "fresh_loss": fresh}


def _fresh(
    model: nn.Module, make: Callable[[int], nn.Module] | None, seed: int, task: int, purpose: str
) -> nn.Module:
    if make is not None:
        with seeded(seed, "fresh", purpose, task):
            drawn = make(int(torch.randint(2**31, ())))
        return drawn.to(next(model.parameters()).device)
    drawn = copy.deepcopy(model)
    try:
        redraw(drawn, seed, "fresh", purpose, task)
    except ValueError as error:
        raise ValueError(f"{error}; or pass fresh, which makes a net of a seed") from error
    return drawn


@torch.no_grad()
def _targets(
    net: nn.Module, base: nn.Module | None, x: Tensor, outputs: int, call: Forward
) -> Tensor:
    """Random labels (n,), or sines (n, outputs) of another net about the mean of this one."""
    if base is None:
        return torch.randint(outputs, (len(x),)).to(x.device)
    with evaluation_mode(net), evaluation_mode(base):
        return call(net, x).mean(dim=0) + torch.sin(1e5 * call(base, x))


def _fitted(net: nn.Module, x: Tensor, y: Tensor, tasks: ProbeTasks, call: Forward) -> float:
    """The loss on all inputs after training on them; the net is changed."""
    criterion = functional.mse_loss if y.is_floating_point() else functional.cross_entropy
    parameters = [p for p in net.parameters() if p.requires_grad]
    kind = torch.optim.Adam if tasks.optimizer == "adam" else torch.optim.SGD
    optimizer = kind(parameters, lr=tasks.lr)
    net.train()
    with torch.enable_grad():
        for _ in range(tasks.steps):
            index = torch.randperm(len(x))[: tasks.batch_size].to(x.device)
            optimizer.zero_grad(set_to_none=True)
            criterion(call(net, x[index]), y[index]).backward()
            optimizer.step()
    with torch.no_grad(), evaluation_mode(net):
        return float(criterion(call(net, x), y))
