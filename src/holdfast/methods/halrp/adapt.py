"""The way in: a model made one that learns task after task."""

from collections.abc import Sequence

from torch import nn

from holdfast.methods.halrp.adapted import Adapted, Task
from holdfast.methods.halrp.kinds import ConvMode
from holdfast.methods.halrp.layers import Perturbation, perturbed_layers


def adapt(
    model: nn.Module,
    *,
    conv: ConvMode = "flat",
    heads: Sequence[str] = (),
    skip: Sequence[str] = (),
    freeze_others: bool = False,
    base_task: Task | None = None,
) -> Adapted:
    """Make a model one that can learn task after task on a base that stays; see `Adapted`.

    The model is changed in place and held by the result; a failed call changes nothing. Linear
    layers (GPT-2's Conv1D too) and one- and two-dimensional convolutions are perturbed, norm layers
    and heads are each task's own. Embeddings are left as they are, and named in `Adapted.left`
    with all else that is. A layer in two places of the model is one layer here too.

    Args:
        model: whose function is the base.
        conv: of the low-rank part of convolutions, see `ConvMode`.
        heads: names of linear layers that each task has its own of, newly drawn.
        skip: names of modules that are left as they are, with all below them.
        freeze_others: whether layers that cannot be perturbed, and parameters that modules of
            other kinds hold themselves, are left as they are instead of refused.
        base_task: id of the task that the model itself is for, or `None`.

    Raises:
        ValueError: unknown names, heads that are no linear layers, a model that is adapted already
            or has lazy modules, or, unless `freeze_others`, parts that cannot be perturbed: other
            kinds of modules with parameters, weights that are computed (torch parametrizations),
            packed or shared with another module, layers with a forward of their own.
    """
    return Adapted(model, conv, heads, skip, freeze_others, base_task)


def ranks(model: Adapted, task: Task) -> dict[str, int]:
    """The rank of each perturbed layer of a task."""
    name = model.known(task)
    found = ((n, layer.tasks[name]) for n, layer in perturbed_layers(model.model))
    return {n: own.rank for n, own in found if isinstance(own, Perturbation)}
