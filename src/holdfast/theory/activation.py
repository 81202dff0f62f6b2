"""Activations with the derivatives that the theory needs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad, vmap

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Activation:
    """phi, phi' and phi'', each entry by entry.

    Args:
        name: for display, files and finite networks.
        value: phi.
        slope: phi'.
        bend: phi'', 0 almost everywhere for piecewise linear ones.
    """

    name: str
    value: Function
    slope: Function
    bend: Function

    @property
    def linear(self) -> bool:
        """Whether phi(h) = h."""
        return self.name == "linear"


def _gelu_slope(h: Tensor) -> Tensor:
    return torch.special.ndtr(h) + h * _normal(h)


def _normal(h: Tensor) -> Tensor:
    return torch.exp(-h.square() / 2) / math.sqrt(2 * math.pi)


Given = str | Activation | Function | tuple[Function, Function]
"""What an activation can be given as: see `activation`."""

ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation("linear", lambda h: h, torch.ones_like, torch.zeros_like),
    "relu": Activation("relu", torch.relu, lambda h: (h > 0).to(h.dtype), torch.zeros_like),
    "tanh": Activation(
        "tanh",
        torch.tanh,
        lambda h: 1 - torch.tanh(h).square(),
        lambda h: -2 * torch.tanh(h) * (1 - torch.tanh(h).square()),
    ),
    "erf": Activation(
        "erf",
        torch.erf,
        lambda h: 2 / math.sqrt(math.pi) * torch.exp(-h.square()),
        lambda h: -4 / math.sqrt(math.pi) * h * torch.exp(-h.square()),
    ),
    "gelu": Activation(
        "gelu",
        lambda h: h * torch.special.ndtr(h),
        _gelu_slope,
        lambda h: (2 - h.square()) * _normal(h),
    ),
}
"""Those known by name; the derivative of ReLU at 0 is 0, as torch has it."""


def activation(given: Given) -> Activation:
    """The activation a problem is given.

    Args:
        given: a name of `ACTIVATIONS`; a function of a tensor, entry by entry, whose derivatives
            are then found by differentiation; a function with its derivative; or an `Activation`.

    Raises:
        ValueError: an unknown name; a function that torch cannot differentiate twice: give it
            with its derivative; a derivative of something else.
        TypeError: something else.
    """
    if isinstance(given, Activation):
        return given
    if isinstance(given, str):
        if given not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(ACTIVATIONS)}, or a function; got {given!r}"
            )
        return ACTIVATIONS[given]
    if isinstance(given, tuple) and len(given) == 2 and all(callable(f) for f in given):
        value, slope = given
        return _checked(Activation(_name(value), value, slope, _derivative(slope)))
    if callable(given):
        slope = _derivative(given)
        return _checked(Activation(_name(given), given, slope, _derivative(slope)))
    raise TypeError(f"activation must be a name or a function, got {given!r}")


def _derivative(function: Function) -> Function:
    def derivative(h: Tensor) -> Tensor:
        slope = vmap(grad(function))(h.flatten())
        assert isinstance(slope, Tensor)
        return slope.view_as(h)

    return derivative


def _name(function: Function) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _checked(made: Activation) -> Activation:
    probe = torch.linspace(-2, 2, 5, dtype=torch.float64)
    for what in ("value", "slope", "bend"):
        try:
            found = getattr(made, what)(probe)
        except Exception as error:
            raise ValueError(
                f"activation {made.name} has no {what} that can be computed ({error}); give it "
                "with its derivative: activation=(phi, phi_prime), both of torch operations"
            ) from error
        if found.shape != probe.shape or not bool(torch.isfinite(found).all()):
            raise ValueError(f"activation {made.name}: its {what} at {probe.tolist()} is {found}")
    if not torch.allclose(made.value(probe[:2]), made.value(probe)[:2]):
        raise ValueError(f"activation {made.name} must act entry by entry")
    # Away from where piecewise linear ones have their kinks.
    h, step = probe + 0.123, 1e-5
    slope, seen = made.slope(h), (made.value(h + step) - made.value(h - step)) / (2 * step)
    if not torch.allclose(slope, seen, rtol=1e-4, atol=1e-6):
        raise ValueError(
            f"activation {made.name}: the derivative given is not that of the function; at "
            f"{h.tolist()} it is {slope.tolist()}, by differences {seen.tolist()}"
        )
    return made
