"""What a learner depends on of a stream: shapes and classes, without the samples."""

from typing import Any

import torch

from holdfast.data.split import Split
from holdfast.streams.stream import Stream, Task


def outline(stream: Stream) -> dict[str, Any]:
    """Scenario, shape and dtype of network inputs, and the classes of each task, as JSON values."""
    first = stream[0]
    sample = first.inputs(first.test.x[:1])
    return {
        "scenario": stream.scenario,
        "input_shape": list(sample.shape[1:]),
        "dtype": str(sample.dtype).removeprefix("torch."),
        "targets": first.test.y.shape[1] if stream.is_regression else None,
        "tasks": [[task.name, list(task.classes)] for task in stream],
    }


def hollow(outlined: dict[str, Any]) -> Stream:
    """A stream of that `outline`, a sample of zeros in each task: learners are built for it as for
    the stream itself.
    """
    x = torch.zeros(1, *outlined["input_shape"], dtype=getattr(torch, outlined["dtype"]))
    targets = outlined["targets"]
    tasks = []
    for name, classes in outlined["tasks"]:
        y = torch.tensor(classes[:1]) if targets is None else torch.zeros(1, targets)
        blank = Split(x, y)
        tasks.append(Task(name, blank, blank, classes=tuple(classes)))
    return Stream(tasks, outlined["scenario"])
