import torch
from torch import Tensor, nn

from holdfast.curvature.per_sample import per_sample_gradients
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner


def test_gradients_are_those_of_a_loop_whatever_the_task_of_a_sample() -> None:
    heads = TaskHeads(4)
    heads.accommodate(0, [0, 1])
    heads.accommodate(1, [2, 3])
    model = Learner(nn.Sequential(nn.Linear(3, 4), nn.PReLU()), heads).double().eval()
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, dtype=torch.float64, generator=draws)
    task = torch.tensor([1, 0, 1, 1, 0])
    columns = model(x, task).shape[1]
    direction = torch.randn(5, columns, dtype=torch.float64, generator=draws)
    direction[model(x, task).isneginf()] = 0.0
    named = dict(model.named_parameters())
    found = per_sample_gradients(model, model, named, x, task, direction)
    for i in range(5):

        def value(i: int = i) -> Tensor:
            outputs = model(x[i : i + 1], task[i : i + 1])
            kept = ~outputs.isneginf()
            return (outputs[kept] * direction[i : i + 1][kept]).sum()

        wanted = torch.autograd.grad(
            value(), list(named.values()), allow_unused=True, materialize_grads=True
        )
        for name, g in zip(named, wanted, strict=True):
            torch.testing.assert_close(found[name][i], g, rtol=1e-10, atol=1e-12)
