"""Some groups of layers drawn anew: the last ones, or those named."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from holdfast.nets.groups import Group, groups, last_groups
from holdfast.nets.learner import Learner
from holdfast.seeds import derive, generator
from holdfast.starts.drawn import check_drawable, drawn_copy
from holdfast.starts.reset_optimizer import forget_in_run, reset_optimizer_state
from holdfast.starts.start import Start
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


@torch.no_grad()
def reset_groups_(
    model: nn.Module,
    k: int | None = None,
    seed: int = 0,
    *,
    names: Sequence[str] | None = None,
    optimizer: Optimizer | None = None,
) -> tuple[Group, ...]:
    """Draw the last `k` groups of a model anew, in place, or the groups named.

    New weights have the distribution of the model's own initialisation
    (`holdfast.nets.redraw.redraw`); running statistics of the groups' norm layers start again at 0
    and 1. The other groups stay bit for bit. A group is drawn alike, whichever others are. Frozen
    parameters stay.

    Args:
        model: any module, see `holdfast.nets.groups` for its groups.
        k: how many, from the output.
        seed: of the draws.
        names: of groups, or paths of modules, instead.
        optimizer: in whose state the parameters begin anew, see `reset_optimizer_state`.

    Returns:
        the groups.

    Raises:
        ValueError: both or neither of `k` and `names`, groups that are not there (with those that
            are), or parameters that nothing draws. Nothing has been changed then.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> kept, old = net[0].weight.clone(), net[2].weight.clone()
    >>> [group.name for group in reset_groups_(net, 1)]
    ['2']
    >>> bool((net[0].weight == kept).all()), bool((net[2].weight == old).any())
    (True, False)
    """
    chosen = _chosen(model, k, names)
    fresh = drawn_copy(model, seed, groups=chosen)
    own, others = dict(model.named_parameters()), dict(fresh.named_parameters())
    drawn = [n for group in chosen for n in group.parameters if own[n].requires_grad]
    if optimizer is not None:
        reset_optimizer_state(optimizer, [own[name] for name in drawn])
    for name in drawn:
        own[name].copy_(others[name])
    for path in (path for group in chosen for path in group.modules):
        buffers = model.get_submodule(path).named_buffers()
        for name, buffer in buffers:
            buffer.copy_(fresh.get_submodule(path).get_buffer(name))
    return chosen


class ResetGroups(Start):
    """Before each task but the first some groups of layers are drawn anew, see `reset_groups_`.

    Drawn from the run's seed and the position of the task. Left in the record: the names of the
    groups. Where the optimizer's state is carried on, that of the groups begins anew.

    Berariu et al., "A study on the plasticity of neural networks", 2021, reset groups of a
    ResNet-18 (its first convolution, four modules, the head) between pretraining and tuning.

    Args:
        k: how many, from the output: 1 is the head. With a head a task the new head is drawn
            already, and it counts.
        names: of groups, or paths of modules, instead.

    Raises:
        ValueError: both or neither of `k` and `names`; from `check`, groups the learner does not
            have, or parameters that nothing draws.
    """

    def __init__(self, k: int | None = None, names: Sequence[str] | None = None) -> None:
        _check(k, names)
        self.k, self.names = k, names

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse what the learner will not have."""
        grown = copy.deepcopy(learner)
        # A head that has no rows yet is a group once it has some.
        grown.accommodate(0, stream[0], generator(0))
        check_drawable(grown, _chosen(grown, self.k, self.names))

    def prepare(self, learner: Learner, context: Context) -> dict[str, Any] | None:
        """Draw the groups anew, in place; their names are for the record."""
        if context.index == 0:
            return None
        seed = derive(context.seed, "reset_groups", context.index)
        chosen = reset_groups_(learner, self.k, seed, names=self.names)
        forget_in_run(learner, context, [name for group in chosen for name in group.parameters])
        return {"reset": [group.name for group in chosen]}


def _check(k: int | None, names: Sequence[str] | None) -> None:
    if (k is None) == (names is None):
        raise ValueError(f"give one of k and names; got k={k!r} and names={names!r}")
    if k is not None and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
        raise ValueError(f"k must be a positive integer, got {k!r}")
    if names is not None and (isinstance(names, str) or len(names) == 0):
        raise ValueError(f"names must be a list with one name or more, got {names!r}")


def _chosen(model: nn.Module, k: int | None, names: Sequence[str] | None) -> tuple[Group, ...]:
    _check(k, names)
    return last_groups(model, k) if k is not None else groups(model, names)
