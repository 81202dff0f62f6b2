"""HALRP's rank stage, training, inference and switching, beside the plain network."""

import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.parametrized import keep_pages
from benchmarks.timing import Comparison, compare
from holdfast import nets
from holdfast.methods import halrp

_RANKS = {"0.conv1": 3, "0.conv2": 20, "0.linear1": 100, "0.linear2": 25}
"""As the authors' code chooses them for LeNet."""

_BATCH, _VALIDATION = 128, 1000
_L1, _DECAY = 1e-4, 1e-4


def _network(name: str) -> nn.Sequential:
    shape = (3, 32, 32)
    backbone, width = (nets.lenet(shape), 500) if name == "LeNet" else (nets.alexnet(shape), 2048)
    with torch.random.fork_rng(devices=[]):
        return nn.Sequential(backbone, nn.Linear(width, 10))


def _adapted(name: str, conv: halrp.ConvMode) -> halrp.Adapted:
    return halrp.adapt(_network(name), conv=conv, heads=["1"])


def _images(n: int) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, 32, 32, generator=draws), torch.randint(0, 10, (n,), generator=draws)


def _warmed(name: str, conv: halrp.ConvMode) -> tuple[halrp.Adapted, Callable[[], None]]:
    """A model, and what gives its task 1 free weights near the base, as after a warm-up."""
    model, draws = _adapted(name, conv), torch.Generator().manual_seed(1)
    noise = [
        0.02 * torch.randn(layer.base_weight.shape, generator=draws)
        for _, layer in halrp.perturbed_layers(model.model)
    ]

    def free() -> None:
        if model.tasks:
            model.remove(1)
        model.add_free(1)
        with torch.no_grad():
            for (_, layer), by in zip(halrp.perturbed_layers(model.model), noise, strict=True):
                layer.tasks["1"].get_parameter("weight").add_(by)

    return model, free


def rank_stage(name: str, repetitions: int, importance: halrp.Importance = "mean") -> list[float]:
    """CPU seconds of importance on 1,000 images, decompositions, choice and settling."""
    model, free = _warmed(name, "flat")
    x, y = _images(_VALIDATION)
    times = []
    for _ in range(repetitions + 1):
        free()
        began = time.process_time()
        batches = zip(x.split(_BATCH), y.split(_BATCH), strict=True)
        halrp.compress(model, 1, batches, importance=importance)
        times.append(time.process_time() - began)
    return times[1:]


def lenet_rank_stage(repetitions: int) -> Comparison:
    """The rank stage over one that goes row by row and column by column, as the authors' does."""
    model, free = _warmed("LeNet", "constant")
    x, y = _images(_VALIDATION)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repetitions):
        for which, work in enumerate((_ours, _row_by_row)):
            free()
            began = time.process_time()
            work(model, x, y)
            times[which].append(time.process_time() - began)
    return Comparison(*times)


def _ours(model: halrp.Adapted, x: Tensor, y: Tensor) -> None:
    halrp.compress(model, 1, zip(x.split(_BATCH), y.split(_BATCH), strict=True))


def _row_by_row(model: halrp.Adapted, x: Tensor, y: Tensor) -> None:
    """Importance of all layers, then for each r and s by loops and the whole decomposition."""
    model.eval()
    layers = list(halrp.perturbed_layers(model.model))
    free = [layer.tasks["1"].get_parameter("weight") for _, layer in layers]
    importance = [0.0] * len(free)
    batches = list(zip(x.split(_BATCH), y.split(_BATCH), strict=True))
    for a, b in batches:
        model.zero_grad()
        functional.cross_entropy(model(a, 1), b).backward()
        for i, weight in enumerate(free):
            gradient = weight.grad
            assert gradient is not None
            importance[i] += len(a) * gradient.square().mean().item() / len(batches)
    with torch.no_grad():
        for (_, layer), weight in zip(layers, free, strict=True):
            r, s = _scaling_by_loops(weight, layer.base_weight)
            ones = [1] * (weight.ndim - 2)
            rest = weight - r.view(-1, 1, *ones) * layer.base_weight * s.view(1, -1, *ones)
            torch.linalg.svd(rest.flatten(2).mean(dim=2) if ones else rest, full_matrices=False)


