"""Checkpoints: one safetensors file, tensors beside JSON, replaced in one stroke."""

import json
import math
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from holdfast.records.files import write_atomic

FILE = Path("checkpoint", "state.safetensors")
"""The checkpoint in the folder of a run."""

FORMAT = "holdfast-checkpoint-2"
_TENSOR, _FLOAT = "__tensor__", "__float__"

Tree = dict[str, Any]
"""Nested dicts (of string keys) and lists of tensors, numbers, strings, booleans and None."""


def save_checkpoint(path: Path, tree: Tree) -> None:
    """Write a tree of tensors and JSON values; the file is whole or as it was before.

    Raises:
        TypeError, ValueError: something in the tree is neither, with its place in the tree.
        OSError: the file could not be written; an earlier checkpoint is untouched.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_pack(tree, "", tensors), allow_nan=False)
    checksum = _checksum(skeleton, tensors)
    metadata = {"format": FORMAT, "checksum": checksum, "tree": skeleton}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, save(tensors, metadata))


def load_checkpoint(path: Path) -> Tree:
    """Read what `save_checkpoint` wrote, on the CPU. Nothing is unpickled.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is truncated, damaged or no checkpoint of this library.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            ours = metadata.get("format") == FORMAT
            # Copied out of the mapped file: aligned, and left alone when the file is replaced.
            tensors = {k: file.get_tensor(k).clone() for k in file.keys() if ours}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or no checkpoint: {error}") from error
    if not ours:
        raise ValueError(
            f"{path} is no checkpoint of this version: its format is "
            f"{metadata.get('format')!r}, expected {FORMAT!r}"
        )
    skeleton = metadata.get("tree", "")
    if _checksum(skeleton, tensors) != metadata.get("checksum"):
        raise ValueError(
            f"{path} is damaged: what it holds does not match its checksum; put back a copy of it, "
            "or begin again in another folder"
        )
    tree: Tree = _unpack(json.loads(skeleton), tensors)
    return tree


def _checksum(skeleton: str, tensors: dict[str, Tensor]) -> str:
    """CRC-32 of the tree and of name, kind, shape and bytes of each tensor, in hexadecimal."""
    found = crc32(skeleton.encode())
    for name, tensor in sorted(tensors.items()):
        found = crc32(repr((name, tensor.dtype, tuple(tensor.shape))).encode(), found)
        held: Any = tensor.flatten().view(torch.uint8).numpy()
        found = crc32(held, found)
    return f"{found:08x}"


def _pack(node: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, Tensor):
        kind = _unsupported(node)
        if kind:
            raise TypeError(f"checkpoint{place}: a {kind} tensor cannot be kept")
        name = place
        while name in tensors:  # {"a/b": ...} and {"a": {"b": ...}} have one place
            name += "'"
        # A copy of its own: safetensors refuses tensors that share memory.
        tensors[name] = node.detach().to("cpu", copy=True).contiguous()
        return {_TENSOR: name}
    if isinstance(node, dict):
        strangers = [key for key in node if not isinstance(key, str)]
        if strangers:
            raise TypeError(f"checkpoint{place}: keys must be strings, got {strangers[0]!r}")
        taken = [key for key in node if key in (_TENSOR, _FLOAT)]
        if taken:
            raise ValueError(f"checkpoint{place}: the key {taken[0]!r} has a meaning of its own")
        return {key: _pack(value, f"{place}/{key}", tensors) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_pack(value, f"{place}/{i}", tensors) for i, value in enumerate(node)]
    if isinstance(node, float) and not math.isfinite(node):
        return {_FLOAT: str(float(node))}
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    raise TypeError(f"checkpoint{place}: {type(node).__name__} is neither tensor nor JSON value")


def _unsupported(tensor: Tensor) -> str | None:
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    if tensor.is_meta:
        return "meta"
    if tensor.is_quantized or tensor.dtype in (torch.complex32, torch.complex128):
        return str(tensor.dtype).removeprefix("torch.")
    return None


def _unpack(node: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, dict):
        if set(node) == {_TENSOR}:
            return tensors[node[_TENSOR]]
        if set(node) == {_FLOAT}:
            return float(node[_FLOAT])
        return {key: _unpack(value, tensors) for key, value in node.items()}
    if isinstance(node, list):
        return [_unpack(value, tensors) for value in node]
    return node
