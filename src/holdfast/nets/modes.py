"""Networks looked at without being changed."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """All of `module` in evaluation mode, and each part put back in the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def uses_batch_statistics(module: nn.Module) -> bool:
    """Whether batch norm normalises by the batch in evaluation too: no samples are passed alone."""
    return any(
        isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is None
        for part in module.modules()
    )
