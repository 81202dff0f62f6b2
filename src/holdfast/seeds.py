"""Every random draw of a run comes from one integer seed, split by purpose."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from zlib import crc32

import numpy as np
import torch


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, e.g. ``derive(0, "order", task, epoch)``.

    Different purposes give independent streams (`numpy.random.SeedSequence`), so two runs that
    differ in one part still share the draws of all the others.

    >>> derive(0, "init") == derive(0, "init")
    True
    >>> derive(0, "init") == derive(0, "order")
    False
    """
    if not isinstance(seed, Integral) or isinstance(seed, bool):
        raise TypeError(f"seed must be a non-negative integer, got {seed!r}")
    if seed < 0:
        raise ValueError(f"seed must be a non-negative integer, got {seed}")
    words = [crc32(p.encode()) if isinstance(p, str) else int(p) for p in purpose]
    state = np.random.SeedSequence(entropy=int(seed), spawn_key=words).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def generator(
    seed: int, *purpose: str | int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator on `device`, seeded by `derive(seed, *purpose)`."""
    return torch.Generator(device).manual_seed(derive(seed, *purpose))


@contextmanager
def seeded(seed: int, *purpose: str | int) -> Iterator[None]:
    """Torch's global generators seeded inside the block and put back after it.

    For code that draws from the global generator, such as the constructors of `torch.nn`.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=list(devices)):
        # Not torch.manual_seed, which also leaves a seed for a CUDA that is not there yet.
        torch.default_generator.manual_seed(derive(seed, *purpose))
        if devices:
            torch.cuda.manual_seed_all(derive(seed, *purpose))
        yield
