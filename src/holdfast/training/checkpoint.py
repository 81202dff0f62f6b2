"""Checkpoints: one safetensors file, tensors beside JSON, replaced in one stroke."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from holdfast.records.files import write_atomic

FORMAT = "holdfast-checkpoint-1"
_TENSOR = "__tensor__"

Tree = dict[str, Any]
"""Nested dicts (of string keys) and lists of tensors, numbers, strings, booleans and None."""


def save_checkpoint(path: Path, tree: Tree) -> None:
    """Write a tree of tensors and JSON values; the file is whole or as it was before.

    Raises:
        TypeError: something in the tree is neither, with its place in the tree.
        OSError: the file could not be written; an earlier checkpoint is untouched.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _pack(tree, "", tensors)
    metadata = {"format": FORMAT, "tree": json.dumps(skeleton, allow_nan=False)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, save(tensors, metadata))


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> Tree:
    """Read what `save_checkpoint` wrote. Nothing is unpickled.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is truncated, damaged or no checkpoint of this library.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or no checkpoint: {error}") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} is no checkpoint of this version: its format is "
            f"{metadata.get('format')!r}, expected {FORMAT!r}"
        )
    tree: Tree = _unpack(json.loads(metadata["tree"]), tensors)
    return tree


def _pack(node: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, Tensor):
        # A copy of its own: safetensors refuses tensors that share memory.
        tensors[place] = node.detach().to("cpu", copy=True).contiguous()
        return {_TENSOR: place}
    if isinstance(node, dict):
        strangers = [key for key in node if not isinstance(key, str)]
        if strangers:
            raise TypeError(f"checkpoint{place}: keys must be strings, got {strangers[0]!r}")
        return {key: _pack(value, f"{place}/{key}", tensors) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_pack(value, f"{place}/{i}", tensors) for i, value in enumerate(node)]
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    raise TypeError(f"checkpoint{place}: {type(node).__name__} is neither tensor nor JSON value")


def _unpack(node: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, dict):
        if set(node) == {_TENSOR}:
            return tensors[node[_TENSOR]]
        return {key: _unpack(value, tensors) for key, value in node.items()}
    if isinstance(node, list):
        return [_unpack(value, tensors) for value in node]
    return node
