"""What is refused before anything is changed."""

from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Integral

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from holdfast.methods.arguments import check_number, check_positive_integer
from holdfast.methods.halrp.decompose import Decomposition
from holdfast.methods.halrp.kinds import ConvMode, check_conv_mode
from holdfast.methods.halrp.layers import PerTask, Perturbed
from holdfast.methods.halrp.swap import survey
from holdfast.seeds import derive


def check_model(
    model: nn.Module,
    conv: ConvMode,
    heads: tuple[str, ...],
    skip: tuple[str, ...],
    freeze_others: bool,
) -> tuple[list[str], list[str]]:
    """Refuse a model that cannot be adapted so.

    Returns:
        Names of what is left as it is with all below, and of layers and modules whose own
        parameters are.

    Raises:
        TypeError: the model is no module.
        ValueError: see `holdfast.methods.halrp.adapt`.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {model!r}")
    check_conv_mode(conv)
    modules = dict(model.named_modules())
    twice = [n for n, m in modules.items() if isinstance(m, Perturbed | PerTask)]
    if twice:
        raise ValueError(
            f"model is adapted already (at {twice[0]!r}); add tasks to it, or adapt what its "
            "merge(None) gives"
        )
    strangers = [n for n in (*heads, *skip) if not n or n not in modules]
    if strangers:
        raise ValueError(
            f"heads and skip must name modules of the model, which has no {strangers[:3]}"
        )
    both = [n for n in heads if n in skip]
    if both:
        raise ValueError(f"heads and skip both name {both[:3]}: each task's own, or left alone?")
    for name in heads:
        if not isinstance(modules[name], nn.Linear):
            raise ValueError(
                f"heads must name torch.nn.Linear layers, {name!r} is a "
                f"{type(modules[name]).__name__}"
            )
    lazy = [
        n for n, m in modules.items()
        if any(isinstance(p, UninitializedParameter) for p in m.parameters(recurse=False))
    ]  # fmt: skip
    if lazy:
        raise ValueError(
            f"modules {lazy[:5]} are lazy and have no weights yet; call the model on a batch first"
        )
    left, others = survey(model, heads, skip)
    if others and not freeze_others:
        told = "; ".join(f"{name or 'the model'!r} {why}" for name, why in list(others.items())[:5])
        raise ValueError(
            f"{len(others)} modules cannot be perturbed: {told}. Name them in skip, or leave all "
            "such as they are with freeze_others"
        )
    return left, list(others)


def check_names(name: str, names: Sequence[str]) -> tuple[str, ...]:
    """Names of modules.

    Raises:
        TypeError: it is a string, whose letters would be taken for names, or holds other things.
    """
    if isinstance(names, str) or any(not isinstance(one, str) for one in names):
        raise TypeError(f"{name} must be a list of names of modules, got {names!r}")
    return tuple(names)


def check_name(task: int | str, taken: Collection[str]) -> str:
    """The id of a new task as a name.

    Raises:
        TypeError: it is neither a number nor a name.
        ValueError: it is there already, or cannot be a name of a submodule.
    """
    if not isinstance(task, Integral | str) or isinstance(task, bool):
        raise TypeError(f"task must be a whole number or a name, got {task!r}")
    name = str(task)
    if name in taken:
        raise ValueError(f"task {name!r} is there already; remove it first")
    odd = not name.isprintable() or "." in name or "/" in name
    if not name or odd or hasattr(nn.ModuleDict(), name):
        raise ValueError(
            "task must be a number or a printable name without dots and slashes that is no "
            f"attribute of torch.nn.ModuleDict, got {task!r}"
        )
    return name


def check_room(outputs: int | None, seed: int, factor: float | None = None) -> None:
    """Refuse what heads and U V of a new task cannot be made with.

    Raises:
        TypeError: of another kind.
        ValueError: no outputs, a negative seed, or a factor that is not finite and above 0.
    """
    if outputs is not None:
        check_positive_integer("outputs", outputs)
    if factor is not None:
        check_number("factor", factor, positive=True)
    derive(seed)


def check_ranks(
    ranks: Mapping[str, int] | int,
    layers: Mapping[str, Perturbed],
    found: Mapping[str, Decomposition] | None = None,
) -> dict[str, int]:
    """The rank of each layer: 0 where none is named, and as far as it can be for one number.

    Raises:
        TypeError: ranks are no whole numbers.
        ValueError: ranks that the layers, or what was found of them, cannot have, by name.
    """
    if not isinstance(ranks, Mapping):
        _check_whole("ranks", ranks)
        if ranks < 0:
            raise ValueError(f"ranks must be at least 0, got {ranks}")
        ranks = {n: min(ranks, layer.shape.largest_rank) for n, layer in layers.items()}
    strangers = [n for n in ranks if n not in layers]
    if strangers:
        raise ValueError(f"ranks name layers {strangers[:3]} that are not there: {list(layers)}")
    lacking = [n for n in layers if found is not None and n not in found]
    if lacking:
        raise ValueError(f"found has no decomposition of layers {lacking[:3]}")
    for name, rank in ranks.items():
        _check_whole(f"rank of {name}", rank)
        most = layers[name].shape.largest_rank
        if not 0 <= rank <= most:
            raise ValueError(f"rank of {name} must be from 0 to {most}, got {rank}")
        if found is not None and rank > len(found[name].values):
            raise ValueError(
                f"rank of {name} is {rank}, but found holds {len(found[name].values)} of its "
                "singular triplets; decompose with a larger most"
            )
    return {n: ranks.get(n, 0) for n in layers}


def _check_whole(name: str, value: object) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, got {value!r}")


def check_task_ids(task: Tensor, known: Callable[[int], str]) -> list[int]:
    """The tasks in a batch, all of which are there.

    Raises:
        ValueError: the ids are no vector of integers, there are none, or one is unknown.
    """
    if task.ndim != 1 or task.is_floating_point() or task.dtype == torch.bool or not len(task):
        raise ValueError(
            f"task must be the id of one task or a vector of integers, one for each sample; got "
            f"{task.dtype} of shape {tuple(task.shape)}"
        )
    ids = [int(i) for i in task.unique().tolist()]
    for one in ids:
        known(one)
    return ids
