"""One task in one safetensors file."""

import json
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from holdfast.methods.halrp.base import base_fingerprint
from holdfast.methods.halrp.layers import Free, switching
from holdfast.records.files import write_atomic

FORMAT = "holdfast-halrp-task-1"


class TaskFile(NamedTuple):
    """What a file holds.

    Args:
        task: id it had.
        base: print of the base it was made on.
        conv: mode of its low-rank parts.
        plan: of its ranks, as plain values, or `None`.
        tensors: by "module/name": r, s, U, V and bias of perturbed layers; the parameters and
            buffers of norm layers and heads.
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
    return {f"{at}/{n}": t for at, part in own.items() for n, t in part.state_dict().items()}


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
        at, _, n = key.rpartition("/")
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
    tensors = {name: t.detach().cpu().contiguous() for name, t in held.tensors.items()}
    text = json.dumps(held._replace(tensors={})._asdict(), allow_nan=False)
    metadata = {"format": FORMAT, "values": text, "checksum": _checksum(text, tensors)}
    write_atomic(path, save(tensors, metadata))
    return path


def read_task(path: Path) -> TaskFile:
    """Read what `write_task` wrote, on the CPU. Nothing is unpickled.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut short, damaged, or holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no task at {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(
                    f"{path} holds no task of this version: its format is "
                    f"{metadata.get('format')!r}, expected {FORMAT!r}"
                )
            # Copied out of the mapped file: left alone when the file is replaced.
            tensors = {k: file.get_tensor(k).clone() for k in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is cut short or holds no task: {error}") from error
    if _checksum(metadata.get("values", ""), tensors) != metadata.get("checksum"):
        raise ValueError(f"{path} is damaged: what it holds does not match its checksum")
    return TaskFile(**{**json.loads(metadata["values"]), "tensors": tensors})


def _checksum(text: str, tensors: dict[str, Tensor]) -> str:
    """CRC-32 of the values and of name, kind, shape and bytes of each tensor, in hexadecimal."""
    found = crc32(text.encode())
    for name, tensor in sorted(tensors.items()):
        found = crc32(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode(), found)
        held: Any = tensor.flatten().view(torch.uint8).numpy()
        found = crc32(held, found)
    return f"{found:08x}"
