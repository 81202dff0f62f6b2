"""What of a model is the base that tasks share, and what is theirs."""

from collections.abc import Iterator

from torch import Tensor, nn

from holdfast.methods.halrp.layers import PerTask, Perturbed, switching
from holdfast.starts.fingerprint import tensors_fingerprint


def of_task(model: nn.Module, task: str) -> Iterator[Tensor]:
    """Parameters and buffers that are one task's alone."""
    for _, module in switching(model):
        if task in module.tasks:
            yield from module.tasks[task].parameters()
            yield from module.tasks[task].buffers()


def base_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters that are no task's own, in the order of the plain model."""
    theirs = _theirs(model)
    return [p for p in model.parameters() if id(p) not in theirs]


def base_fingerprint(model: nn.Module) -> str:
    """What `holdfast.starts.fingerprint` gives for the plain model, without making it."""
    theirs = _theirs(model)
    theirs |= {id(m.folded_weight) for _, m in switching(model) if isinstance(m, Perturbed)}
    held: list[Tensor] = [*model.parameters(), *model.buffers()]
    return tensors_fingerprint([t for t in held if id(t) not in theirs])


def hold_statistics(model: nn.Module) -> None:
    """Put what of the base has running statistics in evaluation mode, where they stay."""
    parts = [part for _, module in switching(model) for part in module.tasks.modules()]
    theirs = {id(m) for m in parts}
    for module in model.modules():
        if isinstance(module, Perturbed | PerTask) or id(module) in theirs:
            continue
        if getattr(module, "running_mean", None) is not None:
            module.eval()


def _theirs(model: nn.Module) -> set[int]:
    parts = [module.tasks for _, module in switching(model)]
    return {id(t) for part in parts for t in (*part.parameters(), *part.buffers())}
