from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast.data import digests


def test_a_tensor_is_its_values_shape_and_type() -> None:
    x = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    same = [x.clone(), x.T.contiguous().T, x[:, None].squeeze(1)]
    others = [x.reshape(6, 4), x.int(), x.double(), -x, x[:3], x.flip(0)]
    assert len({digests.of_tensor(t) for t in same}) == 1
    assert len({digests.of_tensor(t) for t in [x, *others]}) == 1 + len(others)
    for dtype in (torch.bfloat16, torch.float16, torch.bool, torch.uint8):
        digests.of_tensor(x.to(dtype))
    digests.of_tensor(torch.tensor(1.0))
    digests.of_tensor(torch.zeros(0, 3))


@given(st.integers(0, 3 * 2**20 - 1), st.integers(1, 255))
def test_every_byte_of_every_block_counts(place: int, change: int) -> None:
    x = torch.zeros(3 * 2**20, dtype=torch.uint8)
    before = digests.of_tensor(x)
    x[place] = change
    assert digests.of_tensor(x) != before


def test_blocks_and_words_in_another_order_are_another_tensor() -> None:
    x = torch.arange(2**19, dtype=torch.int64)  # four blocks
    blocks, words = x.reshape(4, -1).flip(0).flatten(), x.clone()
    words[[5, 9]] = words[[9, 5]]
    assert len({digests.of_tensor(t) for t in (x, blocks, words)}) == 3


def test_texts_are_told_apart_by_where_they_part() -> None:
    given = [["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"], ["ab", "c", ""], []]
    assert len({digests.of_texts(t) for t in given}) == len(given)
    assert digests.of_texts(["é"]) == digests.of_texts(("é",))


def test_a_folder_is_the_names_and_bytes_of_its_files(tmp_path: Path) -> None:
    def folder(name: str, **files: bytes) -> str:
        for file, content in files.items():
            path = tmp_path / name / file.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return digests.of_folder(tmp_path / name)

    plain = folder("a", config=b"1", pool__config=b"2")
    assert (
        folder("b", pool__config=b"2", config=b"1", _dot_git__x=b"9", README_dot_md=b"9") == plain
    )
    others = [
        folder("c", config=b"1", pool__config=b"3"),
        folder("d", config=b"1", other__config=b"2"),
        folder("e", config=b"1"),
    ]
    assert len({plain, *others}) == 4


class Scaled(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.scale = scale
        self.register_buffer("shift", torch.zeros(2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) * self.scale + self.shift


def made(scale: float = 1.0) -> Scaled:
    module = Scaled(scale)
    nn.init.constant_(module.linear.weight, 0.5)
    nn.init.zeros_(module.linear.bias)
    return module


def test_a_module_is_parameters_buffers_layers_and_settings() -> None:
    before = digests.of_module(made())
    assert digests.of_module(made().eval()) == before
    assert digests.of_module(made().requires_grad_(False)) == before
    weighted, shifted = made(), made()
    weighted.linear.weight.data[0, 0] += 1e-7
    shifted.shift[1] = 1
    others = [made(2.0), weighted, shifted, nn.Sequential(made())]
    others += [nn.Sequential(made(), nn.ReLU()), nn.Sequential(made(), nn.Tanh())]
    assert len({before, *map(digests.of_module, others)}) == 1 + len(others)


@pytest.mark.parametrize("layer", [nn.Dropout, nn.LayerNorm])
def test_settings_of_layers_count(layer: type[nn.Module]) -> None:
    one, other = (
        (nn.Dropout(p) for p in (0.1, 0.2))
        if layer is nn.Dropout
        else (nn.LayerNorm(4, eps=e) for e in (1e-5, 1e-6))
    )
    assert digests.of_module(one) != digests.of_module(other)
