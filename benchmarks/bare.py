"""Data, network and the loops anyone would write over tensors. Needs torch alone."""

import torch
from torch import Tensor, nn
from torch.nn import functional

ROWS, FEATURES, CLASSES, BATCH, LR = 12_000, 784, 10, 128, 0.1
EPOCHS = 5
TASKS, TASK_ROWS, TASK_BATCH = 50, 200, 20
METHOD_EPOCHS, STRENGTH, MEMORY, ALPHA, BETA = 3, 1.0, 500, 0.5, 0.5

Rows = tuple[Tensor, Tensor, Tensor, Tensor]
"""Inputs and labels to train on, inputs and labels to test on."""


def samples(rows: int, classes: int = CLASSES, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Gaussian inputs with random labels: what is timed does not depend on what is learned."""
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, FEATURES, generator=draws)
    return x, torch.randint(0, classes, (rows,), generator=draws)


def small_tasks(test: int) -> list[Rows]:
    """50 tasks of 200 rows and 2 classes each, with `test` rows to test on."""
    rows = TASK_ROWS + test
    x, y = samples(TASKS * rows, classes=2)
    return [
        (a[:TASK_ROWS], b[:TASK_ROWS] + 2 * i, a[TASK_ROWS:], b[TASK_ROWS:] + 2 * i)
        for i, (a, b) in enumerate(zip(x.split(rows), y.split(rows), strict=True))
    ]


def backbone() -> nn.Module:
    """784-100-100."""
    return nn.Sequential(nn.Linear(FEATURES, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU())


def network(classes: int = CLASSES) -> nn.Module:
    """784-100-100-classes."""
    return nn.Sequential(backbone(), nn.Linear(100, classes))


def plain_epochs(x: Tensor, y: Tensor) -> None:
    """Five epochs, nothing measured."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    for _ in range(EPOCHS):
        for index in torch.randperm(ROWS).split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(model(x[index]), y[index]).backward()
            optimizer.step()


def many_tasks(tasks: list[Rows]) -> None:
    """One epoch of each task; accuracy and loss on all of them after each."""
    model = network(2 * TASKS)
    matrix = []
    for x_train, y_train, _, _ in tasks:
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        model.train()
        for index in torch.randperm(TASK_ROWS).split(TASK_BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(model(x_train[index]), y_train[index]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for _, _, x_test, y_test in tasks:
                logits = model(x_test)
                hits = (logits.argmax(1) == y_test).float().mean().item()
                matrix.append((hits, functional.cross_entropy(logits, y_test).item()))


def ewc(x: Tensor, y: Tensor) -> None:
    """Three epochs under the penalty of one earlier task, whose Fisher is given."""
    model = network()
    parameters = list(model.parameters())
    fisher = [torch.rand_like(p) for p in parameters]
    centre = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.SGD(parameters, lr=LR)
    for _ in range(METHOD_EPOCHS):
        for index in torch.randperm(ROWS).split(BATCH):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x[index]), y[index])
            for p, f, c in zip(parameters, fisher, centre, strict=True):
                loss = loss + STRENGTH / 2 * (f * (p - c) ** 2).sum()
            loss.backward()
            optimizer.step()


def derpp(x: Tensor, y: Tensor) -> None:
    """Three epochs of DER++, from an empty memory.

    One forward pass over batch and draws, and a reservoir that is filled in batches.
    """
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    kept = torch.empty(MEMORY, x.shape[1]), torch.empty(MEMORY, dtype=torch.int64)
    kept_logits = torch.empty(MEMORY, CLASSES)
    seen = 0
    for _ in range(METHOD_EPOCHS):
        for index in torch.randperm(ROWS).split(BATCH):
            a, b = x[index], y[index]
            optimizer.zero_grad()
            if seen == 0:
                logits = model(a)
                loss = functional.cross_entropy(logits, b)
            else:
                full = min(seen, MEMORY)
                one, two = (torch.randperm(full)[: len(a)] for _ in range(2))
                out = model(torch.cat([a, kept[0][one], kept[0][two]]))
                logits, first, second = out.split([len(a), len(one), len(two)])
                loss = functional.cross_entropy(logits, b)
                loss = loss + ALPHA * functional.mse_loss(first, kept_logits[one])
                loss = loss + BETA * functional.cross_entropy(second, kept[1][two])
            loss.backward()
            optimizer.step()
            seen = _reservoir(kept, kept_logits, a, b, logits.detach(), seen)


def _reservoir(
    kept: tuple[Tensor, Tensor],
    kept_logits: Tensor,
    x: Tensor,
    y: Tensor,
    logits: Tensor,
    seen: int,
) -> int:
    age = torch.arange(seen, seen + len(x))
    slot = torch.where(age < MEMORY, age, (torch.rand(len(x)) * (age + 1)).long())
    stays = slot < MEMORY
    kept[0][slot[stays]], kept[1][slot[stays]] = x[stays], y[stays]
    kept_logits[slot[stays]] = logits[stays]
    return seen + len(x)
