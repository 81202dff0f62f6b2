"""Gradients of the negative log-likelihood with respect to the model's outputs.

A kind of Fisher information is a set of vectors c_k for each sample, in the space of outputs,
with the diagonal sum_k (J^T c_k)^2, J the Jacobian of the sample's outputs.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Likelihood = Literal["categorical", "gaussian"]
PerSample = Literal["empirical", "true", "sampled", "weighted"]


def residual(
    likelihood: Likelihood, logits: Float[Tensor, "n outputs"], y: Tensor
) -> Float[Tensor, "n outputs"]:
    """Gradient of -log p(y | logits) of each sample.

    ``categorical``: softmax(logits) - onehot(y); an output of -inf has probability 0.
    ``gaussian``: logits - y, that is half the squared error; classes are targets onehot(y).

    Raises:
        ValueError: `y` does not fit the outputs.
    """
    check_targets(logits, y)
    if likelihood == "categorical" and not y.is_floating_point():
        impossible = logits.gather(1, y.unsqueeze(1)).isneginf()
        if bool(impossible.any()):
            raise ValueError(
                f"labels of {int(impossible.sum())} samples have an output of -inf: the model "
                "holds them for impossible"
            )
    mean = logits.softmax(dim=1) if likelihood == "categorical" else logits
    if y.is_floating_point():
        return mean - y
    return mean.scatter_add(1, y.unsqueeze(1), mean.new_full((len(y), 1), -1.0))


def directions(
    kind: PerSample,
    likelihood: Likelihood,
    logits: Float[Tensor, "n outputs"],
    y: Tensor,
    generator: torch.Generator | None,
    at_a_time: int,
) -> Iterator[Float[Tensor, "k n outputs"]]:
    """The vectors c_k of each sample, in pieces of at most `at_a_time`.

    Raises:
        ValueError: `y` does not fit the outputs.
    """
    if kind == "true":
        yield from _expectation(likelihood, logits, at_a_time)
    elif kind == "sampled":
        assert generator is not None
        yield _draw(likelihood, logits, generator).unsqueeze(0)
    else:
        c = residual(likelihood, logits, y)
        if kind == "weighted":
            c = c * logits.softmax(dim=1).gather(1, y.unsqueeze(1)).sqrt()
        yield c.unsqueeze(0)


def _expectation(likelihood: Likelihood, logits: Tensor, at_a_time: int) -> Iterator[Tensor]:
    # sum_c p_c (p - e_c)(p - e_c)^T and the identity, each as a sum over columns.
    eye = torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)
    for columns in eye.split(at_a_time):
        c = columns.unsqueeze(1).expand(-1, len(logits), -1)
        if likelihood == "categorical":
            p = logits.softmax(dim=1)
            c = (p - c) * (columns @ p.T).sqrt().unsqueeze(2)
        yield c


def _draw(likelihood: Likelihood, logits: Tensor, generator: torch.Generator) -> Tensor:
    if likelihood == "gaussian":
        noise = torch.randn(
            logits.shape, dtype=logits.dtype, device=generator.device, generator=generator
        )
        return noise.to(logits.device)
    p = logits.softmax(dim=1)
    y = torch.multinomial(p.to(generator.device), 1, generator=generator).to(p.device)
    return residual(likelihood, logits, y.squeeze(1))


def check_targets(logits: Float[Tensor, "n outputs"], y: Tensor) -> None:
    """See whether labels or targets fit the outputs.

    Raises:
        ValueError: they do not.
    """
    if y.is_floating_point():
        if y.shape != logits.shape:
            raise ValueError(
                f"targets must have the shape of the outputs, {tuple(logits.shape)}; "
                f"got {tuple(y.shape)}"
            )
        return
    if y.shape != logits.shape[:1]:
        raise ValueError(f"labels must be ({len(logits)},) integers, got {tuple(y.shape)}")
    lowest, highest = (int(v) for v in y.aminmax())
    if lowest < 0 or highest >= logits.shape[1]:
        raise ValueError(
            f"labels must lie in 0..{logits.shape[1] - 1}, the columns of the outputs; got "
            f"{lowest}..{highest}"
        )
