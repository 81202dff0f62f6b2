"""Many small tasks, all of them evaluated after each."""

from benchmarks import bare
from benchmarks.timing import Comparison, compare
from holdfast.data.split import Split
from holdfast.streams.stream import Stream, Task
from holdfast.training.options import Training
from holdfast.training.run import run


def many_tasks(repetitions: int, test: int) -> Comparison:
    """50 tasks of 200 rows and 2 classes each, accuracy and loss on all 50 after each.

    Args:
        repetitions: of both.
        test: rows a task is evaluated on.
    """
    tasks = bare.small_tasks(test)
    stream = Stream(
        [
            Task(str(i), Split(a, b), Split(c, d), classes=(2 * i, 2 * i + 1))
            for i, (a, b, c, d) in enumerate(tasks)
        ],
        "class_incremental",
    )
    training = Training(epochs=1, batch_size=bare.TASK_BATCH, lr=bare.LR, device="cpu")

    def ours() -> None:
        run(stream, bare.backbone(), training=training, heads="shared")

    return compare(ours, lambda: bare.many_tasks(tasks), repetitions)
