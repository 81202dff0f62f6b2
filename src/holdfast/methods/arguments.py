"""Checks of the options methods are made with."""

import math
from typing import get_args


def check_positive_integer(name: str, value: int) -> None:
    """Refuse all but integers above 0.

    >>> check_positive_integer("memory", 0)
    Traceback (most recent call last):
    ValueError: memory must be a positive integer, got 0
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value}")


def check_number(name: str, value: float, *, positive: bool = False, to: float = math.inf) -> None:
    """Refuse all but finite numbers of 0 (above 0 where `positive`) up to `to`.

    >>> check_number("decay", 2.0, to=1.0)
    Traceback (most recent call last):
    ValueError: decay must be a number of at least 0 and at most 1.0, got 2.0
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not (0 <= value <= to and math.isfinite(value)) or (positive and value == 0):
        low = "above 0" if positive else "of at least 0"
        high = f" and at most {to}" if math.isfinite(to) else ""
        raise ValueError(f"{name} must be a number {low}{high}, got {value}")


def check_choice(name: str, value: str, allowed: object) -> None:
    """Refuse what is not among the strings of the `Literal` type `allowed`."""
    names = get_args(allowed)
    if value not in names:
        raise ValueError(f"{name} must be one of {', '.join(names)}; got {value!r}")
