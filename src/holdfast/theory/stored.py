"""Problems and answers in files: tensors beside a JSON header, nothing pickled."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from holdfast.records.files import write_atomic
from holdfast.records.strict_json import dumps, loads
from holdfast.theory.activation import ACTIVATIONS, Activation, Given, activation
from holdfast.theory.problem import Problem
from holdfast.theory.schedule import Schedule

_FORMAT = "holdfast-theory-1"
_PROBES = (-2.5, -1.0, -0.3, 0.0, 0.2, 1.0, 3.0)
"""Where an activation is written down, to know it again."""


def write(path: str | Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write a file that is whole or as it was before.

    Raises:
        TypeError: a header that JSON cannot hold.
        OSError: it could not be written.
    """
    # Copies of their own: safetensors refuses tensors that share memory.
    own = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    write_atomic(path, save(own, {"format": _FORMAT, "header": dumps(header)}))


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write` wrote, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is truncated, or was written by something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no solution at {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            # Copied out of the mapped file, which may be replaced later.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or no solution: {error}") from error
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{path} is no solution of this version: its format is {metadata.get('format')!r}, "
            f"expected {_FORMAT!r}"
        )
    return tensors, loads(metadata["header"])


def problem_parts(problem: Problem) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a problem."""
    schedule = problem.schedule
    tensors = {
        "kernel": problem.kernel, "targets": problem.targets, "task": problem.task,
        "head": problem.head, "weights": schedule.weights, "lr": schedule.lr,
    }  # fmt: skip
    if problem.inputs is not None:
        tensors["inputs"] = problem.inputs
    phi = problem.activation
    header = {
        "gamma0": problem.gamma0, "depth": problem.depth, "readout_std": problem.readout_std,
        "loss": problem.loss, "momentum": schedule.momentum,
        "weight_decay": schedule.weight_decay, "activation": phi.name,
        "activation_known": ACTIVATIONS.get(phi.name) == phi, "activation_at": _values(phi),
    }  # fmt: skip
    return tensors, header


def problem_of(
    tensors: dict[str, Tensor],
    header: dict[str, Any],
    given: Given | None,
) -> Problem:
    """The inverse of `problem_parts`; a `given` activation replaces a function that has no name.

    Raises:
        ValueError: an activation of the user's own that is not given, or another one than it was.
    """
    name = header["activation"]
    if given is None and not header["activation_known"]:
        raise ValueError(
            f"the problem was solved with a function {name!r} of its own, which a file does not "
            "hold; give it: load(path, activation=...)"
        )
    phi = activation(name if given is None else given)
    if not torch.allclose(torch.tensor(_values(phi)), torch.tensor(header["activation_at"])):
        raise ValueError(
            f"activation {phi.name} is not the {name!r} that the problem was solved with: at "
            f"{list(_PROBES)} it is {_values(phi)}, that was {header['activation_at']}"
        )
    schedule = Schedule(
        tensors["weights"], tensors["lr"], header["momentum"], header["weight_decay"]
    )  # fmt: skip
    return Problem(
        tensors["kernel"], tensors["targets"], tensors["task"], tensors["head"], schedule,
        header["gamma0"], header["depth"], phi, header["readout_std"], header["loss"],
        tensors.get("inputs"),
    )  # fmt: skip


def _values(phi: Activation) -> list[float]:
    values = phi.value(torch.tensor(_PROBES, dtype=torch.float64))
    return [float(value) for value in values]
