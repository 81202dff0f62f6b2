"""Dense Hessians, and whether a model was left as it was found."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn

from holdfast.nets.learner import Learner


def reference_loss(outputs: Tensor, y: Tensor, loss: str) -> Tensor:
    """From its definition, sample by sample."""
    total = outputs.new_zeros(())
    for row, label in zip(outputs, y, strict=True):
        if loss == "cross_entropy":
            total = total + row.logsumexp(0) - row[label]
        else:
            total = total + sum(0.5 * (f - float(c == int(label))) ** 2 for c, f in enumerate(row))
    return total / len(outputs)


def dense_hessian(
    model: nn.Module, x: Tensor, value: Callable[[Tensor], Tensor], task: int | None = None
) -> Tensor:
    """Of `value` of the outputs, (parameters, parameters): each entry of the gradient by itself.

    Not by `torch.func`, whose second derivative of batch norm by the batch is another (torch 2.13).
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    outputs = model(x, task) if isinstance(model, Learner) else model(x)
    unused = {"allow_unused": True, "materialize_grads": True}
    slopes = torch.autograd.grad(value(outputs), parameters, create_graph=True, **unused)
    rows = [
        torch.autograd.grad(entry, parameters, retain_graph=True, **unused)
        if slope.requires_grad
        else [torch.zeros_like(p) for p in parameters]
        for slope in slopes
        for entry in slope.flatten()
    ]
    return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])


def difference_hessian(
    model: nn.Module, x: Tensor, value: Callable[[Tensor], Tensor], task: int | None = None
) -> Tensor:
    """The same by central differences of gradients."""
    parameters = [p for p in model.parameters() if p.requires_grad]

    def slope(p: Tensor, i: int, step: float) -> Tensor:
        with torch.no_grad():
            p.view(-1)[i] += step
        outputs = model(x, task) if isinstance(model, Learner) else model(x)
        found = torch.autograd.grad(
            value(outputs), parameters, allow_unused=True, materialize_grads=True
        )
        with torch.no_grad():
            p.view(-1)[i] -= step
        return torch.cat([part.flatten() for part in found])

    rows = [
        (slope(p, i, 1e-5) - slope(p, i, -1e-5)) / 2e-5
        for p in parameters
        for i in range(p.numel())
    ]
    return torch.stack(rows)


def by_batch(model: nn.Module) -> nn.Module:
    """A copy whose batch norm normalises by the batch in evaluation, as it does in training."""
    copy = deepcopy(model).eval()
    for part in copy.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean = part.running_var = part.num_batches_tracked = None
            part.track_running_stats = False
    return copy


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Modes, buffers, parameters, gradients, what requires them and the generator stay."""

    def state() -> tuple[list[object], list[Tensor]]:
        facts = [part.training for part in model.modules()]
        facts += [p.requires_grad for p in model.parameters()]
        facts += [p.grad is None for p in model.parameters()]
        facts += [id(t) for t in (*model.parameters(), *model.buffers())]
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        tensors = [*model.parameters(), *model.buffers(), *grads, torch.get_rng_state()]
        return facts, [t.detach().clone() for t in tensors]

    facts, tensors = state()
    yield
    now, values = state()
    assert now == facts
    assert all(torch.equal(a, b) for a, b in zip(tensors, values, strict=True))
