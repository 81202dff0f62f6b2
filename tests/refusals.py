"""A small run to be spoilt, and what it means to refuse it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from holdfast.config import Config, override
from holdfast.nets import mlp

DIGITS = {"name": "digits", "per_class": 5}


def small(**settings: Any) -> Config:
    """A small run; settings by dotted key, a double underscore for the dot."""
    config: Config = {
        "stream": {"name": "split", "dataset": dict(DIGITS), "tasks": 2},
        "net": {"name": "mlp", "hidden": [4]},
        "training": {"epochs": 1},
    }
    for key, value in settings.items():
        override(config, key.replace("__", "."), value)
    return config


def net() -> torch.nn.Module:
    return mlp((1, 8, 8), hidden=[4])


Refused = Callable[..., str]
"""Of a call of the command that is refused: the one line that it says."""


def content(folder: Path) -> dict[str, bytes]:
    """What the files of a folder hold."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
