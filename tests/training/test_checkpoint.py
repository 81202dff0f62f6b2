"""Checkpoints: what goes in comes out, and what is damaged or foreign is refused."""

import ast
import errno
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

import holdfast
from holdfast.training.checkpoint import load_checkpoint, save_checkpoint


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, list) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


def back(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    save_checkpoint(folder / "a" / "state.safetensors", tree)
    return load_checkpoint(folder / "a" / "state.safetensors")


def test_tensors_come_back(tmp_path: Path) -> None:
    base = torch.arange(24.0).view(4, 6)
    tree = {
        "matrix": base,
        "same": base,
        "row": base[1],
        "turned": base.t(),
        "strided": base[:, ::2],
        "spread": torch.ones(1, 3).expand(4, 3),
        "number": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "parameter": nn.Parameter(torch.ones(2)),
        "kinds": [
            torch.tensor([True, False]),
            torch.tensor([0, 255], dtype=torch.uint8),
            torch.tensor([-1.5, math.inf, -math.inf], dtype=torch.bfloat16),
            torch.tensor([1.5], dtype=torch.float16),
            torch.tensor([-(2**60)]),
            torch.tensor([1 / 3], dtype=torch.float64),
            torch.tensor([1 + 2j]),
        ],
    }
    again = back(tree, tmp_path)
    assert equal({**tree, "parameter": tree["parameter"].detach()}, again)
    assert not again["parameter"].requires_grad
    # Shared memory comes back as memory of its own.
    again["matrix"].zero_()
    assert equal(again["same"], base)


def test_nan_comes_back_bit_for_bit(tmp_path: Path) -> None:
    x = torch.tensor([math.nan, -0.0, 1e-45])
    assert back({"x": x}, tmp_path)["x"].view(torch.int32).tolist() == x.view(torch.int32).tolist()


def test_tensors_lie_as_torch_lays_them(tmp_path: Path) -> None:
    """Aligned and in memory of their own: a matrix product depends on it in its last bit, and a
    file that is mapped cannot be replaced everywhere."""
    tree = back({"flag": torch.ones(3, dtype=torch.uint8), "x": torch.ones(5, 7)}, tmp_path)
    assert tree["x"].data_ptr() % 64 == torch.ones(5, 7).data_ptr() % 64 == 0
    (tmp_path / "a" / "state.safetensors").write_bytes(bytes(10_000))
    assert tree["x"].sum() == 35


def test_keys_may_look_like_places(tmp_path: Path) -> None:
    one, two = torch.ones(1), torch.zeros(1)
    tree = {"a/b": one, "a": {"b": two}, "": {"": one}, "__metadata__": two, "0": [one]}
    assert equal(tree, back(tree, tmp_path))


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.sampled_from([torch.ones(2), torch.tensor(3), torch.empty(0, dtype=torch.bool)]),
)
TREES = st.dictionaries(
    st.text(),
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_any_tree_comes_back(tmp_path_factory: pytest.TempPathFactory, tree: dict) -> None:
    assert equal(tree, back(tree, tmp_path_factory.mktemp("tree", numbered=True)))


def test_tuples_come_back_as_lists(tmp_path: Path) -> None:
    assert equal({"a": [1, [torch.ones(1)]]}, back({"a": (1, (torch.ones(1),))}, tmp_path))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({1, 2}, "set"),
        (np.zeros(2), "ndarray"),
        (np.int64(3), "int64"),
        (1j, "complex"),
        (b"raw", "bytes"),
        (nn.Linear(1, 1), "Linear"),
        (torch.Generator(), "Generator"),
        (torch.eye(2).to_sparse(), "sparse"),
        (torch.empty(2, device="meta"), "meta"),
        (torch.zeros(1, dtype=torch.complex128), "complex128"),
    ],
)
def test_refuses_what_it_cannot_hold(value: object, what: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=rf"checkpoint/a/1/b: .*{what}"):
        save_checkpoint(tmp_path / "x", {"a": [0, {"b": value}]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", [1, None, ("a",)])
def test_refuses_keys_that_are_no_strings(key: object, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"checkpoint/a: keys must be strings, got"):
        save_checkpoint(tmp_path / "x", {"a": {key: 1}})


def test_refuses_its_own_mark_as_a_key(tmp_path: Path) -> None:
    for mark in ("__tensor__", "__float__"):
        with pytest.raises(ValueError, match=rf"checkpoint/a: .*{mark}"):
            save_checkpoint(tmp_path / "x", {"a": {mark: "b"}})


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "state.safetensors")
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_checkpoint(tmp_path)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    save_checkpoint(path, {"a": torch.arange(50.0), "b": {"c": torch.ones(3)}})
    whole = path.read_bytes()
    for length in (*range(0, 12), *range(12, len(whole), 7), len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"x is truncated or no checkpoint"):
            load_checkpoint(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match=r"x is truncated or no checkpoint"):
        load_checkpoint(path)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    path = tmp_path_factory.mktemp("junk", numbered=True) / "x"
    path.write_bytes(junk)
    with pytest.raises(ValueError, match="is truncated or no checkpoint"):
        load_checkpoint(path)


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """But for those of the spaces that fill the header up, which say nothing."""
    path = tmp_path / "x"
    tree = {
        "weight": torch.tensor([[0.5, -2.0, 3.0]]),
        "count": torch.tensor(3),
        "mask": torch.tensor([True, False]),
        "lr": 0.1,
        "nan": math.nan,
    }
    save_checkpoint(path, tree)
    whole = path.read_bytes()
    harmless = 0
    for place in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            try:
                assert equal(tree, load_checkpoint(path))
                harmless += 1
            except ValueError as error:
                assert re.search("x is (truncated|damaged|no checkpoint)", str(error))  # noqa: PT017
    header = int.from_bytes(whole[:8], "little")
    padding = header - len(whole[8 : 8 + header].rstrip(b" "))
    assert harmless <= 8 * padding


def test_a_flipped_bit_of_a_large_tensor_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x"
    save_checkpoint(path, {"a": torch.zeros(1000), "b": [torch.ones(3)]})
    damaged = bytearray(path.read_bytes())
    damaged[-2000] ^= 16
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"x is damaged: .* not match its checksum; put back a"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "no checkpoint of this version: its format is None"),
        ({"format": "pt"}, "no checkpoint of this version: its format is 'pt'"),
        ({"format": "holdfast-checkpoint-1", "tree": "{}"}, "expected 'holdfast-checkpoint-2'"),
        ({"format": "holdfast-checkpoint-2"}, "damaged"),
        ({"format": "holdfast-checkpoint-2", "tree": "{}"}, "damaged"),
        ({"format": "holdfast-checkpoint-2", "tree": "{}", "checksum": "0"}, "damaged"),
    ],
)
def test_foreign_files_are_refused(
    metadata: dict[str, str] | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    save_file({"w": torch.ones(2)}, path, metadata)
    with pytest.raises(ValueError, match=f"x is .*{message}"):
        load_checkpoint(path)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    torch.save({"a": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="is truncated or no checkpoint"):
        load_checkpoint(path)


def test_a_full_disk_leaves_the_earlier_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    save_checkpoint(path, {"a": torch.ones(3)})
    with monkeypatch.context() as patch:

        def full(handle: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            save_checkpoint(path, {"a": torch.zeros(3)})
    assert caught.value.errno == errno.ENOSPC
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert load_checkpoint(path)["a"].tolist() == [1, 1, 1]


def test_nothing_is_ever_unpickled() -> None:
    """No module of the package loads with torch, or names a pickling library."""
    picklers = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    root = Path(holdfast.__file__).parent
    found = []
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
            elif isinstance(node, ast.Attribute):
                names = [ast.unparse(node)]
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                names = ["allow_pickle"]
            else:
                continue
            bad = {"torch.load", "np.load", "numpy.load", "torch.hub.load", "allow_pickle"}
            found += [f"{path.name}: {n}" for n in names if n in bad or n.split(".")[0] in picklers]
    assert found == []
