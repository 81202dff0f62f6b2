"""All weights shrunk towards zero, with a little of fresh ones added."""

from typing import Literal, get_args

import torch
from torch import nn
from torch.optim import Optimizer

from holdfast.nets.groups import NORMS
from holdfast.nets.learner import Learner
from holdfast.starts.checked import check_factor
from holdfast.starts.drawn import check_drawable, drawn_copy
from holdfast.starts.reset_optimizer import forget_in_run, reset_optimizer_state
from holdfast.starts.start import Start
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream

Norms = Literal["mix", "keep"]


@torch.no_grad()
def shrink_perturb_(
    model: nn.Module,
    fresh: nn.Module,
    shrink: float = 0.4,
    perturb: float = 0.1,
    *,
    norms: Norms = "mix",
    optimizer: Optimizer | None = None,
) -> None:
    """Shrink and perturb a model in place.

        theta <- shrink theta + perturb theta_fresh

    for each trainable parameter, theta_fresh the same parameter of a newly made net, so that the
    noise of each has the scale of its own initialisation. ``shrink=1, perturb=0`` changes no
    parameter, ``shrink=0, perturb=1`` is a fresh start.

    Running statistics of norm layers are of activations that are gone: they become those of
    `fresh`. Until they have followed some batches, evaluation mode is far off. Gains and biases of
    norm layers are parameters like others with ``mix``, which is the published form; ``keep``
    leaves them. Behind batch norm that makes a large difference: the norm undoes the shrinking of
    the weights before it, so that what is left of it is a larger effective learning rate.

    Ash & Adams, "On Warm-Starting Neural Network Training", NeurIPS 2020; defaults of their public
    code.

    Args:
        model: any module.
        fresh: a newly made module of the same parameters; it stays as it is.
        shrink: lambda, of the old weights.
        perturb: sigma, of the fresh ones.
        norms: ``mix`` or ``keep``.
        optimizer: in whose state the parameters begin anew, see `reset_optimizer_state`.

    Raises:
        ValueError: a factor below 0, an unknown `norms`, or a `fresh` without a parameter of the
            same name and shape. Nothing has been changed then.

    >>> net, fresh = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> net.weight.data, fresh.weight.data = torch.ones(1, 1), 2 * torch.ones(1, 1)
    >>> shrink_perturb_(net, fresh, 0.5, 0.25)
    >>> net.weight.item()
    1.0
    """
    _check(shrink, perturb, norms)
    kept = _norm_parameters(model) if norms == "keep" else set()
    others = dict(fresh.named_parameters())
    pairs = []
    for name, p in model.named_parameters():
        if not p.requires_grad or name in kept:
            continue
        if name not in others or others[name].shape != p.shape:
            held = tuple(others[name].shape) if name in others else "none"
            raise ValueError(
                f"fresh must be a newly made net of the same form: model has {name} of shape "
                f"{tuple(p.shape)}, fresh {held}"
            )
        pairs.append((p, others[name]))
    statistics = _statistics(model, fresh)
    if optimizer is not None:
        reset_optimizer_state(optimizer, [p for p, _ in pairs])
    for p, other in pairs:
        p.mul_(shrink).add_(other.to(p), alpha=perturb)
    for own, new in statistics:
        own.copy_(new)


class ShrinkPerturb(Start):
    """Before each task but the first all weights are shrunk, and fresh ones added.

    See `shrink_perturb_` for the formula and for what becomes of norm layers. The fresh net is
    drawn from the run's seed and the position of the task, as `Fresh` draws one. Frozen parameters
    stay. Rows that the head has just made for new classes are shrunk with the others. Where the
    optimizer's state is carried on, it begins anew.

    Made for tasks that bring all earlier samples with them (`holdfast.streams.growing`, or
    `holdfast.methods.Joint`): nothing here keeps old tasks that are not trained on.

    Args:
        shrink: lambda.
        perturb: sigma.
        norms: ``mix`` or ``keep``.

    Raises:
        ValueError: see `shrink_perturb_`; from `check`, modules whose parameters nothing redraws.
    """

    def __init__(self, shrink: float = 0.4, perturb: float = 0.1, norms: Norms = "mix") -> None:
        _check(shrink, perturb, norms)
        self.shrink, self.perturb, self.norms = shrink, perturb, norms

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse a learner with parameters that cannot be drawn."""
        check_drawable(learner)

    def prepare(self, learner: Learner, context: Context) -> None:
        """Shrink and perturb the learner in place."""
        if context.index == 0:
            return
        fresh = drawn_copy(learner, context.seed, "shrink_perturb", context.index)
        shrink_perturb_(learner, fresh, self.shrink, self.perturb, norms=self.norms)
        names = [name for name, p in learner.named_parameters() if p.requires_grad]
        forget_in_run(learner, context, names)


def _check(shrink: float, perturb: float, norms: str) -> None:
    check_factor("shrink", shrink)
    check_factor("perturb", perturb)
    if norms not in get_args(Norms):
        raise ValueError(f"norms must be one of {get_args(Norms)}, got {norms!r}")


def _norm_parameters(model: nn.Module) -> set[str]:
    norms = [(path, m) for path, m in model.named_modules() if isinstance(m, NORMS)]
    return {f"{path}.{name}".lstrip(".") for path, m in norms for name, _ in m.named_parameters()}


def _statistics(model: nn.Module, fresh: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Buffers of the norm layers that are not frozen, beside those of the fresh net."""
    pairs = []
    for path, module in model.named_modules():
        own = list(module.parameters())
        if isinstance(module, NORMS) and (not own or any(p.requires_grad for p in own)):
            for name, buffer in module.named_buffers():
                pairs.append((buffer, fresh.get_submodule(path).get_buffer(name)))
    return pairs
