"""The groups of layers a network is made of, from input to output, by name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from holdfast.nets.learner import Learner

NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


@dataclass(frozen=True)
class Group:
    """Layers that are treated as one: a layer with its norm, a stage of a residual net, the head.

    Args:
        name: of the group, within the model.
        modules: their paths, as `torch.nn.Module.get_submodule` takes them; "" is the model.
        parameters: all parameters of the group, as `named_parameters` calls them. A parameter that
            two groups share belongs to the first.
    """

    name: str
    modules: tuple[str, ...]
    parameters: tuple[str, ...]


def groups(model: nn.Module, names: Sequence[str] | None = None) -> tuple[Group, ...]:
    """The groups of a model from input to output, which the order of registration is taken for.

    A group is a direct child with parameters: with `holdfast.nets.mlp` a linear layer, with
    `resnet18` the stem or a stage. Norm layers join the layer before them. A child that is the only
    one with parameters is entered, and so are a `Learner`, whose last group is ``head``, and lists
    of modules, such as the blocks of a transformer. Parameters that the model itself holds, beside
    its children, belong to the first group.

    Args:
        model: any module; a learner that is to have its head has made room for its classes.
        names: of groups, or paths of modules, to be the groups instead, in this order; parameters
            outside them belong to no group.

    Raises:
        ValueError: a model without parameters, or names that are unknown (with those there are),
            repeated or of overlapping modules.

    >>> [g.name for g in groups(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)))]
    ['0', '2']
    """
    found = _groups(model)
    if not found:
        raise ValueError(f"model must have parameters to make groups of; {type(model)} has none")
    if names is None:
        return found
    if isinstance(names, str) or len(names) == 0:
        raise ValueError(f"names must be a list with one name or more, got {names!r}")
    chosen = tuple(_named(model, found, name) for name in names)
    taken: dict[str, str] = {}
    for group in chosen:
        for parameter in group.parameters:
            if parameter in taken:
                raise ValueError(
                    f"names must be of modules that do not overlap: {taken[parameter]!r} and "
                    f"{group.name!r} both hold {parameter}"
                )
            taken[parameter] = group.name
    return chosen


def last_groups(model: nn.Module, k: int, names: Sequence[str] | None = None) -> tuple[Group, ...]:
    """The last `k` of `groups`, from input to output.

    Raises:
        ValueError: see `groups`; or a `k` that is no integer from 1 to the number of groups.

    >>> last_groups(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), 1)
    (Group(name='2', modules=('2',), parameters=('2.weight', '2.bias')),)
    """
    found = groups(model, names)
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= len(found):
        raise ValueError(
            f"k must be an integer from 1 to {len(found)}, the number of groups; got {k!r}. "
            f"The groups are {_listed(found)}"
        )
    return found[-k:]


def _groups(model: nn.Module) -> tuple[Group, ...]:
    backbone = model.backbone if isinstance(model, Learner) else model
    path, root = _entered("backbone" if isinstance(model, Learner) else "", backbone)
    parts: list[tuple[str, list[str]]] = []
    normed = False
    for child, module in _parts(root, ""):
        is_norm = isinstance(module, NORMS)
        # A norm joins what comes before it, or at the very front what comes after it.
        if parts and (is_norm or normed):
            parts[-1][1].append(_join(path, child))
        else:
            parts.append((child or type(module).__name__.lower(), [_join(path, child)]))
        normed = is_norm and (normed or len(parts[-1][1]) == 1)
    if isinstance(model, Learner) and next(model.heads.parameters(), None) is not None:
        head = "heads" if any(name == "head" for name, _ in parts) else "head"
        parts.append((head, ["heads"]))
    held = [_parameters(model, paths) for _, paths in parts]
    if parts:
        everything = [name for name, _ in model.named_parameters()]
        own = [name for name in everything if not any(name in part for part in held)]
        held[0] = own + held[0]
    return tuple(
        Group(name, tuple(paths), tuple(names))
        for (name, paths), names in zip(parts, _first_come(held), strict=True)
    )


def _entered(path: str, module: nn.Module) -> tuple[str, nn.Module]:
    """The outermost module with more than one part, and its path."""
    while next(module.parameters(recurse=False), None) is None:
        inner = list(_children(module))
        if len(inner) != 1:
            break
        path, module = _join(path, inner[0][0]), inner[0][1]
    return path, module


def _parts(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    inner = list(_children(module))
    if not inner:
        if next(module.parameters(), None) is not None:
            yield path, module
        return
    for name, child in inner:
        here = _join(path, name)
        alone = list(_children(child))
        bare = next(child.parameters(recurse=False), None) is None
        if isinstance(child, nn.ModuleList):
            yield from _parts(child, here)
        elif bare and len(alone) == 1 and isinstance(alone[0][1], nn.ModuleList):
            yield from _parts(alone[0][1], _join(here, alone[0][0]))
        else:
            yield here, child


def _children(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if next(child.parameters(), None) is not None:
            yield name, child


def _parameters(model: nn.Module, paths: Sequence[str]) -> list[str]:
    owned = {id(p): None for path in paths for p in model.get_submodule(path).parameters()}
    return [name for name, p in model.named_parameters() if id(p) in owned]


def _first_come(held: Sequence[list[str]]) -> list[list[str]]:
    taken: set[str] = set()
    out = []
    for names in held:
        out.append([name for name in names if name not in taken])
        taken.update(names)
    return out


def _named(model: nn.Module, found: Sequence[Group], name: str) -> Group:
    for group in found:
        if group.name == name:
            return group
    modules = dict(model.named_modules())
    for path in (name, f"backbone.{name}"):
        if path and path in modules and next(modules[path].parameters(), None) is not None:
            return Group(name, (path,), tuple(_parameters(model, [path])))
    raise ValueError(
        f"names holds {name!r}, which is neither a group of the model nor the path of a module "
        f"with parameters; its groups are {_listed(found)}"
    )


def _listed(found: Sequence[Group]) -> str:
    return ", ".join(group.name for group in found)


def _join(path: str, name: str) -> str:
    return ".".join(part for part in (path, name) if part)
