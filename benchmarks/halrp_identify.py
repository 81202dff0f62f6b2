"""Task unknown at test time: ``python -m benchmarks.halrp_identify [fashion|cifar100]``.

HALRP learns a stream, then every test sample is given to all tasks and each rule of
`holdfast.methods.halrp.identify` says whose it is. Class-incremental accuracy, beside that with
the task given, for three seeds; and what it takes, beside one batched call of all tasks' merged
networks (`torch.func.vmap`).
"""

import copy
import sys
import time
from collections.abc import Callable
from typing import cast, get_args

import torch
from torch import Tensor, nn

import holdfast
from benchmarks.timing import compare
from holdfast import methods, nets, streams
from holdfast.methods import Method
from holdfast.methods.halrp import (
    HALRP,
    Adapted,
    Calibration,
    ClassMeans,
    Rule,
    class_incremental_accuracy,
    identify,
)
from holdfast.nets import Learner
from holdfast.streams import Stream

SEEDS = range(3)
ROWS = 1000
"""Samples that are identified for the timing."""


def fashion(seed: int) -> tuple[Stream, nn.Module, holdfast.Training]:
    """Five tasks of two classes, 600 training and 120 validation samples of each class."""
    data = holdfast.load("fashion_mnist").subset(per_class=720, seed=0)
    stream = streams.split(data, tasks=5, scenario="task_incremental", validation=1 / 6)
    net = nets.mlp(stream.input_shape, hidden=(256, 256), seed=seed)
    training = holdfast.Training(epochs=10, batch_size=64, optimizer="adam", lr=1e-3, device="cpu")
    return stream, net, training


def cifar100(seed: int) -> tuple[Stream, nn.Module, holdfast.Training]:
    """Ten tasks of ten classes, 5 % of the training data, a fifth of it held out; order A.

    Of the test images a quarter.
    """
    data = holdfast.load("cifar100").subset(per_class=25).subset(per_class=25, splits=["test"])
    stream = streams.split(data, tasks=10, scenario="task_incremental", order="A", validation=0.2)
    net = nets.lenet(stream.input_shape, seed=seed)
    training = holdfast.Training(
        epochs=20, batch_size=128, optimizer="adam", lr=1e-3, schedule="exponential", decay=0.95,
        evaluate_tasks="seen", device="cpu",
    )  # fmt: skip
    return stream, net, training


Case = Callable[[int], tuple[Stream, nn.Module, holdfast.Training]]

CASES: dict[str, tuple[Case, dict[str, type[Method]]]] = {
    "fashion": (fashion, {"HALRP": HALRP, "SingleTask": methods.SingleTask}),
    "cifar100": (cifar100, {"HALRP": HALRP}),
}


def measured(learner: Learner, stream: Stream) -> dict[str, tuple[float, float]]:
    """Accuracy and share of tasks found, by rule; the task given is ``given``."""
    means = ClassMeans.of(learner, stream)
    found: dict[str, tuple[float, float]] = {}
    for rule in cast(tuple[Rule, ...], get_args(Rule)):
        own = means if rule == "class_mean" else None
        plain = class_incremental_accuracy(learner, stream, rule, means=own)
        calibration = Calibration.of(learner, stream, rule, own)
        standard = class_incremental_accuracy(learner, stream, rule, calibration=calibration)
        found[rule] = (plain.accuracy, plain.identified)
        found[f"{rule}, calibrated"] = (standard.accuracy, standard.identified)
        found["given"] = (plain.oracle, 1.0)
    chance = (1 / len(stream.classes), 1 / len(stream))
    return {"given": found.pop("given"), **found, "chance": chance}


def stacked(adapted: Adapted, tasks: int) -> Callable[[Tensor], Tensor]:
    """Inputs -> features of all tasks, (tasks, n, width): one call of their merged networks."""
    merged = [adapted.merge(i).eval() for i in range(tasks)]
    parameters, buffers = torch.func.stack_module_state(merged)
    shell = copy.deepcopy(merged[0]).to("meta")

    def call(x: Tensor) -> Tensor:
        def one(p: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
            made: Tensor = torch.func.functional_call(shell, (p, b), (x,))
            return made

        return torch.func.vmap(one)(parameters, buffers)

    return call


def main(names: list[str]) -> None:
    """Run and print."""
    torch.set_num_threads(1)
    for case in names or list(CASES):
        make, chosen = CASES[case]
        for name, method in chosen.items():
            runs, seconds = [], []
            for seed in SEEDS:
                stream, net, training = make(seed)
                learner = nets.build_learner(net, stream, heads="per_task", seed=seed)
                made: Method = method()
                began = time.process_time()
                record = holdfast.run(stream, learner, made, training, seed=seed)
                seconds.append(time.process_time() - began)
                runs.append(measured(learner, stream))
                print(
                    f"# {case} {name} {seed}: {record.metrics()['acc']:.4f}, {runs[-1]}", flush=True
                )
            print(f"\n{case}, {name}: {sum(seconds) / len(seconds):.0f} CPU-s a run\n")
            print("| rule | accuracy, % | [min, max] | task found, % |\n| --- | --- | --- | --- |")
            for rule in runs[0]:
                a = [100 * run[rule][0] for run in runs]
                t = sum(100 * run[rule][1] for run in runs) / len(runs)
                print(
                    f"| {rule} | {sum(a) / len(a):.1f} | [{min(a):.1f}, {max(a):.1f}] | {t:.1f} |"
                )
            if isinstance(learner.backbone, Adapted):
                timed(learner, stream)


def timed(learner: Learner, stream: Stream) -> None:
    """Print CPU seconds of identification: beside one known task, and beside stacked networks."""
    adapted, count = cast(Adapted, learner.backbone), len(stream)
    x = stream[0].inputs(stream[0].test.x)[:ROWS]
    learner.eval()
    with torch.no_grad():
        own = compare(lambda: identify(learner, x), lambda: learner(x, 1), 5)
        call = stacked(adapted, count)
        both = compare(lambda: identify(learner, x), lambda: call(x), 5)
    print("\n| work | theirs, s | ours, s | ours / theirs [min, max] |\n| --- | --- | --- | --- |")
    print("| " + " | ".join(own.cells(f"identify {len(x)} among {count} tasks, one known task")))
    print("| " + " | ".join(both.cells("the same, stacked merged networks")))


if __name__ == "__main__":
    main(sys.argv[1:])
