"""Drawing the weights of a module anew, as they were drawn when it was made."""

import torch
from torch import Tensor, nn
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


@torch.no_grad()
def fresh_parameters(
    module: nn.Module, name: str, seed: int, *purpose: str | int
) -> dict[str, Tensor]:
    """The parameters that a part of `module` has after `redraw` of it, which is left as it is.

    Drawn by the outermost module around the part that has a `reset_parameters`, whose word is the
    last on its weights; the result is a function of the seed and the purpose.

    Args:
        module: of which the part is one.
        name: of the part.
        seed: see `redraw`.
        purpose: likewise.

    Returns:
        copies of the part's own parameters, by name.

    Raises:
        ValueError: see `check_redrawable`, of the part.

    >>> net = nn.Sequential(nn.Linear(2, 3))
    >>> before = net[0].weight.clone()
    >>> {k: tuple(p.shape) for k, p in fresh_parameters(net, "0", 0).items()}
    {'weight': (3, 2), 'bias': (3,)}
    >>> torch.equal(net[0].weight, before)
    True
    """
    part = module.get_submodule(name)
    steps = name.split(".") if name else []
    around = [module.get_submodule(".".join(steps[:i])) for i in range(len(steps) + 1)]
    drawer = next((m for m in around if _draws(m)), part)
    check_redrawable(drawer)
    kept = [(t, t.clone()) for t in (*drawer.parameters(), *drawer.buffers())]
    try:
        redraw_known(drawer, seed, *purpose)
        return {k: p.detach().clone() for k, p in part.named_parameters(recurse=False)}
    finally:
        for tensor, values in kept:
            tensor.copy_(values)


def _draws(module: nn.Module) -> bool:
    return any(callable(getattr(module, name, None)) for name in _RESETS)
