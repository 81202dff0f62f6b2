"""Order, skipping and content of the batches of both sources, against the samples themselves."""

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from holdfast.data.normalize import Normalize
from holdfast.data.split import Split
from holdfast.streams import Loaded, Resident, Source, Task, source
from holdfast.streams.batches import Batch


def columns(y: Tensor, index: int) -> Tensor:
    return y if y.is_floating_point() else y - 10 * index


def split(n: int, first: int = 0) -> Split:
    x = torch.arange(n, dtype=torch.float32)[:, None] + 100 * first
    return Split(x, torch.arange(n) % 3 + 10 * first)


def tensors(n: int, index: int = 0) -> Task:
    return Task(f"t{index}", split(n, index), split(4, index), transform=Normalize((0.0,), (2.0,)))


def loading(n: int, index: int = 0, **options: object) -> Task:
    task = tensors(n, index)
    assert isinstance(task.train, Split)
    loader = DataLoader(TensorDataset(task.train.x, task.train.y), batch_size=4, **options)  # type: ignore[arg-type]
    return Task(task.name, loader, task.test, classes=task.classes, transform=task.transform)


class Noisy(TorchDataset):
    """Draws from torch's global generator, as an augmentation does."""

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.rand(1) + index, torch.tensor(index % 3)


SOURCES: dict[str, Callable[[], Source]] = {
    "resident": lambda: Resident.of([(0, tensors(9))], columns),
    "resident of two": lambda: Resident.of([(0, tensors(9)), (1, tensors(5, 1))], columns),
    "loaded in order": lambda: Loaded([(0, loading(9))], columns),
    "loaded shuffled": lambda: Loaded([(0, loading(9, shuffle=True))], columns),
    "loaded, own generator": lambda: Loaded(
        [(0, loading(9, shuffle=True, generator=torch.Generator()))], columns
    ),
    "loaded of two": lambda: Loaded(
        [(0, loading(9, shuffle=True)), (1, loading(5, 1, shuffle=True))], columns
    ),
    "loaded, augmented": lambda: Loaded(
        [(0, Task("n", DataLoader(Noisy(), 4, shuffle=True), split(3), classes=(0, 1, 2)))], columns
    ),
}
every_source = pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES.keys())


def flat(batches: Sequence[Batch]) -> list[tuple]:
    return [(b.x.flatten().tolist(), b.y.tolist(), b.tasks().tolist()) for b in batches]


@every_source
@given(seed=st.integers(0, 2**63 - 1), skip=st.integers(0, 6))
def test_an_epoch_is_a_pure_function_of_its_seed(
    make: Callable[[], Source], seed: int, skip: int
) -> None:
    epoch = flat(list(make().epoch(4, seed)))
    state = torch.get_rng_state()
    torch.rand(3)
    again = make()
    list(again.epoch(4, seed + 1 if seed < 2**62 else seed - 1))
    assert flat(list(again.epoch(4, seed))) == epoch
    assert flat(list(again.epoch(4, seed, skip))) == epoch[skip:]
    assert len(epoch) == again.steps(4)
    torch.set_rng_state(state)
    list(again.epoch(4, seed))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", ["resident", "resident of two", "loaded shuffled"])
def test_epochs_differ_in_order_and_hold_each_sample_once(name: str) -> None:
    made = SOURCES[name]()
    first, second = (flat(list(made.epoch(4, seed))) for seed in (0, 1))
    assert first != second
    rows = [
        sorted(row for batch in epoch for row in zip(*batch, strict=True))
        for epoch in (first, second)
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == len(made)


@pytest.mark.parametrize("name", ["resident of two", "loaded of two"])
def test_samples_are_transformed_and_in_their_columns(name: str) -> None:
    for batch in SOURCES[name]().epoch(4, 0):
        for x, y, task in zip(batch.x[:, 0], batch.y, batch.tasks(), strict=True):
            sample = 2 * x - 100 * task
            assert 0 <= sample < 9
            assert sample % 3 == y


@given(size=st.integers(1, 20))
def test_resident_batches_are_views_in_stored_order(size: int) -> None:
    resident = Resident.of([(0, tensors(9)), (1, tensors(5, 1))], columns)
    batches = list(resident.batches(size))
    assert torch.equal(torch.cat([b.x for b in batches]), resident.x)
    assert torch.equal(torch.cat([b.tasks() for b in batches]), torch.tensor([0] * 9 + [1] * 5))
    assert all(len(b) <= size for b in batches)
    assert len(batches) == resident.steps(size)
    assert batches[0].x.data_ptr() == resident.x.data_ptr()


def test_resident_at_copies_the_samples_asked_for() -> None:
    resident = Resident.of([(0, tensors(9)), (1, tensors(5, 1))], columns)
    batch = resident.at(torch.tensor([10, 2]))
    assert batch.x.flatten().tolist() == [50.5, 1.0]
    assert batch.y.tolist() == [1, 2]
    assert batch.tasks().tolist() == [1, 0]


def test_regression_targets_pass_unchanged() -> None:
    part = Split(torch.zeros(3, 2), torch.rand(3, 2))
    batch = next(Resident.of([(4, Task("r", part, part))], columns).batches(3))
    assert torch.equal(batch.y, part.y)
    assert batch.task == 4


def test_source_chooses_by_what_the_tasks_hold() -> None:
    assert isinstance(source([(0, tensors(9))], columns), Resident)
    assert isinstance(source([(0, loading(9))], columns), Loaded)
    with pytest.raises(TypeError, match=r"tasks \['t1'\] are fed by a DataLoader"):
        source([(0, tensors(9)), (1, loading(5, 1))], columns)
    with pytest.raises(TypeError, match="use Loaded"):
        Resident.of([(0, loading(9))], columns)
    with pytest.raises(TypeError, match="use Resident"):
        len(Loaded([(0, tensors(9))], columns))


def test_loaded_counts_its_samples() -> None:
    assert len(SOURCES["loaded of two"]()) == 14