def _scaling_by_loops(weight: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
    """With the broadcast of r over columns that makes (out, out, ...) of (out, ...)."""
    out, into = weight.shape[:2]
    r, s = weight.new_ones(out), weight.new_ones(into)
    for o in range(out):
        r[o] = (weight[o] * base[o]).sum() / base[o].square().sum()
    column = r.view(-1, *[1] * (weight.ndim - 1))
    for i in range(into):
        scaled = column * base[:, i]
        s[i] = (scaled * weight[:, i]).sum() / scaled.square().sum()
    return r, s


def training(repetitions: int, penalties: bool, steps: int = 6) -> Comparison:
    """Steps of Adam of the perturbed LeNet over those of the plain one."""
    keep_pages()
    model = _adapted("LeNet", "flat")
    model.add(1, _RANKS)
    model.train_only(1)
    model.activate(1)
    own = [layer.tasks["1"] for _, layer in halrp.perturbed_layers(model.model)]
    low: list[Tensor] = [m.get_parameter(n) for m in own for n in ("U", "V")]
    decayed: list[Tensor] = low + [m.get_parameter(n) for m in own for n in ("r", "s")]
    plain = _network("LeNet")
    weights = [p for p in plain[0].parameters() if p.ndim > 1]

    def ours() -> Tensor:
        absolute = torch.stack(torch._foreach_norm(low, 1)).sum()
        return _L1 * absolute + _DECAY / 2 * torch.stack([t.square().sum() for t in decayed]).sum()

    def theirs() -> Tensor:
        return _DECAY / 2 * torch.stack([t.square().sum() for t in weights]).sum()

    x, y = _images(_BATCH)
    return compare(
        _steps(model, x, y, steps, ours if penalties else None),
        _steps(plain, x, y, steps, theirs if penalties else None),
        repetitions,
    )


def _steps(
    model: nn.Module, x: Tensor, y: Tensor, steps: int, penalty: Callable[[], Tensor] | None
) -> Callable[[], None]:
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-3)

    def train() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            (loss if penalty is None else loss + penalty()).backward()
            optimizer.step()

    return train


def inference(repetitions: int) -> dict[str, Comparison]:
    """A forward pass of 512 images as a merged, a folded and a plain task of LeNet."""
    keep_pages()
    model = _adapted("LeNet", "flat")
    model.add(1, _RANKS)
    plain, (x, _) = copy.deepcopy(model.merge(None)).eval(), _images(512)
    model.eval()
    merged = model.merge(1)

    @torch.no_grad()
    def passes(net: nn.Module) -> None:
        for part in x.split(_BATCH):
            net(part)

    model.activate(1)
    found = {"merged": compare(lambda: passes(merged), lambda: passes(plain), repetitions)}
    found["as it is"] = compare(lambda: passes(model), lambda: passes(plain), repetitions)
    model.fold(1)
    found["folded"] = compare(lambda: passes(model), lambda: passes(plain), repetitions)
    return found


def switching(tasks: int = 10, rounds: int = 50) -> float:
    """Seconds of one `activate`, going round the tasks of a LeNet."""
    model = _adapted("LeNet", "flat")
    for task in range(tasks):
        model.add(task, _RANKS)
    began = time.process_time()
    for _ in range(rounds):
        for task in range(tasks):
            model.activate(task)
    return (time.process_time() - began) / (rounds * tasks)


def halrp_rows(repetitions: int) -> list[list[str]]:
    """The lines of the table."""
    few = max(2, repetitions // 3)
    rows = [lenet_rank_stage(few).row("HALRP, rank stage of LeNet, row by row", 0.25)]
    stages: list[tuple[str, halrp.Importance, float]] = [
        ("LeNet", "fisher", 1.7),
        ("AlexNet", "mean", 3.0),
    ]
    for name, importance, reach in stages:
        seconds = sorted(rank_stage(name, few, importance))[few // 2]
        reached = "yes" if seconds <= reach else "no"
        label = f"HALRP, rank stage of {name}, importance {importance}"
        rows.append([label, "-", f"{seconds:.3f}", "-", f"<= {reach} s", reached])
    for penalties in (False, True):
        label = f"HALRP, steps of LeNet {'with' if penalties else 'without'} penalties, plain LeNet"
        rows.append(training(repetitions, penalties).row(label, 1.05))
    for name, found in inference(2 * repetitions).items():
        label = f"HALRP, inference of a task {name}, plain LeNet"
        rows.append(
            [*found.cells(label), "-", "-"] if name == "as it is" else found.row(label, 1.0)
        )
    one = switching()
    reached = "yes" if one <= 1e-3 else "no"
    rows.append(["HALRP, activate one of 10 tasks", "-", f"{one:.6f}", "-", "<= 0.001 s", reached])
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in halrp_rows(9):
        print("| " + " | ".join(line) + " |")
