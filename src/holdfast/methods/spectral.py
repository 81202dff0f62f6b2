"""The largest singular value of every weight held near 1."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from holdfast.methods.arguments import check_number, check_positive_integer
from holdfast.methods.method import Method
from holdfast.methods.weights import Weight, weights
from holdfast.nets.learner import Learner
from holdfast.seeds import generator
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream

_FIRST = 15
"""Power steps from a random vector before the first that counts."""


class SpectralPenalty:
    """The sum over layers l of (sigma_max(W_l)^k - 1)^2, and of |b_l|^2 where biases count.

    W_l is the weight of a linear layer, or that of a convolution flattened to (outputs, inputs
    times kernel); in a parametrized net (`holdfast.richness`) with its multiplier. sigma_max is
    what one step of the power iteration finds, from the vector where the last call left it:

        u = W v / |W v|,  v <- W^T u / |W^T u|,  sigma_max ~ |W^T u|,

    never more than sigma_max itself, and soon equal to it where weights move slowly. The gradient
    is that of u^T W v with both vectors held. A weight that is met for the first time starts from a
    random vector, after 15 steps.

    Made once and called at every step of a training loop of one's own:
    ``loss = loss + strength * penalty(model)``.

    Args:
        power: k.
        biases: whether biases count.
        seed: of the vectors.

    Raises:
        TypeError, ValueError: a power that is no positive integer.

    >>> penalty, layer = SpectralPenalty(), nn.Linear(2, 2, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    >>> round(penalty(layer).item(), 4)
    9.0
    """

    def __init__(self, power: int = 2, biases: bool = True, seed: int = 0) -> None:
        check_positive_integer("power", power)
        self.power, self.biases, self.seed = power, biases, seed
        self._right: dict[str, Tensor] = {}

    def __call__(self, model: nn.Module) -> Float[Tensor, ""]:
        """The penalty of the trainable weights of a model, which can be differentiated.

        Raises:
            ValueError: a layer whose parameters are not known (see
                `holdfast.methods.weights.weights`), or a model without weights.
        """
        found = weights(model)
        if not found:
            raise ValueError(f"{type(model).__name__} has no trainable weight matrix to penalise")
        terms = []
        for weight in found:
            left, right, _ = self._step(weight)
            sigma = torch.dot(left, weight.parameter.flatten(1) @ right) * abs(weight.multiplier)
            terms.append((sigma**self.power - 1).square())
            if self.biases:
                terms += [bias.square().sum() for bias in weight.biases]
        return torch.stack(terms).sum()

    @torch.no_grad()
    def add_gradient(self, found: Iterable[Weight], strength: float) -> None:
        """Add strength times the gradient of the penalty to those there are, without autograd."""
        k = self.power
        for weight in found:
            if weight.parameter.grad is None:
                continue
            left, right, sigma = self._step(weight)
            slope = 2 * k * strength * abs(weight.multiplier) * (sigma**k - 1) * sigma ** (k - 1)
            shape = weight.parameter.shape
            weight.parameter.grad.add_(torch.outer(left * slope, right).view(shape))
            for bias in weight.biases if self.biases else ():
                if bias.grad is not None:
                    bias.grad.add_(bias, alpha=2 * strength)

    def state_dict(self) -> dict[str, Any]:
        """The vector v of each weight met so far."""
        return {"right": dict(self._right)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._right = dict(state["right"])

    @torch.no_grad()
    def _step(self, weight: Weight) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors u and v, and the singular value of the weight with its multiplier."""
        matrix = weight.parameter.flatten(1)
        right = self._right.get(weight.name)
        steps = 1
        if right is None or len(right) != matrix.shape[1]:
            draws = generator(self.seed, "spectral", weight.name)
            right = torch.randn(matrix.shape[1], generator=draws)
            right, steps = right / right.norm(), _FIRST
        right = right.to(matrix)
        for _ in range(steps):
            left, right, sigma = power_step(matrix, right)
        self._right[weight.name] = right
        return left, right, sigma * abs(weight.multiplier)


def power_step(
    matrix: Float[Tensor, "m n"], right: Float[Tensor, " n"]
) -> tuple[Float[Tensor, " m"], Float[Tensor, " n"], Float[Tensor, ""]]:
    """One step of the power iteration: u = W v / |W v|, W^T u / |W^T u|, and |W^T u|.

    Where W^T W v is 0 the second is v itself, so that it never becomes 0.
    """
    left = functional.normalize(matrix @ right, dim=0, eps=torch.finfo(matrix.dtype).tiny)
    new = matrix.T @ left
    sigma = new.norm()
    return left, torch.where(sigma > 0, new / sigma, right), sigma


class SpectralRegularisation(Method):
    """Hold the largest singular value of every weight near 1.

    The gradient of

        strength * sum over layers l of [(sigma_max(W_l)^k - 1)^2 + |b_l|^2]

    is added to that of the loss on the current batch; see `SpectralPenalty` for what counts and how
    sigma_max is found, by one power step a training step. No layer's largest gain runs away then,
    nor fades, however long training goes on.

    Parameters that get no gradient from a batch, such as the heads of other tasks, are left as they
    are. Norm layers, learned tokens and tables of embeddings are free. A weight that is 0 is not
    pulled away from it (k > 1). The loss the method returns is that of the data alone.

    Lewandowski et al., "Learning Continually by Spectral Regularization", 2024. The square of the
    norm for biases is ours.

    Args:
        strength: of the penalty.
        power: k.
        biases: whether biases are held near 0.
    """

    def __init__(self, *, strength: float = 1e-3, power: int = 2, biases: bool = True) -> None:
        check_number("strength", strength)
        self.strength, self.power, self.biases = strength, power, biases
        self._penalty = SpectralPenalty(power, biases)
        self._weights: list[Weight] | None = None

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse layers whose parameters are not known to be weights.

        Raises:
            ValueError: naming the layer.
        """
        weights(learner)

    def forget(self) -> None:
        """Drop the vectors of another net."""
        self._penalty = SpectralPenalty(self.power, self.biases)

    def begin_task(self, learner: Learner, context: Context) -> None:
        """Heads have grown, and what is trained may be something else now."""
        self._weights = None

    def after_backward(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Add the gradient of the penalty."""
        if self.strength == 0:
            return
        if self._weights is None:
            self._penalty.seed = context.seed
            self._weights = weights(learner)
        self._penalty.add_gradient(self._weights, self.strength)

    def end_task(self, learner: Learner, context: Context) -> None:
        """Of the learner nothing is kept but the vectors."""
        self._weights = None

    def state_dict(self) -> dict[str, Any]:
        """The vectors of the power iteration."""
        return self._penalty.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._weights = None
        self._penalty.load_state_dict(state)
