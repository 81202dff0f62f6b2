import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from holdfast.data.normalize import Normalize
from holdfast.data.split import Split
from holdfast.streams import streamed
from holdfast.streams.batches import Batch, Loaded, Resident
from holdfast.streams.sources import source
from holdfast.streams.stream import Task
from holdfast.streams.streamed import Streamed


def task(name: str, rows: int, seed: int, transform: Normalize | None = None) -> Task:
    draws = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 255, (rows, 1, 2, 3), generator=draws, dtype=torch.uint8)
    split = Split(x, torch.arange(rows) % 3)
    return Task(name, split, split, transform=transform)


def columns(y: torch.Tensor, position: int) -> torch.Tensor:
    return y + 10 * position


TASKS = [
    (0, task("a", 7, 0, Normalize((3.0,), (2.0,)))),
    (2, task("b", 11, 1)),
    (5, task("c", 4, 2, Normalize((100.0,), (9.0,)))),
]


def same(a: Batch, b: Batch) -> bool:
    ids = torch.equal(a.tasks(), b.tasks()) and isinstance(a.task, type(b.task))
    return ids and torch.equal(a.x, b.x) and torch.equal(a.y, b.y)


@pytest.mark.parametrize("tasks", [TASKS, TASKS[:1], TASKS[1:]], ids=["three", "one", "two"])
@pytest.mark.parametrize("skip", [0, 1, 3])
def test_gives_the_batches_of_resident(tasks: list[tuple[int, Task]], skip: int) -> None:
    here, there = Resident.of(tasks, columns), Streamed(tasks, columns)
    assert len(here) == len(there)
    assert here.steps(4) == there.steps(4)
    pairs = list(zip(here.epoch(4, 9, skip), there.epoch(4, 9, skip), strict=True))
    assert len(pairs) == max(0, here.steps(4) - skip)
    assert all(same(a, b) for a, b in pairs)
    assert all(same(a, b) for a, b in zip(here.batches(4), there.batches(4), strict=True))


def test_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    list(Streamed(TASKS, columns).epoch(4, 0))
    assert torch.equal(before, torch.get_rng_state())


def test_serves_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(source(TASKS, columns), Resident)
    page, rows = 16, sum(len(t.test) for _, t in TASKS)
    for pages, expected in ((rows * 6, Resident), (rows * 6 - 1, Streamed)):
        answers = {"SC_PAGE_SIZE": page, "SC_PHYS_PAGES": pages}
        monkeypatch.setattr(streamed.os, "sysconf", answers.__getitem__)
        assert isinstance(source(TASKS, columns), expected)


def test_a_loader_is_served_as_such_and_not_mixed() -> None:
    split = TASKS[0][1].test
    loader = DataLoader(TensorDataset(split.x, split.y), batch_size=2)
    loaded = (1, Task("l", loader, split, classes=(0, 1, 2)))
    assert isinstance(source([loaded], columns), Loaded)
    with pytest.raises(TypeError, match=r"\['l'\] are fed by a DataLoader"):
        source([loaded, TASKS[0]], columns)
    with pytest.raises(TypeError, match="use Loaded"):
        Streamed([loaded], columns)
