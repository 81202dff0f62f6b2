"""A backbone that is another function for each task, with parts that are a task's own."""

import copy
from collections.abc import Callable, Iterator
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from holdfast.nets.heads import TaskHeads, TaskIds
from holdfast.nets.learner import Learner
from holdfast.nets.scaled import Scaled

_WEIGHED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


class TaskPart(nn.Module):
    """A layer that computes what the active task's own part of it says.

    ``own`` holds the parts of all tasks there are, ``active`` is the position of one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.ModuleList()
        self.active = 0

    def add(self) -> None:
        """Give the next task its own part."""
        raise NotImplementedError


class TaskNorm(TaskPart):
    """A norm layer of each task's own, statistics included.

    Args:
        base: that of the first task; those of others start as copies of it.
    """

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.own.append(base)

    def add(self) -> None:
        """Append a copy of the first."""
        self.own.append(copy.deepcopy(self.own[0]).requires_grad_(True))

    def forward(self, x: Tensor) -> Tensor:
        """That of the active task."""
        return self.own[self.active](x)


class TaskLayer(TaskPart):
    """A linear layer or convolution with another weight for each task, and a bias of its own.

    What is in ``own`` has the task's ``bias``, a parameter or `None`.

    Args:
        base: the layer; its bias becomes the first task's.
    """

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def weight(self) -> Tensor:
        """The weight of the active task."""
        raise NotImplementedError

    @property
    def shared(self) -> nn.Parameter:
        """The weight that tasks share."""
        return cast(nn.Parameter, self.base.weight)

    def next_bias(self) -> nn.Parameter | None:
        """The bias of a new task: the layer's own for the first, else a copy of the latest's."""
        if not len(self.own):
            bias = cast(nn.Parameter | None, self.base.bias)
            self.base.register_parameter("bias", None)
            return bias
        latest = cast(nn.Parameter | None, self.own[-1].bias)
        return None if latest is None else nn.Parameter(latest.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """What the layer with the active task's weight and bias makes of `x`."""
        bias = cast(Tensor | None, self.own[self.active].bias)
        if isinstance(self.base, nn.Linear):
            return functional.linear(x, self.weight(), bias)
        return cast(nn.Conv2d, self.base)._conv_forward(x, self.weight(), bias)


class TaskNet(nn.Module):
    """A backbone with layers of tasks in place of plain ones, and the first task in it.

    Linear layers and convolutions become what `make` makes of them, norm layers `TaskNorm`. What
    is frozen beside them stays as it is.

    Args:
        model: changed in place.
        make: a layer of tasks around a plain one, with the part of the first.
    """

    per_task = True

    def __init__(self, model: nn.Module, make: Callable[[nn.Module], TaskLayer]) -> None:
        super().__init__()
        self.model = _swapped(model, make, {})
        self.tasks = 1

    @property
    def parts(self) -> list[TaskPart]:
        """The layers that differ by task."""
        return [m for m in self.model.modules() if isinstance(m, TaskPart)]

    def layers(self) -> Iterator[tuple[str, TaskLayer]]:
        """Those with a weight, by the names of the plain ones."""
        return ((n, m) for n, m in self.model.named_modules() if isinstance(m, TaskLayer))

    def add(self) -> None:
        """Room for the next task."""
        for part in self.parts:
            part.add()
        self.tasks += 1

    def own(self, task: int) -> Iterator[nn.Parameter]:
        """The parameters that are a task's alone."""
        return (p for part in self.parts for p in part.own[task].parameters())

    def forward(self, x: Tensor, task: TaskIds = None) -> Float[Tensor, "n width"]:
        """Features of the samples, each as its task has it.

        Args:
            x: (n, ...) inputs.
            task: position of the task, for all or (n,) one each.

        Raises:
            ValueError: no task, or one that is not there.
        """
        if task is None:
            raise ValueError("task must be given: the network is another one for each task")
        if isinstance(task, Tensor):
            present = task.unique().tolist()
            rows = [(task == index).nonzero().flatten() for index in present]
            outputs = [self(x[at], index) for at, index in zip(rows, present, strict=True)]
            return torch.cat(outputs)[torch.cat(rows).argsort()]
        if not 0 <= task < self.tasks:
            raise ValueError(f"task {task} does not exist: there are {self.tasks} tasks")
        for part in self.parts:
            part.active = task
        return self.model(x)


def check_task_net(name: str, learner: Learner) -> None:
    """Refuse, for the method of this name, a learner whose backbone cannot differ by task.

    Raises:
        ValueError: the heads are not per task; the backbone differs by task already, was
            parametrized, has no linear layer or convolution, two that share a weight, or trainable
            parameters in modules of other kinds than these and norm layers.
    """
    if not isinstance(learner.heads, TaskHeads):
        raise ValueError(
            f"{name} needs heads 'per_task', got {type(learner.heads).__name__}: the network is "
            "chosen by the task, which must be known at test time"
        )
    backbone = learner.backbone
    if learner.per_task:
        raise ValueError(
            f"{name} makes the learner's backbone differ by task, which it does already; give it a "
            "plain one"
        )
    if any(isinstance(m, Scaled) for m in backbone.modules()):
        raise ValueError(
            f"{name} has no rule for a parametrized network (muP, NTP): how fast its own "
            "parameters should move at another width is not known; give it a plain one"
        )
    weighed = {n: m for n, m in backbone.named_modules() if type(m) in _WEIGHED}
    if not weighed:
        raise ValueError(f"{name} needs linear layers or convolutions, the backbone has none")
    owner: dict[int, str] = {}
    for path, layer in weighed.items():
        first = owner.setdefault(id(layer.weight), path)
        if first != path:
            raise ValueError(f"{name} cannot serve {path}: it shares its weight with {first}")
    others = [
        f"{path or 'the backbone'} ({type(m).__name__})"
        for path, m in backbone.named_modules()
        if type(m) not in _WEIGHED
        and not isinstance(m, _NORMS)
        and any(p.requires_grad for p in m.parameters(recurse=False))
    ]
    if others:
        raise ValueError(
            f"{name} serves linear layers, convolutions and norm layers, not the trainable "
            f"parameters of {', '.join(others[:5])}; freeze these (requires_grad_(False)) or take "
            "another net"
        )


def _swapped(
    module: nn.Module,
    make: Callable[[nn.Module], TaskLayer],
    made: dict[nn.Module, nn.Module],
) -> nn.Module:
    if module not in made:
        if type(module) in _WEIGHED:
            made[module] = make(module)
        elif isinstance(module, _NORMS):
            made[module] = TaskNorm(module)
        else:
            for name, child in module._modules.items():
                if child is not None:
                    module._modules[name] = _swapped(child, make, made)
            made[module] = module
    return made[module]
