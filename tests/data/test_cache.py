import errno
import resource
import threading
from pathlib import Path

import pytest
import torch
from damage import cut, flip, garbage

from holdfast.data import Normalize, cache, tensor_file
from holdfast.data.parts import Parts


def parts(seed: int = 0) -> Parts:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (50, 3, 8, 8), generator=generator).to(torch.uint8)
    y = torch.randint(0, 4, (50,), generator=generator)
    return Parts(
        {"train": x, "test": x[:9].clone()},
        {"train": y, "test": y[:9].clone()},
        ("a", "b", "c", "ü"),
        (0, 0, 1, 1),
        ("g", "h"),
        Normalize((0.1, 1 / 3, 2.0), (1.0, 2.0, 3.0)),
    )


def never() -> Parts:
    raise AssertionError("the cache was not used")


def same(one: Parts, other: Parts) -> bool:
    names = ("class_names", "groups", "group_names", "normalize")
    return (
        list(one.x) == list(other.x)
        and all(torch.equal(one.x[s], other.x[s]) for s in one.x)
        and all(torch.equal(one.y[s], other.y[s]) for s in one.y)
        and all(getattr(one, n) == getattr(other, n) for n in names)
    )


def test_gives_back_what_it_was_given(cache_folder):
    first = cache.remembered("name", "key", parts)
    assert same(first, parts())
    assert same(cache.remembered("name", "key", never), parts())
    assert [p.name for p in cache_folder.iterdir()] == ["name-key.safetensors"]
    bare = Parts(parts().x, {s: v.float()[:, None] for s, v in parts().y.items()})
    cache.remembered("bare", "key", lambda: bare)
    assert same(cache.remembered("bare", "key", never), bare)


def test_what_is_read_may_be_written_to_without_harm():
    cache.remembered("name", "key", parts)
    cache.remembered("name", "key", never).x["train"].zero_()
    assert same(cache.remembered("name", "key", never), parts())


def foreign(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(3)}, path)


@pytest.mark.parametrize("harm", [cut, flip, foreign, garbage], ids=lambda f: f.__name__)
def test_a_damaged_file_is_made_anew(harm, cache_folder, caplog):
    cache.remembered("name", "key", parts)
    harm(cache_folder / "name-key.safetensors")
    assert same(cache.remembered("name", "key", parts), parts())
    assert "damaged and made anew" in caplog.text
    assert same(cache.remembered("name", "key", never), parts())


def test_a_full_disk_costs_nothing_but_the_cache(cache_folder, caplog, monkeypatch):
    def full(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tensor_file, "save_file", full)
    assert same(cache.remembered("name", "key", parts), parts())
    assert "No space left on device" in caplog.text
    assert "set HOLDFAST_CACHE to another folder" in caplog.text
    assert list(cache_folder.iterdir()) == []


def test_a_write_that_fails_half_way_leaves_nothing(cache_folder, caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        made = cache.remembered("name", "key", parts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert same(made, parts())
    assert "could not be kept" in caplog.text
    assert list(cache_folder.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "file"))
    assert same(cache.remembered("name", "key", parts), parts())
    assert "could not be kept" in caplog.text


def test_two_that_decode_at_once_do_no_harm(cache_folder):
    together = threading.Barrier(2)

    def build() -> Parts:
        together.wait(timeout=10)  # both are past the look into the cache
        return parts()

    found: list[Parts] = []
    workers = [
        threading.Thread(target=lambda: found.append(cache.remembered("name", "key", build)))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 2
    assert len(list(cache_folder.iterdir())) == 1
    assert same(cache.remembered("name", "key", never), parts())


def test_key_is_of_the_content(tmp_path):
    one, copy, other = (tmp_path / n for n in ("one", "copy", "other"))
    one.write_bytes(b"content" * 1000)
    copy.write_bytes(b"content" * 1000)
    other.write_bytes(b"content" * 999 + b"contenT")
    assert cache.key([one], "r") == cache.key([copy], "r")
    assert cache.key([one], "r") != cache.key([other], "r")
    assert cache.key([one], "r") != cache.key([one], "s")
    assert cache.key([one, other], "r") != cache.key([other, one], "r")


def test_folder(monkeypatch, tmp_path):
    assert cache.folder() == tmp_path / "cache"
    monkeypatch.delenv("HOLDFAST_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder() == tmp_path / "xdg" / "holdfast"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "holdfast"
