"""A copy of a model with weights drawn anew."""

import copy
from collections.abc import Sequence

from torch import nn

from holdfast.nets.groups import Group
from holdfast.nets.redraw import check_redrawable, redraw_known


def drawn_copy(
    model: nn.Module, seed: int, *purpose: str | int, groups: Sequence[Group] | None = None
) -> nn.Module:
    """A copy of the model as `holdfast.nets.redraw.redraw` draws it; the model stays as it is.

    Args:
        model: any module.
        seed: of the draws, see `holdfast.seeds.derive`.
        purpose: of the draws.
        groups: of the model that must be drawn anew; `None`: all of it. The draws of a group are
            the same, whichever others are asked for.

    Raises:
        ValueError: parameters that nothing draws, see `check_redrawable`.
    """
    check_drawable(model, groups)
    fresh = copy.deepcopy(model)
    redraw_known(fresh, seed, *purpose)
    return fresh


def check_drawable(model: nn.Module, groups: Sequence[Group] | None = None) -> None:
    """Refuse a model, or groups of one, with parameters that no `reset_parameters` draws."""
    try:
        check_redrawable(model)
    except ValueError:
        if groups is None or any(_holds_more(model, group) for group in groups):
            raise
        # What stands in the way may be elsewhere.
        for group in groups:
            for path in group.modules:
                check_redrawable(model.get_submodule(path))


def _holds_more(model: nn.Module, group: Group) -> bool:
    """Whether a group has parameters outside its modules."""
    inside = {id(p) for path in group.modules for p in model.get_submodule(path).parameters()}
    return any(id(model.get_parameter(name)) not in inside for name in group.parameters)
