"""Plain training against the loop anyone would write over tensors."""

import torch
from torch.nn import functional

from benchmarks.timing import Comparison, compare
from benchmarks.work import BATCH, LR, ROWS, backbone, network, one_task, samples
from holdfast.training.options import Training
from holdfast.training.run import run

EPOCHS = 5


def plain_epochs(repetitions: int) -> Comparison:
    """Five epochs with Holdfast's metrics on, its set-up included, over a bare loop without any."""
    x, y = samples(ROWS)
    stream = one_task(x, y)

    def ours() -> None:
        run(stream, backbone(), training=Training(EPOCHS, BATCH, lr=LR, device="cpu"))

    def bare() -> None:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        for _ in range(EPOCHS):
            for index in torch.randperm(ROWS).split(BATCH):
                optimizer.zero_grad()
                functional.cross_entropy(model(x[index]), y[index]).backward()
                optimizer.step()

    return compare(ours, bare, repetitions)
