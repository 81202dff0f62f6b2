"""One task in one file."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from holdfast.methods.halrp.base import base_fingerprint
from holdfast.methods.halrp.layers import Free, switching
from holdfast.methods.halrp.packed_state import pack_state, read_state
from holdfast.methods.halrp.packing import from_raw_bytes, raw_bytes
from holdfast.records.files import write_atomic

FORMAT = "holdfast-halrp-task-2"
_VALUES = "_extra_state"
"""Name of all that is no tensor, which is stored as a state's own texts are."""


class TaskFile(NamedTuple):
    """What a file holds.

    Args:
        task: id it had.
        base: print of the base it was made on.
        conv: mode of its low-rank parts.
        plan: of its ranks, as plain values, or `None`.
        tensors: by their names in the state of the `Adapted`: r, s, U, V and bias of perturbed
            layers; the parameters and buffers of norm layers and heads.
    """

    task: str
    base: str
    conv: str
    plan: dict[str, Any] | None
    tensors: dict[str, Tensor]


def tensors_of(model: nn.Module, task: str) -> dict[str, Tensor]:
    """The tensors of a task, as a file has them.

    Raises:
        ValueError: it has free weights.
    """
    own = {at: module.tasks[task] for at, module in switching(model)}
    free = [at for at, part in own.items() if isinstance(part, Free)]
    if free:
        raise ValueError(f"task {task!r} is still free in {free[:3]}; settle it first")
    return {
        f"model{at and '.'}{at}.tasks.{task}.{n}": t
        for at, part in own.items()
        for n, t in part.state_dict().items()
    }


def modules_of(model: nn.Module, held: TaskFile, conv: str) -> dict[str, nn.Module]:
    """What a task has for each module that differs by task; the model is not changed.

    Raises:
        ValueError: the task was made for another base or mode, or does not fit the model.
    """
    here = base_fingerprint(model)
    if held.base != here:
        raise ValueError(
            f"task {held.task!r} was made on another base (print {held.base}, here {here}); adapt "
            "the model it was made on"
        )
    if held.conv != conv:
        raise ValueError(f"task {held.task!r} was made with conv={held.conv!r}, here is {conv!r}")
    modules = dict(switching(model))
    parts: dict[str, dict[str, Tensor]] = {at: {} for at in modules}
    for key, value in held.tensors.items():
        place, _, n = key.rpartition(f".tasks.{held.task}.")
        at = place.removeprefix("model").removeprefix(".")
        if at not in parts:
            raise ValueError(
                f"task {held.task!r} has its own {at!r}, which does not differ by task here; adapt "
                "the model with the same heads and skip"
            )
        parts[at][n] = value
    made = {}
    for at, module in modules.items():
        try:
            made[at] = module.built(parts[at])
        except ValueError as error:
            raise ValueError(f"task {held.task!r} does not fit module {at!r}: {error}") from error
    return made


def write_task(path: Path, held: TaskFile) -> Path:
    """Write a file; it is whole, or as it was before.

    Raises:
        OSError: it could not be written.
    """
    text = json.dumps(held._replace(tensors={})._asdict(), allow_nan=False).encode()
    values = from_raw_bytes(text, torch.uint8, (len(text),))
    write_atomic(path, pack_state({**held.tensors, _VALUES: values}, FORMAT).content)
    return path


def read_task(path: Path) -> TaskFile:
    """Read what `write_task` wrote, on the CPU. Nothing is unpickled.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut short, damaged, or holds something else.
    """
    tensors = read_state(path, FORMAT, "task")
    values = json.loads(raw_bytes(tensors.pop(_VALUES)))
    return TaskFile(**{**values, "tensors": tensors})
