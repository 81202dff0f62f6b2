"""One task for each group of classes: superclasses, domains, alphabets."""

from holdfast.data.split import Dataset
from holdfast.streams.orders import Order, task_order
from holdfast.streams.partitioning import partition
from holdfast.streams.stream import Scenario, Stream


def superclass(
    dataset: Dataset,
    order: Order = None,
    scenario: Scenario = "task_incremental",
    validation: float = 0.0,
    seed: int = 0,
) -> Stream:
    """A stream with one task for each of the dataset's groups, their classes by ascending label.

    CIFAR-100 gives 20 tasks of 5 classes, CLINC150 10 of 15, Omniglot a task an alphabet.

    Args:
        dataset: with class labels and `groups`.
        order: of the tasks, whose numbers are the ascending numbers of the groups: a letter of
            `ORDERS` (for 20 groups those of Yoon et al., 2020) or a permutation.
        scenario: what the learner is told, see `Stream`.
        validation: fraction of the training samples held out, see `hold_out`.
        seed: of what is held out.

    Raises:
        ValueError: the dataset has no groups, groups of unequal size in a domain-incremental
            stream, a class without samples, or an unknown order.
    """
    if not dataset.groups:
        raise ValueError(
            f"{dataset.name!r} has no groups of classes; give the classes of each task to partition"
        )
    parts: dict[int, list[int]] = {}
    for label in dataset.classes:
        parts.setdefault(dataset.groups[label], []).append(label)
    places = task_order(order, len(parts))
    groups = sorted(parts)
    names = [dataset.group_names[g] if dataset.group_names else f"group {g}" for g in groups]
    return partition(
        dataset, [parts[g] for g in groups], scenario, names, validation, seed
    ).reordered(places)
