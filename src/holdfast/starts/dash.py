"""Weights shrunk the more the less they point where the gradient would take them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.optim import Optimizer

from holdfast.nets.heads import GrowingHead
from holdfast.nets.learner import Learner
from holdfast.nets.modes import evaluation_mode
from holdfast.starts.checked import check_factor
from holdfast.starts.chunks import chunk_batches
from holdfast.starts.reset_optimizer import forget_in_run, reset_optimizer_state
from holdfast.starts.start import Start
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream

Item = TypeVar("Item")

_CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
_WEIGHTS: tuple[tuple[tuple[type[nn.Module], ...], tuple[str, ...]], ...] = (
    ((nn.Linear, GrowingHead), ("weight",)),
    (_CONVOLUTIONS, ("weight",)),
    (
        (nn.MultiheadAttention,),
        ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
    ),
)


def dash_(
    model: nn.Module,
    batches: Iterable[Item],
    loss: Callable[[nn.Module, Item], Tensor],
    *,
    alpha: float = 0.3,
    floor: float = 0.3,
    biases: bool = False,
    optimizer: Optimizer | None = None,
) -> dict[str, Tensor]:
    """Direction-aware shrinking (DASH) of a model in place.

    With g_1 ... g_K the gradients of the loss on the batches, all at the present weights,

        d_k = (1 - alpha) d_(k-1) - alpha g_k,   d_0 = 0,
        w <- clip(cos(w, d_K), floor, 1) w

    for w each row of a linear layer (of attention's projections and of a head too) and each kernel
    of a convolution, one for an (output, input) pair of channels. What points where the loss falls
    was worth learning and stays; what has no part in it, or points the other way, goes down to
    `floor`. Where d is 0, of a dead unit say, the cosine counts as 0; weights that the loss does
    not reach, such as another task's head, stay, and so do frozen ones, norm layers, embeddings and
    other parameters. A kernel of 1 x 1 is one number, whose cosine is its sign alone.

    The gradients are taken in evaluation mode: no dropout, running statistics used and left alone.

    Shin et al., "DASH: Warm-Starting Neural Network Training in Stationary Settings without Loss of
    Plasticity", NeurIPS 2024. Their public code also scales each layer's bias, as one vector
    (``biases=True``), and leaves the mode as it happens to be.

    Args:
        model: any module.
        batches: one of each chunk of data, in the order in which they arrived.
        loss: of the model and a batch, a scalar.
        alpha: weight of the next gradient in the average, above 0 and at most 1.
        floor: lambda, the least factor.
        biases: whether to scale those of linear layers and convolutions.
        optimizer: in whose state the scaled parameters begin anew, see `reset_optimizer_state`.

    Returns:
        the factors of each scaled parameter, by its name: (rows,) or (channels, channels).

    Raises:
        ValueError: an option out of range, no batches, a loss that is no finite scalar, no layer to
            shrink, or one whose weight a parametrization computes, named. Nothing has been changed
            then.

    >>> net = nn.Linear(2, 2, bias=False)
    >>> net.weight.data = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    >>> factors = dash_(net, [torch.tensor([-1.0, 0.0])], lambda net, x: net(x).sum())
    >>> factors["weight"], net.weight.data[1]
    (tensor([0.6000, 0.3000]), tensor([0.0000, 0.3000]))
    """
    _check(alpha, floor)
    weights = dict(_shrinkable(model, biases))
    direction = _direction(model, weights, batches, loss, alpha)
    if optimizer is not None:
        reset_optimizer_state(optimizer, [weights[name] for name in direction])
    factors = {}
    with torch.no_grad():
        for name, d in direction.items():
            w = weights[name]
            factors[name] = _cosine(w, d).clamp(floor, 1.0).to(w.dtype)
            w.mul_(factors[name].view(*factors[name].shape, *[1] * (w.ndim - factors[name].ndim)))
    return factors


class Dash(Start):
    """Before each task but the first the weights are shrunk by direction, see `dash_`.

    A batch is drawn of each chunk in which the samples of the phase arrived, the new one last, as
    in the authors' public code: with `holdfast.streams.growing` what each task added, else the
    samples of each task that is trained on. The loss is that of training. Where the optimizer's
    state is carried on, that of the scaled weights begins anew. Left in the record: the number of
    ``chunks`` and of ``samples``, the mean ``factor`` over rows and kernels, and the share of them
    ``at_floor``.

    Args:
        alpha: of the moving average.
        floor: the least factor.
        samples: of a chunk at most. The authors take all of it.
        biases: whether to scale those of linear layers and convolutions.

    Raises:
        ValueError: an option out of range; from `check`, see `dash_`.
    """

    def __init__(
        self, alpha: float = 0.3, floor: float = 0.3, samples: int = 1024, biases: bool = False
    ) -> None:
        _check(alpha, floor)
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
            raise ValueError(f"samples must be a positive integer, got {samples!r}")
        self.alpha, self.floor, self.samples, self.biases = alpha, floor, samples, biases

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse a learner with layers that cannot be shrunk."""
        # Heads grow rows later; in them there is nothing that could be refused.
        dict(_shrinkable(learner, self.biases))

    def prepare(self, learner: Learner, context: Context) -> dict[str, Any] | None:
        """Shrink the weights in place; what was done is for the record."""
        if context.index == 0:
            return None

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            return context.criterion(model(batch.x, batch.task), batch.y)

        batches = chunk_batches(context, self.samples)
        factors = dash_(
            learner, batches, loss, alpha=self.alpha, floor=self.floor, biases=self.biases
        )
        forget_in_run(learner, context, factors)
        every = torch.cat([f.flatten().float() for f in factors.values()])
        return {
            "chunks": len(batches),
            "samples": sum(len(batch) for batch in batches),
            "factor": every.mean().item(),
            # Compared in the precision in which it was clipped.
            "at_floor": (every <= self.floor).float().mean().item(),
        }


def _check(alpha: float, floor: float) -> None:
    check_factor("alpha", alpha, 1.0)
    check_factor("floor", floor, 1.0)
    if alpha == 0:
        raise ValueError("alpha must be above 0, got 0")


def _shrinkable(model: nn.Module, biases: bool) -> Iterator[tuple[str, nn.Parameter]]:
    """The weights that are rows or kernels, by name, those without entries too."""
    computed, seen = [], set()
    for path, module in model.named_modules():
        names = next((names for kinds, names in _WEIGHTS if isinstance(module, kinds)), ())
        if names and is_parametrized(module):
            computed.append(path or "the model")
        for name, p in module.named_parameters(recurse=False):
            if not p.requires_grad or id(p) in seen:
                continue
            if name in names or (biases and name == "bias" and names == ("weight",)):
                seen.add(id(p))
                yield f"{path}.{name}".lstrip("."), p
    if computed:
        raise ValueError(
            f"cannot shrink {', '.join(computed)}: a parametrization computes the weight; remove "
            "it (torch.nn.utils.parametrize.remove_parametrizations) first"
        )
    if not seen:
        raise ValueError(
            f"model must have a linear layer or a convolution to shrink; {type(model).__name__} "
            "has none that is trained"
        )


def _cosine(w: Tensor, d: Tensor) -> Tensor:
    """One for a vector, each row of a matrix, or each kernel of a convolution."""
    flat = [
        t.double()[None] if t.ndim == 1 else t.double().flatten(min(t.ndim - 1, 2)) for t in (w, d)
    ]
    # Gradients of a loss that is almost zero are far below the usual floor on norms of 1e-8.
    sizes = flat[0].norm(dim=-1) * flat[1].norm(dim=-1)
    return (flat[0] * flat[1]).sum(-1) / sizes.where(sizes > 0, 1.0)


def _direction(
    model: nn.Module,
    weights: dict[str, nn.Parameter],
    batches: Iterable[Item],
    loss: Callable[[nn.Module, Item], Tensor],
    alpha: float,
) -> dict[str, Tensor]:
    """The average of the negative gradients, of the weights that the loss reached."""
    direction: dict[str, Tensor] = {}
    count = 0
    with evaluation_mode(model), torch.enable_grad():
        for count, batch in enumerate(batches, start=1):
            value = loss(model, batch)
            if value.numel() != 1 or not bool(value.isfinite()) or not value.requires_grad:
                raise ValueError(
                    f"loss must give a finite scalar of the model's weights; for batch {count} it "
                    f"gave {value.item() if value.numel() == 1 else tuple(value.shape)}"
                )
            gradients = torch.autograd.grad(value, list(weights.values()), allow_unused=True)
            for (name, w), g in zip(weights.items(), gradients, strict=True):
                if g is None and name not in direction:
                    continue
                before = direction.get(name, torch.zeros_like(w))
                direction[name] = (1 - alpha) * before - (0.0 if g is None else alpha * g)
    if count == 0:
        raise ValueError("batches is empty: the direction needs one batch or more")
    return direction
