"""What a solver will need of memory, asked before it starts."""

import os
from collections.abc import Callable
from pathlib import Path

import torch

from holdfast.theory.problem import Problem

_GIB = 2**30

FEWER_SAMPLES = (
    "Draw fewer samples, take fewer points, keep kernels at fewer times (kept), or use float32"
)
"""Advice where neurons are sampled."""


def available_memory(device: torch.device | str = "cpu") -> int:
    """Bytes that a process may still take without harm: free or reclaimable, and within limits.

    On Linux also within the limit of the control group (a container's); where the system does not
    say, half of all memory.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        free = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return _physical() // 2
    return min(free, _group_left())


def _physical() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return 16 * _GIB


def _group_left() -> int:
    group = Path("/sys/fs/cgroup")
    for most, used in (
        (group / "memory.max", group / "memory.current"),
        (group / "memory/memory.limit_in_bytes", group / "memory/memory.usage_in_bytes"),
    ):
        try:
            return max(0, int(most.read_text()) - int(used.read_text()))
        except (OSError, ValueError):  # no such group, or no limit ("max")
            continue
    return 2**63


def require_memory(
    bytes_of: Callable[[int], int],
    size: int,
    unit: str,
    what: str,
    memory: int | None = None,
    device: torch.device | str = "cpu",
    remedy: str = "Take fewer, keep kernels at fewer times (kept), or use float32",
) -> None:
    """Refuse work that would not fit.

    Args:
        bytes_of: bytes needed for a size, rising with it.
        size: asked for.
        unit: what the size counts, as "points".
        what: needs it.
        memory: bytes allowed; what is available by default.
        device: on which.
        remedy: advice.

    Raises:
        TypeError, ValueError: a `memory` that is no positive number of bytes.
        ValueError: it does not fit, with the largest size that does.
    """
    if memory is not None and type(memory) is not int:
        raise TypeError(f"memory must be a number of bytes, got {memory!r}")
    if memory is not None and memory < 1:
        raise ValueError(f"memory must be a positive number of bytes, got {memory}")
    allowed = available_memory(device) if memory is None else memory
    needed = bytes_of(size)
    if needed <= allowed:
        return
    low, high = 0, size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if bytes_of(middle) <= allowed else (low, middle)
    fits = f"up to {low} {unit} would fit" if low else f"not even one of the {unit} would fit"
    raise ValueError(
        f"{what} needs about {_shown(needed)} for {size} {unit}, of which "
        f"{_shown(allowed)} {'are available' if memory is None else 'are allowed by memory'}; "
        f"{fits}. {remedy}"
    )


def kernel_bytes(problem: Problem, times: int, points: int | None = None) -> int:
    """Of the kernels of all layers among some times, while they are made."""
    rows = times * (problem.points if points is None else points)
    entries = problem.depth * rows**2 * (1 + problem.outputs**2)
    return 2 * entries * problem.kernel.element_size()


def _shown(count: int) -> str:
    return f"{count / _GIB:.3g} GiB" if count >= _GIB // 100 else f"{count / 2**20:.3g} MiB"
