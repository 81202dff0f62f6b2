"""Plain layers swapped for those of tasks, and back."""

import copy

from torch import nn

from holdfast.methods.halrp.kinds import PERTURBED, ConvMode
from holdfast.methods.halrp.layers import PerTask, Perturbed

_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


def survey(
    model: nn.Module, heads: tuple[str, ...], skip: tuple[str, ...]
) -> tuple[list[str], list[str]]:
    """Modules that are left alone, as asked or as tables, and others that cannot be perturbed."""
    left, others = list(skip), list[str]()
    for name, module in model.named_modules():
        if _below(name, (*heads, *skip)) or isinstance(module, (*PERTURBED, *_NORMS)):
            continue
        if any(True for _ in module.parameters(recurse=False)):
            is_table = isinstance(module, nn.Embedding | nn.EmbeddingBag)
            (left if is_table else others).append(name)
    return left, others


def _below(name: str, roots: tuple[str, ...]) -> bool:
    return any(name == root or name.startswith(root + ".") or root == "" for root in roots)


def swap(
    module: nn.Module, name: str, conv: ConvMode, heads: tuple[str, ...], skip: tuple[str, ...]
) -> nn.Module:
    """The module with layers of tasks in place of plain ones, itself where it has such parts."""
    if name in skip and name:
        return module
    if name in heads or isinstance(module, _NORMS):
        return PerTask(module, name in heads)
    if isinstance(module, PERTURBED):
        return Perturbed(module, conv)
    for below, child in list(module.named_children()):
        full = f"{name}.{below}" if name else below
        setattr(module, below, swap(child, full, conv, heads, skip))
    return module


def merged(module: nn.Module, task: str | None) -> nn.Module:
    """A copy with plain layers in place of perturbed ones."""
    if isinstance(module, Perturbed):
        return module.merged(task)
    if isinstance(module, PerTask):
        chosen = module.tasks[task] if task is not None and task in module.tasks else module.base
        return copy.deepcopy(chosen).requires_grad_(True)
    plain = copy.copy(module)
    plain.__dict__ = dict(module.__dict__)
    for slot in ("_parameters", "_buffers"):
        held = getattr(module, slot)
        setattr(plain, slot, {k: copy.deepcopy(v) for k, v in held.items()})
    plain._modules = {n: None if m is None else merged(m, task) for n, m in module._modules.items()}
    return plain
