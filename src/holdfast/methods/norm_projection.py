"""Weights held at the norm they began with, and a learning rate warm again at each task."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holdfast.methods.arguments import check_choice, check_number
from holdfast.methods.halrp.swap import is_norm
from holdfast.methods.method import Method
from holdfast.methods.weights import Weight, weights
from holdfast.nets.learner import Learner
from holdfast.nets.residual import Branch
from holdfast.nets.resnet import BasicBlock
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream

Layers = Literal["backbone", "before_norm", "all"]
"""Which weights are projected: of the backbone, of its layers right before a norm, or of all."""

_PAIRS: dict[type[nn.Module], tuple[tuple[str, str], ...]] = {
    BasicBlock: (("conv1", "norm1"), ("conv2", "norm2")),
    Branch: (("conv", "norm"),),
}
"""Layers and the norms that alone take their outputs, in blocks that are no `Sequential`."""


class WeightNormProjection(Method):
    """Put every weight W back to the Frobenius norm it began with, after each step.

        W <- W |W_0| / |W|,

    W_0 the weight as its first task began with it, after the start prepared it (that of a head that
    grows: as the task did that last gave it rows).

    How fast a layer turns is told by its *effective* rate, lr / |W|^2 for gradient descent and
    lr / |W| for optimizers that normalise the gradient such as Adam: exactly so where a norm
    follows the layer, whose outputs then do not depend on the size of W. As training goes on norms
    grow, and the effective rate decays with them, whatever the schedule says; with norms held it is
    the schedule. With `cycle` it is a cycle that begins anew at each task: the learning rate of
    training is multiplied by `rate_cycle`, which warms up, then falls. It comes on top of
    ``training.schedule``, which is best left ``constant``, and is not in the learning rate that the
    record's curve tells.

    Which weights:

    - ``backbone``: all but those of the heads. Behind the last of them the head remains free to
      set the scale of the logits, which in a net of ReLUs is all that scales decide, up to biases.
    - ``before_norm``: those whose scale does not matter, since their outputs go into a norm layer
      and nowhere else (found in `torch.nn.Sequential` and the blocks of `holdfast.nets`).
    - ``all``: the heads' too, which bounds the logits.

    The bias of a layer before a norm is multiplied with its weight, which leaves the function as it
    is (up to the norm's epsilon, and to running statistics, which follow); other biases, norm
    layers, learned tokens and tables of embeddings are left as they are.

    Lyle et al., "Normalization and Effective Learning Rates in Reinforcement Learning", 2024. The
    shape of the cycle and the three choices of layers are ours.

    Args:
        layers: see above.
        cycle: whether the learning rate of each task is a cycle.
        warmup: share of the steps of a task over which the rate rises.
        floor: the rate at the ends of the cycle, over the peak.
    """

    def __init__(
        self,
        *,
        layers: Layers = "backbone",
        cycle: bool = True,
        warmup: float = 0.1,
        floor: float = 0.01,
    ) -> None:
        check_choice("layers", layers, Layers)
        check_number("warmup", warmup, to=1.0)
        check_number("floor", floor, to=1.0)
        self.layers, self.cycle, self.warmup, self.floor = layers, cycle, warmup, floor
        self._norms: dict[str, dict[str, Any]] = {}
        self._step = 0
        self._rates: list[float] = []
        self._weights: list[Weight] | None = None
        self._scaled: set[str] = set()

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse layers whose parameters are not known, weights of 0, and nets without a layer to
        project.

        Raises:
            ValueError: naming the layer.
        """
        found = self._found(learner)
        if self.layers == "before_norm" and not found:
            raise ValueError(
                "layers is 'before_norm', but no layer of the backbone is right before a norm "
                "layer; give the net norm='layer' or 'batch', or take layers='backbone'"
            )
        _norms(found)

    def forget(self) -> None:
        """Drop the norms of another net."""
        self._norms = {}

    def begin_task(self, learner: Learner, context: Context) -> None:
        """Note the norms of weights met for the first time, or grown."""
        self._step, self._weights = 0, None
        found = self._found(learner)
        norms = _norms(found)
        for weight in found:
            shape = list(weight.parameter.shape)
            if self._norms.get(weight.name, {}).get("shape") != shape:
                self._norms[weight.name] = {"norm": norms[weight.name], "shape": shape}

    def after_backward(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Give the optimizer the rate of this step."""
        optimizer = context.optimizer()
        self._rates = []
        if not self.cycle or optimizer is None:
            return
        steps = context.source.steps(context.batch_size) * context.epochs
        factor = rate_cycle(self._step, steps, self.warmup, self.floor)
        for group in optimizer.param_groups:
            self._rates.append(group["lr"])
            group["lr"] = group["lr"] * factor

    def after_step(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Project, and put the learning rate back for the next step to begin from."""
        optimizer = context.optimizer()
        if optimizer is not None:
            for group, lr in zip(optimizer.param_groups, self._rates, strict=False):
                group["lr"] = lr
        self._step += 1
        if self._weights is None:
            self._weights = self._found(learner)
            self._scaled = layers_before_norm(learner)
        _project(self._weights, [self._norms[w.name]["norm"] for w in self._weights], self._scaled)

    def end_task(self, learner: Learner, context: Context) -> None:
        """Of the learner nothing is kept but the norms."""
        self._weights = None

    def state_dict(self) -> dict[str, Any]:
        """The norms, and the steps of the task so far."""
        return {"norms": dict(self._norms), "step": self._step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._norms, self._step = dict(state["norms"]), int(state["step"])
        self._weights = None

    def _found(self, learner: Learner) -> list[Weight]:
        found = weights(learner, () if self.layers == "all" else ("heads",))
        if self.layers != "before_norm":
            return found
        before = layers_before_norm(learner)
        return [weight for weight in found if weight.layer in before]


def frobenius_norms(model: nn.Module, skip: Sequence[str] = ()) -> dict[str, float]:
    """The Frobenius norm of each trainable weight matrix of a model, for `project_norms`.

    Args:
        model: any module.
        skip: paths of modules that are left out.

    Raises:
        ValueError: a weight that is 0, which a projection would hold there, or see
            `holdfast.methods.weights.weights`.
    """
    return _norms(weights(model, skip))


def project_norms(model: nn.Module, norms: Mapping[str, float]) -> None:
    """Multiply weights, in place, so that they have these norms; as `WeightNormProjection` does.

    For a training loop of one's own: ``norms = frobenius_norms(model)`` before it, and
    ``project_norms(model, norms)`` behind every ``optimizer.step()``.

    Args:
        model: as `frobenius_norms` saw it.
        norms: by name of the weight; the others stay as they are.

    Raises:
        ValueError: a name that is no trainable weight of the model; nothing has been changed then.

    >>> layer = nn.Linear(2, 1)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> project_norms(layer, {"weight": 10.0})
    >>> layer.weight.tolist()
    [[6.0, 8.0]]
    """
    found = weights(model)
    strangers = sorted(set(norms) - {weight.name for weight in found})
    if strangers:
        raise ValueError(
            f"norms names {', '.join(strangers[:3])}, no trainable weight of the model; it has "
            f"{', '.join(weight.name for weight in found)}"
        )
    found = [weight for weight in found if weight.name in norms]
    _project(found, [norms[weight.name] for weight in found], layers_before_norm(model))


def layers_before_norm(model: nn.Module) -> set[str]:
    """The paths of the modules whose outputs a norm layer takes, and nothing else.

    In `torch.nn.Sequential`, and in the blocks of `holdfast.nets.resnet18` and `residual`; of other
    modules it is not known what they do with the outputs of what they hold.

    >>> layers_before_norm(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Linear(2, 2)))
    {'0'}
    """
    found = set()
    for path, module in model.named_modules():
        children = dict(module.named_children())
        pairs: Iterable[tuple[str, str]] = _PAIRS.get(type(module), ())
        if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
            pairs = pairwise(children)
        found |= {
            f"{path}.{layer}" if path else layer
            for layer, after in pairs
            if is_norm(children[after])
        }
    return found


def rate_cycle(step: int, steps: int, warmup: float = 0.1, floor: float = 0.01) -> float:
    """What the learning rate of a step of a task is multiplied by, the step counted from 0.

    With w = max(1, round(warmup * steps)) and f the floor: f + (1 - f) (step + 1) / w up to 1 at
    step w - 1, from there down to f at the last step along half a cosine.

    >>> [round(rate_cycle(step, 5, 0.4, 0.0), 2) for step in range(5)]
    [0.5, 1.0, 0.75, 0.25, 0.0]
    """
    rising = max(1, round(warmup * steps))
    if step < rising:
        return floor + (1 - floor) * (step + 1) / rising
    progress = min(1.0, (step + 1 - rising) / (steps - rising)) if steps > rising else 1.0
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2


def _norms(found: Sequence[Weight]) -> dict[str, float]:
    norms = {weight.name: weight.parameter.detach().norm().item() for weight in found}
    for name, norm in norms.items():
        if norm == 0:
            raise ValueError(
                f"{name} is 0, where a projection to its norm would hold it; leave it out, or "
                "start it elsewhere"
            )
    return norms


@torch.no_grad()
def _project(found: Sequence[Weight], norms: Sequence[float], scaled: set[str]) -> None:
    if not found:
        return
    now: Sequence[Tensor] = torch._foreach_norm([weight.parameter for weight in found])
    for weight, norm, size in zip(found, norms, now, strict=True):
        factor = norm / size
        weight.parameter.mul_(factor)
        if weight.layer in scaled:
            for bias in weight.biases:
                bias.mul_(factor)
