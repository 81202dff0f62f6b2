"""A stream whose tasks are one dataset, each seen through a transform of its own."""

from collections.abc import Mapping

from holdfast.data.split import Dataset
from holdfast.streams.compose import Compose
from holdfast.streams.holdout import hold_out
from holdfast.streams.stream import Scenario, Stream, Task, Transform


def views(
    dataset: Dataset,
    transforms: Mapping[str, Transform],
    scenario: Scenario = "domain_incremental",
    normalize_first: bool = False,
    validation: float = 0.0,
    seed: int = 0,
) -> Stream:
    """One task for each transform; all share the dataset's tensors and keep its labels.

    Nothing is computed until a task's samples are asked for, on the device.

    Args:
        dataset: with class labels or regression targets.
        transforms: by the name of their task, in the order of the stream. Each maps a batch of
            float32 samples (uint8 is cast before) to a batch of one shape for all tasks.
        scenario: ``domain_incremental``, or ``task_incremental`` for a head a task.
        normalize_first: whether the dataset's normalisation comes before the transform or after.
        validation: fraction of the training samples held out, see `hold_out`.
        seed: of what is held out.

    Raises:
        ValueError: no transforms, shapes that differ, or a class-incremental scenario.
    """
    if scenario == "class_incremental":
        raise ValueError(
            "scenario must be 'domain_incremental' or 'task_incremental' where all tasks have the "
            "same classes, got 'class_incremental'"
        )
    train, held = hold_out(dataset, validation, seed)
    tasks = []
    for name, transform in transforms.items():
        parts = (
            (dataset.normalize, transform) if normalize_first else (transform, dataset.normalize)
        )
        tasks.append(
            Task(
                name=name,
                train=train,
                test=dataset.test,
                validation=held,
                classes=dataset.classes,
                transform=Compose.of(*parts),
            )
        )
    return Stream(tasks, scenario, dataset.name)
