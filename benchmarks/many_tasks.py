"""Many small tasks, all of them evaluated after each."""

import torch
from torch.nn import functional

from benchmarks.timing import Comparison, compare
from benchmarks.work import LR, backbone, network, samples
from holdfast.data.split import Split
from holdfast.streams.stream import Stream, Task
from holdfast.training.options import Training
from holdfast.training.run import run

TASKS, TRAIN, BATCH = 50, 200, 20


def many_tasks(repetitions: int, test: int) -> Comparison:
    """50 tasks of 200 rows and 2 classes each, accuracy and loss on all 50 after each.

    Args:
        repetitions: of both.
        test: rows a task is evaluated on.
    """
    x, y = samples(TASKS * (TRAIN + test), classes=2)
    data = [
        (a[:TRAIN], b[:TRAIN] + 2 * i, a[TRAIN:], b[TRAIN:] + 2 * i)
        for i, (a, b) in enumerate(zip(x.split(TRAIN + test), y.split(TRAIN + test), strict=True))
    ]
    stream = Stream(
        [
            Task(str(i), Split(a, b), Split(c, d), classes=(2 * i, 2 * i + 1))
            for i, (a, b, c, d) in enumerate(data)
        ],
        "class_incremental",
    )

    def ours() -> None:
        training = Training(epochs=1, batch_size=BATCH, lr=LR, device="cpu")
        run(stream, backbone(), training=training, heads="shared")

    def bare() -> None:
        model = network(2 * TASKS)
        matrix = []
        for x_train, y_train, _, _ in data:
            optimizer = torch.optim.SGD(model.parameters(), lr=LR)
            model.train()
            for index in torch.randperm(TRAIN).split(BATCH):
                optimizer.zero_grad()
                functional.cross_entropy(model(x_train[index]), y_train[index]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for _, _, x_test, y_test in data:
                    logits = model(x_test)
                    hits = (logits.argmax(1) == y_test).float().mean().item()
                    matrix.append((hits, functional.cross_entropy(logits, y_test).item()))

    return compare(ours, bare, repetitions)
