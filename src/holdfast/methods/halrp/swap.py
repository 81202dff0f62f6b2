"""Plain layers swapped for those of tasks, and back."""

import copy

from torch import nn

from holdfast.methods.halrp.kinds import ConvMode, is_perturbed_kind, obstacle
from holdfast.methods.halrp.layers import PerTask, Perturbed

_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
_TABLES = (nn.Embedding, nn.EmbeddingBag)


def is_norm(module: nn.Module) -> bool:
    """Whether it is a norm layer: torch's, or one without parts that is called something -Norm."""
    if isinstance(module, _NORMS):
        return True
    return type(module).__name__.endswith("Norm") and not any(True for _ in module.children())


def survey(
    model: nn.Module, heads: tuple[str, ...], skip: tuple[str, ...]
) -> tuple[list[str], dict[str, str]]:
    """What is not perturbed.

    Returns:
        Names of what is left alone, as asked or as tables; and why, by name, others cannot be
        perturbed.
    """
    left, others = list(skip), dict[str, str]()
    owners = _owners(model)
    for name, module in model.named_modules():
        if _below(name, (*heads, *skip)):
            continue
        if is_perturbed_kind(module):
            reason = obstacle(module) or _tied(name, module, owners)
            if reason is not None:
                others[name] = reason
        elif not is_norm(module) and any(True for _ in module.parameters(recurse=False)):
            if isinstance(module, _TABLES):
                left.append(name)
            else:
                parts = [n for n, _ in module.named_parameters(recurse=False)]
                others[name] = (
                    f"is a {type(module).__name__} with {', '.join(parts[:3])} of its own"
                )
    return left, others


def _owners(model: nn.Module) -> dict[int, list[str]]:
    """Names of the modules that hold each parameter, by its `id`; a module counts once."""
    found: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        for p in module._parameters.values():
            if p is not None:
                found.setdefault(id(p), []).append(name)
    return found


def _tied(name: str, module: nn.Module, owners: dict[int, list[str]]) -> str | None:
    for p in module._parameters.values():
        shared = [n for n in owners.get(id(p), []) if n != name]
        if shared:
            return f"shares a parameter with {shared[0]!r}"
    return None


def _below(name: str, roots: tuple[str, ...]) -> bool:
    return any(name == root or name.startswith(root + ".") for root in roots)


def swap(
    model: nn.Module,
    conv: ConvMode,
    heads: tuple[str, ...],
    skip: tuple[str, ...],
    alone: tuple[str, ...],
) -> nn.Module:
    """The model with layers of tasks in place of plain ones; a new one if it is a layer itself.

    Args:
        model: changed in place.
        conv: see `ConvMode`.
        heads: names of heads.
        skip: left as they are, with all below.
        alone: layers that are left as they are, or modules whose own parameters are.
    """
    made: dict[nn.Module, nn.Module] = {}  # a module in two places becomes one

    def visit(module: nn.Module, name: str) -> nn.Module:
        if module in made:
            return made[module]
        if name in skip:
            return module
        if name in heads or is_norm(module):
            made[module] = PerTask(module, name in heads)
            return made[module]
        if is_perturbed_kind(module):
            if name not in alone:
                made[module] = Perturbed(module, conv)
                return made[module]
            return module
        for below, child in list(module._modules.items()):
            if child is not None:
                module._modules[below] = visit(child, f"{name}.{below}" if name else below)
        return module

    return visit(model, "")


def merged(model: nn.Module, task: str | None) -> nn.Module:
    """A copy with plain layers in place of those of tasks, nothing shared with the original."""

    def plain(module: nn.Module) -> nn.Module:
        if isinstance(module, Perturbed):
            return module.merged(task)
        assert isinstance(module, PerTask)
        own = task is not None and task in module.tasks
        chosen = module.tasks[task] if own and task is not None else module.base
        return copy.deepcopy(chosen).requires_grad_(True)

    # deepcopy takes what its memo holds for a copy already made: other tasks are not copied.
    parts = [m for m in model.modules() if isinstance(m, Perturbed | PerTask)]
    return copy.deepcopy(model, {id(m): plain(m) for m in parts})
