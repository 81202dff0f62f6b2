"""The same work in Avalanche over the same bare loops: ``make bench-avalanche``.

Runs in an environment of its own, without Holdfast. Everything that Avalanche can have ready
before training (streams, Fisher, a filled memory) is ready before the clock starts. Its default
metrics are on, its progress bar is off. EWC's 1/2 is Avalanche's `ewc_lambda`. Its DER++ differs
from the paper's, and from the bare loop, by three things: it replays one batch a step and not two,
it replays from the second experience on, and it updates the memory after the last epoch, for which
it computes all logits again.
"""

import copy
import platform
import sys
import warnings

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

try:
    import torchvision
except RuntimeError:
    # A torchvision built for a GPU cannot load its operators beside a torch built without, and
    # then fails on registering these two. Declared and never called, they let it be imported.
    OPERATORS = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        OPERATORS.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

from avalanche.benchmarks import CLScenario, benchmark_from_datasets
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
from avalanche.training.plugins import EvaluationPlugin, EWCPlugin
from avalanche.training.supervised import DER, Naive

import avalanche
from benchmarks import bare
from benchmarks.timing import Comparison, compare

HEAD = ["work", "bare, s", "Avalanche, s", "Avalanche / bare [min, max]"]


def scenario(tasks: list[bare.Rows], labelled: bool = False) -> CLScenario:
    """The tasks as a train and a test stream; with task labels in the rows where a method asks."""
    return benchmark_from_datasets(
        train=[_dataset(x, y, labelled) for x, y, _, _ in tasks],
        test=[_dataset(x, y, labelled) for _, _, x, y in tasks],
    )


def _dataset(x: Tensor, y: Tensor, labelled: bool) -> object:
    rows = TensorDataset(x, y, torch.zeros_like(y)) if labelled else TensorDataset(x, y)
    # Avalanche reads the labels here, which TensorDataset does not declare.
    rows.targets = y.tolist()  # type: ignore[attr-defined]
    return as_classification_dataset(rows)


def options(epochs: int, batch: int, classes: int = bare.CLASSES) -> dict[str, object]:
    """A new network and optimizer, and the default metrics without the progress bar."""
    model = bare.network(classes)
    on = {"epoch": True, "experience": True, "stream": True}
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=bare.LR),
        "evaluator": EvaluationPlugin(accuracy_metrics(**on), loss_metrics(**on)),
        "train_epochs": epochs,
        "train_mb_size": batch,
        "eval_mb_size": 256,
    }


def plain_epochs(repetitions: int) -> Comparison:
    """Five epochs, then ten rows to evaluate."""
    x, y = bare.samples(bare.ROWS)
    streams = scenario([(x, y, x[:10], y[:10])])

    def theirs() -> None:
        strategy = Naive(**options(bare.EPOCHS, bare.BATCH))
        strategy.train(streams.train_stream)
        strategy.eval(streams.test_stream)

    return compare(theirs, lambda: bare.plain_epochs(x, y), repetitions)


def many_tasks(repetitions: int, test: int) -> Comparison:
    """50 tasks, accuracy and loss on all of them after each."""
    tasks = bare.small_tasks(test)
    streams = scenario(tasks)

    def theirs() -> None:
        strategy = Naive(**options(1, bare.TASK_BATCH, 2 * bare.TASKS))
        for experience in streams.train_stream:
            strategy.train(experience)
            strategy.eval(streams.test_stream)

    return compare(theirs, lambda: bare.many_tasks(tasks), repetitions)


class _Held(EWCPlugin):
    """EWC that does not add the task: the epochs alone are timed."""

    def after_training_exp(self, strategy: object, **kwargs: object) -> None:
        pass


def ewc(repetitions: int) -> Comparison:
    """Three epochs under the penalty of one earlier task."""
    x, y = bare.samples(bare.ROWS)
    streams = scenario([(x, y, x[:10], y[:10])])
    first = EWCPlugin(ewc_lambda=bare.STRENGTH / 2)
    Naive(**options(1, bare.BATCH), plugins=[first]).train(streams.train_stream)

    def theirs() -> None:
        method = _Held(ewc_lambda=bare.STRENGTH / 2)
        method.importances, method.saved_params = first.importances, first.saved_params
        strategy = Naive(**options(bare.METHOD_EPOCHS, bare.BATCH), plugins=[method])
        strategy.clock.train_exp_counter = 1
        strategy.train(streams.train_stream)
        strategy.eval(streams.test_stream)

    return compare(theirs, lambda: bare.ewc(x, y), repetitions)


def derpp(repetitions: int) -> Comparison:
    """Three epochs of DER++ with a memory of 500, which an earlier task has filled."""
    x, y = bare.samples(bare.ROWS)
    earlier = bare.samples(2_000, seed=1)
    tasks = [(*earlier, x[:10], y[:10]), (x, y, x[:10], y[:10])]
    streams = scenario(tasks, labelled=True)
    weights = {"mem_size": bare.MEMORY, "alpha": bare.ALPHA, "beta": bare.BETA}
    first = DER(**options(1, bare.BATCH), **weights)
    first.train(streams.train_stream[0])
    groups = first.storage_policy.buffer_groups

    def theirs() -> None:
        strategy = DER(**options(bare.METHOD_EPOCHS, bare.BATCH), **weights)
        strategy.storage_policy.buffer_groups = {c: copy.copy(g) for c, g in groups.items()}
        strategy.train(streams.train_stream[1])
        strategy.eval(streams.test_stream[1])

    return compare(theirs, lambda: bare.derpp(x, y), repetitions)


def main(repetitions: int = 5) -> None:
    """Time everything, one torch thread, and print the table."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "No loggers specified")
    print(
        f"CPU seconds, medians of {repetitions} interleaved repetitions in one process, 1 thread; "
        f"avalanche-lib {avalanche.__version__}, torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}, Python {platform.python_version()}, "
        f"{platform.machine()}\n"
    )
    rows = [
        plain_epochs(repetitions).cells("5 epochs"),
        many_tasks(repetitions, 40).cells("50 tasks, 40 test rows each"),
        many_tasks(repetitions, 200).cells("50 tasks, 200 test rows each"),
        ewc(repetitions).cells("3 epochs of EWC"),
        derpp(repetitions).cells("3 epochs of DER++"),
    ]
    for line in [HEAD, ["---"] * len(HEAD), *rows]:
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
