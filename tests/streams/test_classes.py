"""Streams that part the classes: partition, split, superclass, omniglot_rotation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.data.normalize import Normalize
from holdfast.data.split import Dataset, Split
from holdfast.streams import ORDERS, omniglot_rotation, partition, split, superclass

REGRESSION = Dataset(*[Split(torch.zeros(4, 2), torch.zeros(4, 1))] * 2)


@given(
    classes=st.integers(1, 12),
    tasks=st.integers(1, 12),
    shuffle=st.booleans(),
    seed=st.integers(0, 99),
    scenario=st.sampled_from(["task_incremental", "class_incremental"]),
)
def test_split_deals_out_each_class_once(make_dataset, classes, tasks, shuffle, seed, scenario):
    dataset = make_dataset([3] * classes)
    if tasks > classes:
        with pytest.raises(ValueError, match=f"tasks={tasks} is more than the {classes} classes"):
            split(dataset, tasks, scenario, shuffle, seed=seed)
        return
    stream = split(dataset, tasks, scenario, shuffle, seed=seed)
    sizes = [len(task.classes) for task in stream]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1
    assert sorted(stream.classes) == list(range(classes))
    assert shuffle or stream.classes == tuple(range(classes))
    for task in stream:
        for mine, whole in ((task.train, dataset.train), (task.test, dataset.test)):
            wanted = [i for i, y in enumerate(whole.y.tolist()) if y in task.classes]
            assert torch.equal(mine.x, whole.x[wanted])
            assert torch.equal(mine.y, whole.y[wanted])
    again = split(dataset, tasks, scenario, shuffle, seed=seed)
    assert [t.classes for t in again] == [t.classes for t in stream]


def test_split_shuffles_by_the_seed(make_dataset) -> None:
    dataset = make_dataset([2] * 12)
    dealt = {split(dataset, 3, shuffle_classes=True, seed=s).classes for s in range(5)}
    assert len(dealt) == 5


def test_split_takes_so_many_classes_a_task(make_dataset) -> None:
    stream = split(make_dataset([2] * 7), 2, classes_per_task=3)
    assert [t.classes for t in stream] == [(0, 1, 2), (3, 4, 5)]
    with pytest.raises(ValueError, match="need 8 classes, 'dataset' has 7"):
        split(make_dataset([2] * 7), 2, classes_per_task=4)


def test_split_orders_tasks_not_classes(make_dataset) -> None:
    dataset = make_dataset([2] * 20)
    stream = split(dataset, 10, order="B")
    assert [t.classes for t in stream] == [(2 * i, 2 * i + 1) for i in ORDERS[10]["B"]]
    plain = {t.name: t.classes for t in split(dataset, 10)}
    assert {t.name: t.classes for t in stream} == plain


def test_domain_incremental_labels_are_the_index_within_the_task(make_dataset) -> None:
    dataset = make_dataset([3] * 6)
    stream = split(dataset, 3, "domain_incremental", shuffle_classes=True, validation=0.4, seed=2)
    dealt = split(dataset, 3, "task_incremental", shuffle_classes=True, validation=0.4, seed=2)
    for relabelled, plain in zip(stream, dealt, strict=True):
        assert relabelled.classes == (0, 1)
        assert relabelled.name == plain.name
        for kind in ("train", "test", "validation"):
            ours, theirs = getattr(relabelled, kind), getattr(plain, kind)
            assert [plain.classes[y] for y in ours.y.tolist()] == theirs.y.tolist()
            assert torch.equal(ours.x, theirs.x)


def test_tasks_of_unequal_size(make_dataset) -> None:
    dataset = make_dataset([3] * 6)
    stream = split(dataset, [3, 1, 1])
    assert [t.classes for t in stream] == [(0, 1, 2), (3,), (4,)]
    shuffled = split(dataset, (4, 2), shuffle_classes=True, seed=3)
    dealt = [c for t in split(dataset, 6, shuffle_classes=True, seed=3) for c in t.classes]
    assert [t.classes for t in shuffled] == [tuple(dealt[:4]), tuple(dealt[4:])]
    turned = split(dataset, [4, 2], order=[1, 0])
    assert [t.classes for t in turned] == [(4, 5), (0, 1, 2, 3)]


def test_validation_is_the_same_for_any_tasks(make_dataset) -> None:
    dataset = make_dataset([5] * 6)
    held = [
        sorted(x for t in split(dataset, n, validation=0.4, seed=1) for x in t.validation.x[:, 0])
        for n in (1, 2, 6)
    ]
    assert held[0] == held[1] == held[2]
    assert len(held[0]) == 12


def test_tasks_share_the_normalisation(make_dataset) -> None:
    normalize = Normalize((1.0,), (2.0,))
    assert all(t.transform is normalize for t in split(make_dataset(normalize=normalize), 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": 0}, "tasks must be a positive integer, got 0"),
        ({"classes_per_task": 0}, "classes_per_task must be a positive integer, got 0"),
        ({"tasks": 4, "scenario": "domain_incremental"}, "classes_per_task=1 leaves 2 out"),
        (
            {"tasks": [3, 0]},
            "tasks must be a positive integer or hold positive integers alone, got 0",
        ),
        ({"tasks": []}, r"tasks=\[\] needs 0 classes in one task or more"),
        ({"tasks": [5, 9]}, r"tasks=\[5, 9\] needs 14 classes"),
        ({"tasks": [2, 2], "classes_per_task": 2}, "classes_per_task=2 must be left out"),
        ({"tasks": [3, 2], "scenario": "domain_incremental"}, "tasks of equally many classes"),
        ({"tasks": [2, 2], "order": [0, 1, 2]}, r"order must be a permutation of 0\.\.1"),
        ({"order": [0, 1]}, r"order must be a permutation of 0\.\.4"),
        ({"validation": 1.5}, "validation must be a fraction"),
    ],
)
def test_split_refuses(make_dataset, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        split(make_dataset(), **options)


def test_refuse_classes_without_samples(make_dataset) -> None:
    with pytest.raises(ValueError, match=r"classes \[2\] have no test samples"):
        split(make_dataset((2, 2, 2), test_counts=(1, 1)), 3)
    with pytest.raises(ValueError, match=r"classes \[9\] have no train samples"):
        partition(make_dataset(), [[0], [9]])
    held = Dataset(make_dataset().train, make_dataset().test, make_dataset((2,) * 5).train)
    with pytest.raises(ValueError, match=r"classes \[5\] have no validation samples"):
        split(held)


def test_refuse_targets() -> None:
    for build in (split, lambda d: partition(d, [[0]])):
        with pytest.raises(ValueError, match="holds regression targets"):
            build(REGRESSION)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "at least one class each"),
        ([[0], []], "at least one class each"),
        ([[0, 1], [1, 2]], r"\[1\] are there twice"),
        ([[0, 0]], r"\[0\] are there twice"),
    ],
)
def test_partition_refuses(make_dataset, parts, message) -> None:
    with pytest.raises(ValueError, match=message):
        partition(make_dataset(), parts)


def test_partition_in_the_order_given(make_dataset) -> None:
    stream = partition(make_dataset(), [[5, 0], [3]], "task_incremental", names=["a", "b"])
    assert [(t.name, t.classes) for t in stream] == [("a", (5, 0)), ("b", (3,))]
    with pytest.raises(ValueError, match="names must name 2 tasks, got 1"):
        partition(make_dataset(), [[5, 0], [3]], names=["a"])
    with pytest.raises(ValueError, match=r"equally many classes, got \[1, 2\]"):
        partition(make_dataset(), [[5, 0], [3]], "domain_incremental")


def test_names_say_the_classes(make_dataset) -> None:
    dataset = make_dataset([2] * 12)
    assert [t.name for t in split(dataset, 12)][:2] == ["class 0", "class 1"]
    assert split(dataset, 3)[0].name == "classes 0, 1, 2, 3"
    assert [t.name for t in split(dataset, 2)] == ["classes 0..5", "classes 6..11"]
    assert partition(dataset, [[5, 0, 3, 1, 9]])[0].name == "classes 5, 0, 3, ... (5)"


def test_superclass_makes_a_task_of_each_group(make_dataset) -> None:
    dataset = make_dataset(groups=(1, 0, 1, 0, 2, 2), group_names=("x", "y", "z"))
    stream = superclass(dataset)
    assert [(t.name, t.classes) for t in stream] == [
        ("x", (1, 3)),
        ("y", (0, 2)),
        ("z", (4, 5)),
    ]
    assert stream.scenario == "task_incremental"
    unnamed = superclass(make_dataset(groups=(1, 0, 1, 0, 2, 2)))
    assert [t.name for t in unnamed] == ["group 0", "group 1", "group 2"]
    moved = superclass(dataset, order=[2, 0, 1], scenario="domain_incremental")
    assert [(t.name, t.classes) for t in moved] == [
        ("z", (0, 1)),
        ("x", (0, 1)),
        ("y", (0, 1)),
    ]


def test_superclass_takes_the_published_orders(make_dataset) -> None:
    dataset = make_dataset([1] * 40, groups=tuple(c % 20 for c in range(40)))
    stream = superclass(dataset, order="C")
    assert [t.classes for t in stream] == [(g, g + 20) for g in ORDERS[20]["C"]]


def test_superclass_refuses(make_dataset) -> None:
    with pytest.raises(ValueError, match="has no groups of classes"):
        superclass(make_dataset())
    with pytest.raises(ValueError, match="order 'A' is not known for 2 tasks"):
        superclass(make_dataset(groups=(0, 0, 0, 1, 1, 1)), order="A")


def test_omniglot_rotation_turns_each_drawing_on_its_own_side(make_dataset) -> None:
    dataset = make_dataset([4] * 7, shape=(1, 3, 3))
    stream = omniglot_rotation(dataset, tasks=3, classes_per_task=2, validation=0.25)
    assert [t.classes for t in stream] == [(0, 1), (2, 3), (4, 5)]
    for task in stream:
        sides = [task.train, task.validation, task.test]
        assert [len(side) for side in sides] == [2 * 3 * 4, 2 * 1 * 4, 2 * 4 * 4]
        drawings = [{float(x.min()) for x in side.x} for side in sides]
        assert [len(d) for d in drawings] == [6, 2, 8]
        assert not drawings[0] & drawings[1]
        for x, y in zip(task.train.x, task.train.y, strict=True):
            turned = [torch.rot90(x, k, (1, 2)) for k in range(4)]
            matches = [
                (b == a).flatten(1).all(1).nonzero().flatten()
                for b, a in ((task.train.x, t) for t in turned)
            ]
            assert all(len(m) == 1 and task.train.y[m] == y for m in matches)
    with pytest.raises(ValueError, match="needs square images"):
        omniglot_rotation(make_dataset(shape=(1, 2, 3)), 1, 1)
