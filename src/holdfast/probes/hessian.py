"""The curvature of the loss: sharpness and trace of its Hessian, by products alone."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from holdfast.curvature.samples import Samples
from holdfast.probes.as_found import Mode
from holdfast.probes.differentiable import Loss, differentiable, mean_loss
from holdfast.probes.lanczos import Product, largest_eigenvalue
from holdfast.seeds import generator


def hessian_product(value: Tensor, parameters: Mapping[str, Tensor]) -> Product:
    """Products v -> H v with the Hessian of a number by its parameters, v (parameters,).

    Exact: the gradient of (gradient . v), some three to four forward passes in time. The graphs of
    `value` and of its gradient are kept, so that all products are of one function: the same masks
    of dropout, the same samples. Pearlmutter, 1994.

    Args:
        value: made of the parameters with gradients on, say a mean loss.
        parameters: by name; v and H v are their entries one after the other, flattened.
    """
    leaves = list(parameters.values())
    if not value.requires_grad:
        return torch.zeros_like
    slopes = torch.autograd.grad(value, leaves, create_graph=True, allow_unused=True)
    curved = [i for i, slope in enumerate(slopes) if slope is not None and slope.requires_grad]
    if not curved:  # linear in all of them
        return torch.zeros_like
    sizes = [p.numel() for p in leaves]
    first = [slopes[i] for i in curved]

    def product(v: Tensor) -> Tensor:
        parts = [part.view_as(p) for part, p in zip(v.split(sizes), leaves, strict=True)]
        images = torch.autograd.grad(
            first,
            leaves,
            [parts[i] for i in curved],
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return torch.cat([image.flatten() for image in images])

    return product


class Hessian(NamedTuple):
    """The Hessian of a loss.

    Args:
        product: v -> H v.
        like: a vector of its space, (parameters,) zeros.
    """

    product: Product
    like: Tensor

    def drawn(self, seed: int, *purpose: str | int) -> Tensor:
        """A normal vector of its space."""
        draws = torch.randn(self.like.shape, generator=generator(seed, *purpose))
        return draws.to(self.like)

    def signs(self, seed: int, *purpose: str | int) -> Tensor:
        """A vector of its space of independent +1 and -1."""
        draws = torch.randint(0, 2, self.like.shape, generator=generator(seed, *purpose))
        return draws.to(self.like) * 2 - 1


@contextmanager
def hessian_of(
    model: nn.Module, value: Callable[[], Tensor], mode: str = "eval"
) -> Iterator[Hessian]:
    """The Hessian of a number, made in this mode, by the parameters that require a gradient."""
    with differentiable(model, mode) as parameters:
        like = torch.cat([torch.zeros_like(p).flatten() for p in parameters.values()])
        yield Hessian(hessian_product(value(), parameters), like)


def sharpness(
    model: nn.Module,
    samples: Samples,
    *,
    loss: Loss | None = None,
    mode: Mode = "eval",
    tolerance: float = 1e-3,
    most: int = 50,
    seed: int = 0,
) -> float:
    """Largest eigenvalue lambda_1 of the Hessian of the mean loss, by Lanczos.

    Gradient descent with a learning rate above 2 / lambda_1 is unstable along its eigenvector, to
    second order. It is the largest, not the one of largest modulus, which power iteration finds and
    which may be negative. It is not free of how weights are scaled: with normalisation or ReLU a
    network of the same function may have any sharpness (Dinh et al., 2017); compare it times the
    learning rate, or at weights of one norm.

    Args:
        model: called as ``model(x, task)`` if it is a `Learner`, else as ``model(x)``; its mode,
            buffers and ``.grad`` are left as they were, as is torch's generator.
        samples: a `Batch`, or inputs and labels or targets.
        loss: ``cross_entropy``, ``mse`` (half the squared distance) or a function
            (outputs, y) -> mean; by default by the type of the labels.
        mode: ``eval`` or ``train``, of batch norm and dropout.
        tolerance: relative, of `largest_eigenvalue`.
        most: products with the Hessian, at most; some ten are usual. Each keeps a vector of the
            parameters in float64.
        seed: of the vector it starts with.

    Raises:
        ValueError: an unknown mode or loss, labels that do not fit the outputs, or no parameter
            that requires a gradient.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.zeros(2, 1)
    >>> round(sharpness(model, (x, y)), 4)  # of x^T x / n = diag(1, 9) / 2
    4.5
    """
    with hessian_of(model, lambda: mean_loss(model, samples, loss), mode) as hessian:
        return largest_eigenvalue(
            hessian.product, hessian.drawn(seed, "sharpness"), tolerance, most
        )


class Estimate(NamedTuple):
    """A mean of independent draws.

    Args:
        value: the mean.
        standard_error: standard deviation of the draws over the square root of their number.
    """

    value: float
    standard_error: float


def hessian_trace(
    model: nn.Module,
    samples: Samples,
    *,
    loss: Loss | None = None,
    mode: Mode = "eval",
    draws: int = 30,
    seed: int = 0,
) -> Estimate:
    """Trace of the Hessian of the mean loss: mean of v^T H v over vectors v of random signs.

    Unbiased, with the variance 2 sum_{i != j} H_ij^2 of a draw: exact for a diagonal Hessian. The
    standard error is of the draws alone, not of the samples. Hutchinson, 1989.

    Args:
        model: see `sharpness`.
        samples: likewise.
        loss: likewise.
        mode: likewise.
        draws: two or more; one product with the Hessian each.
        seed: of the vectors.

    Raises:
        ValueError: fewer than two draws; else as `sharpness`.
    """
    if draws < 2:
        raise ValueError(f"draws must be 2 or more, to have a standard error; got {draws}")
    found = torch.zeros(draws, dtype=torch.float64)
    with hessian_of(model, lambda: mean_loss(model, samples, loss), mode) as hessian:
        for i in range(draws):
            v = hessian.signs(seed, "trace", i)
            found[i] = torch.dot(v.double(), hessian.product(v).double())
    return Estimate(found.mean().item(), (found.std() / math.sqrt(draws)).item())
