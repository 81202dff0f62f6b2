import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from damage import cut, flip, garbage
from safetensors.torch import save_file
from torch import Tensor

from holdfast.data import feature_cache, tensor_file
from holdfast.data.feature_cache import CHUNK, remembered

N = 2 * CHUNK + 7


def features(start: int, stop: int) -> Tensor:
    rows = torch.arange(start, stop, dtype=torch.float32)
    return torch.stack([rows, rows**2, -rows], dim=1)


class Counting:
    def __init__(self, breaks_at: int | None = None) -> None:
        self.calls: list[int] = []
        self.breaks_at = breaks_at

    def __call__(self, start: int, stop: int) -> Tensor:
        if start == self.breaks_at:
            raise KeyboardInterrupt
        self.calls.append(start)
        return features(start, stop)


def never(start: int, stop: int) -> Tensor:
    raise AssertionError("the cache was not used")


def test_gives_back_what_was_made(cache_folder: Path) -> None:
    steps: list[int] = []
    assert torch.equal(remembered("key", N, features, done=steps.append), features(0, N))
    assert steps == [CHUNK, CHUNK, 7]
    assert torch.equal(remembered("key", N, never), features(0, N))
    files = sorted(p.relative_to(cache_folder) for p in cache_folder.rglob("*") if p.is_file())
    assert files == [Path(f"features/key/00000{i}.safetensors") for i in range(3)]


def test_what_breaks_off_loses_the_chunk_it_was_at() -> None:
    with pytest.raises(KeyboardInterrupt):
        remembered("key", N, Counting(breaks_at=2 * CHUNK))
    rest = Counting()
    assert torch.equal(remembered("key", N, rest), features(0, N))
    assert rest.calls == [2 * CHUNK]


def foreign(path: Path) -> None:
    save_file({"features": torch.zeros(CHUNK, 3)}, path)


def other_rows(path: Path) -> None:
    path.write_bytes((path.parent / "000002.safetensors").read_bytes())


def other_chunk(path: Path) -> None:
    path.write_bytes((path.parent / "000000.safetensors").read_bytes())


@pytest.mark.parametrize(
    "harm", [cut, flip, foreign, garbage, other_rows, other_chunk], ids=lambda f: f.__name__
)
def test_a_damaged_chunk_is_made_anew_alone(
    harm: Callable[[Path], None], cache_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    remembered("key", N, features)
    harm(cache_folder / "features" / "key" / "000001.safetensors")
    mended = Counting()
    assert torch.equal(remembered("key", N, mended), features(0, N))
    assert mended.calls == [CHUNK]
    assert "damaged and made anew" in caplog.text
    assert torch.equal(remembered("key", N, never), features(0, N))


def test_a_full_disk_costs_nothing_but_the_cache(
    cache_folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tensor_file, "save_file", full)
    assert torch.equal(remembered("key", N, features), features(0, N))
    assert caplog.text.count("No space left on device") == 1
    assert "set HOLDFAST_CACHE to another folder" in caplog.text
    assert not any(p.is_file() for p in cache_folder.rglob("*"))


def test_keys_differ_by_every_word() -> None:
    words = [("a", "b"), ("b", "a"), ("a", "b", ""), ("ab",)]
    assert len({feature_cache.key(*w) for w in words}) == len(words)
