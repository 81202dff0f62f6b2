"""Checks of the options starts are made with."""

import math


def check_factor(name: str, value: float, high: float = math.inf, low: float = 0.0) -> None:
    """Refuse all but finite numbers from `low` to `high`.

    >>> check_factor("shrink", -0.1)
    Traceback (most recent call last):
    ValueError: shrink must be a number of at least 0, got -0.1
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not (low <= value <= high and math.isfinite(value)):
        to = f" and at most {high:g}" if math.isfinite(high) else ""
        raise ValueError(f"{name} must be a number of at least {low:g}{to}, got {value}")
