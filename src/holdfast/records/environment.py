"""What a run ran on."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch


def environment(device: torch.device | None = None) -> dict[str, Any]:
    """Versions, machine and source revision, for the record.

    Args:
        device: where the run computes; a CUDA device is named. Without it the current GPU is named
            when CUDA is in use already, since asking would start CUDA.

    Returns:
        JSON-able; ``gpu`` is None without one, ``git`` None outside a repository or without git,
        else the ``commit`` of the working folder and whether it is ``dirty``.
    """
    return {
        "holdfast": _package_version(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": _gpu(device),
        "cuda": torch.version.cuda,
        "git": _git(),
    }


def _package_version() -> str:
    try:
        return version("holdfast")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _gpu(device: torch.device | None) -> str | None:
    if device is None:
        return torch.cuda.get_device_name() if torch.cuda.is_initialized() else None
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def _git() -> dict[str, Any] | None:
    words = ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    head, *lines = done.stdout.splitlines()
    commit = head.removeprefix("# branch.oid ")
    if commit == "(initial)":  # nothing is committed yet
        return None
    return {"commit": commit, "dirty": any(not line.startswith("#") for line in lines)}
