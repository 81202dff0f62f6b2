"""Drawing the weights of a module anew, as they were drawn when it was made."""

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from holdfast.nets.scaled import Scaling, draw
from holdfast.seeds import seeded


def check_redrawable(module: nn.Module) -> None:
    """Refuse a module some of whose trainable parameters no `reset_parameters` redraws.

    Raises:
        ValueError: naming the submodules that hold parameters and have no `reset_parameters`,
            neither themselves nor above them, or that have one which a parametrization (of
            `torch.nn.utils.parametrize`) leaves without effect.
    """
    stubborn = _stubborn(module, "")
    if stubborn:
        raise ValueError(
            f"cannot draw new weights for {', '.join(stubborn)}: give each of these modules (or "
            "one that contains it) a method reset_parameters() that draws its parameters in place"
        )


def redraw(module: nn.Module, seed: int, *purpose: str | int) -> None:
    """Draw the parameters of `module` anew, in place, and reset running statistics.

    Calls `reset_parameters` wherever a submodule has it, the inner before the outer: a net whose
    weights are not drawn as the layers of `torch.nn` draw theirs says so in a `reset_parameters`
    of its own, which then has the last word, except over what a parametrization draws. A submodule
    whose parameters are all frozen is left as it is, running statistics too. The result is a
    function of the seed and the purpose (see `holdfast.seeds.derive`), on one kind of device; the
    global generators are left alone.

    Raises:
        ValueError: see `check_redrawable`; nothing has been changed then.

    >>> a, b = nn.Linear(2, 3), nn.Linear(2, 3)
    >>> redraw(a, 0, "fresh", 1); redraw(b, 0, "fresh", 1)
    >>> bool((a.weight == b.weight).all())
    True
    """
    check_redrawable(module)
    redraw_known(module, seed, *purpose)


def redraw_known(module: nn.Module, seed: int, *purpose: str | int) -> None:
    """`redraw` without the check: parameters that nothing redraws stay as they are."""
    with seeded(seed, *purpose):
        module.apply(_reset)
        for own in module.modules():
            if _is_drawn(own) and not _frozen(own):
                draw(own)


def _reset(module: nn.Module) -> None:
    if _frozen(module) or _is_drawn(module):
        return
    for name in _RESETS:
        if callable(reset := getattr(module, name, None)):
            reset()
            return


def _stubborn(module: nn.Module, path: str) -> list[str]:
    if _frozen(module):
        return []
    here = [f"{path or 'the module'} ({type(module).__name__})"]
    if is_parametrized(module):
        return here
    if any(callable(getattr(module, name, None)) for name in _RESETS):
        return []
    own = next(module.parameters(recurse=False), None) is not None
    found = here if own and not _is_drawn(module) else []
    for name, child in module.named_children():
        found = found + _stubborn(child, f"{path}.{name}" if path else name)
    return found


def _is_drawn(module: nn.Module) -> bool:
    """Whether the own parameters of a module are drawn as its scaling says."""
    scaling = getattr(module, "scaling", None)
    return isinstance(scaling, Scaling) and scaling.std is not None


def _frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)


_RESETS = ("reset_parameters", "_reset_parameters")
"""What `torch.nn` calls it; attention and transformers have the second."""
