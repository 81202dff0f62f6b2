"""A model looked at in one mode and left as it was found."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import nn

from holdfast.seeds import seeded

Mode = Literal["eval", "train"]
"""Whether batch norm takes running statistics and dropout is off, or as in training."""


@contextmanager
def as_found(model: nn.Module, mode: str = "eval", seed: int = 0) -> Iterator[None]:
    """All of `model` in one mode; afterwards, also after an error, everything is as it was.

    Put back are the mode of each part, all buffers (a pass in training mode moves the running
    statistics of batch norm) and torch's global generators, which are seeded inside: dropout in
    training mode draws the same masks each time.

    Args:
        model: any module.
        mode: ``eval`` or ``train``.
        seed: of what the model draws inside.

    Raises:
        ValueError: another mode.

    >>> model = nn.BatchNorm1d(2)
    >>> with as_found(model, "train"):
    ...     out = model(torch.ones(3, 2))
    >>> model.running_mean.tolist(), model.training
    ([0.0, 0.0], True)
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}; got {mode!r}")
    modes = [(part, part.training) for part in model.modules()]
    buffers = [
        (part, name, buffer, buffer.clone())
        for part in model.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]
    try:
        with seeded(seed, "as_found"):
            model.train(mode == "train")
            yield
    finally:
        for part, training in modes:
            part.training = training
        for part, name, buffer, copy in buffers:
            # In place, if at all: others may hold the tensor, and a graph counts its changes.
            if not torch.equal(buffer, copy):
                buffer.data.copy_(copy)
            part._buffers[name] = buffer
