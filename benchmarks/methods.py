"""Epochs with EWC and DER++ over bare loops of the same mathematics."""

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.timing import Comparison, compare
from benchmarks.work import BATCH, LR, ROWS, backbone, network, one_task, samples
from holdfast.curvature.fisher import diagonal_fisher
from holdfast.methods.derpp import DERpp
from holdfast.methods.ewc import EWC
from holdfast.nets.learner import Learner
from holdfast.streams.context import Context
from holdfast.training.options import Training
from holdfast.training.run import run

EPOCHS, STRENGTH, MEMORY, ALPHA, BETA = 3, 1.0, 500, 0.5, 0.5


class _Held(EWC):
    """EWC that does not add the task: the epochs alone are timed."""

    def end_task(self, learner: Learner, context: Context) -> None:
        pass


def ewc(repetitions: int) -> Comparison:
    """Epochs under the penalty of one earlier task, its Fisher given to both sides."""
    x, y = samples(ROWS)
    stream, training = one_task(x, y), Training(EPOCHS, BATCH, lr=LR, device="cpu")
    first = EWC(strength=STRENGTH)
    run(stream, backbone(), first, Training(1, BATCH, lr=LR, device="cpu"))
    springs = first.state_dict()

    def ours() -> None:
        method = _Held(strength=STRENGTH)
        method.load_state_dict(springs)
        run(stream, backbone(), method, training)

    def bare() -> None:
        model = network()
        parameters = list(model.parameters())
        stiffness = list(diagonal_fisher(model, [(x[:2], y[:2])]).values())
        centre = [p.detach().clone() for p in parameters]
        optimizer = torch.optim.SGD(parameters, lr=LR)
        for _ in range(EPOCHS):
            for index in torch.randperm(ROWS).split(BATCH):
                optimizer.zero_grad()
                loss = functional.cross_entropy(model(x[index]), y[index])
                for p, f, c in zip(parameters, stiffness, centre, strict=True):
                    loss = loss + STRENGTH / 2 * (f * (p - c) ** 2).sum()
                loss.backward()
                optimizer.step()

    return compare(ours, bare, repetitions)


def derpp(repetitions: int) -> Comparison:
    """Epochs of DER++ with a memory of 500, from empty."""
    x, y = samples(ROWS)
    stream, training = one_task(x, y), Training(EPOCHS, BATCH, lr=LR, device="cpu")

    def ours() -> None:
        run(stream, backbone(), DERpp(memory=MEMORY, alpha=ALPHA, beta=BETA), training)

    return compare(ours, lambda: _bare_derpp(x, y), repetitions)


def _bare_derpp(x: Tensor, y: Tensor) -> None:
    """One forward pass over batch and draws, and a reservoir that is filled in batches."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    kept = torch.empty(MEMORY, x.shape[1]), torch.empty(MEMORY, dtype=torch.int64)
    kept_logits = torch.empty(MEMORY, 10)
    seen = 0
    for _ in range(EPOCHS):
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
