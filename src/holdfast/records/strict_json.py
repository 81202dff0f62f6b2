"""Strict JSON for numbers that may be unknown or infinite."""

import json
import math
from typing import Any

import numpy as np


def plain(value: Any, where: str = "value") -> Any:
    """`value` as strict JSON holds it: dicts, lists, strings, numbers, booleans, None.

    NaN becomes None (not known), an infinity the string ``"Infinity"`` or ``"-Infinity"``; tuples
    and numpy arrays become lists, numpy scalars Python numbers. Finite floats come back from a file
    bit for bit.

    Raises:
        TypeError: something else, or a key that is no string, naming where it lies.

    >>> plain({"loss": [0.5, float("nan"), float("inf")]})
    {'loss': [0.5, None, 'Infinity']}
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}; JSON keys must be strings")
        return {key: plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise TypeError(
        f"{where} is a {type(value).__name__}, which JSON cannot hold; give numbers, strings, "
        "booleans, None, or lists and dicts of them"
    )


def numbers(value: Any) -> Any:
    """The inverse of `plain` within numeric data: the strings of infinities become floats again."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    return float(value) if value in ("Infinity", "-Infinity") else value


def dumps(value: Any, where: str = "value") -> str:
    """`value` as one line of strict JSON (see `plain`)."""
    return json.dumps(plain(value, where), allow_nan=False, ensure_ascii=False)


def loads(text: str) -> Any:
    """Strict JSON read; ``NaN`` and ``Infinity`` outside strings are refused.

    Raises:
        ValueError: `text` is no strict JSON.
    """
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
