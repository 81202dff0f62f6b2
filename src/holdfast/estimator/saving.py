"""A classifier in one file that holds tensors and JSON alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.config import PARTS, check_keys
from holdfast.training.checkpoint import Tree, load_checkpoint, save_checkpoint

_KINDS = ("net", "method", "start")


def write(path: Path, form: str, params: Mapping[str, Any], state: Tree) -> None:
    """Write constructor arguments and a state; `path` holds all of it or what it held before.

    `form` names the kind of classifier and the version of its files.

    Raises:
        OSError: it could not be written.
    """
    plain = {name: _plain(value) for name, value in params.items()}
    # A generator has been drawn from already; the seed it gave is in the state.
    plain = {k: None if isinstance(v, np.random.RandomState) else v for k, v in plain.items()}
    kept = {name: value for name, value in plain.items() if _is_json(value)}
    objects = [name for name in plain if name not in kept]
    save_checkpoint(path, {"classifier": form, "params": kept, "objects": objects, **state})


def read(
    path: Path, form: str, owner: str, given: Mapping[str, Any], known: Sequence[str]
) -> tuple[Tree, Tree]:
    """Constructor arguments of an `owner`, those `given` before those of the file, and the state.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is truncated, or none that `write` wrote; an argument is unknown, is
            missing, or names in the file a part that is not Holdfast's own.
    """
    check_keys(owner, given, known)
    state = load_checkpoint(path)
    if state.get("classifier") != form:
        raise ValueError(
            f"{path} holds no {owner} of this version: expected {form!r}, "
            f"found {state.get('classifier')!r}"
        )
    for name in state["objects"]:
        if name not in given:
            raise ValueError(
                f"{path} was saved by a classifier whose {name} was an object; give one like it: "
                f"load(path, {name}=...)"
            )
    params = {**state["params"], **given}
    for kind in (kind for kind in _KINDS if kind in params):
        part = params[kind]
        name = part.get("name") if isinstance(part, dict) else part
        if kind not in given and name not in PARTS[kind]:
            raise ValueError(
                f"{path} names a {kind} that is not Holdfast's own, {name!r}; if you trust it, "
                f"say so: load(path, {kind}={part!r})"
            )
    return params, state


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(v) for key, v in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or isinstance(value, (bool, int, float, str))
