"""What probes of plasticity cost beside training: ``python -m benchmarks.plasticity_probes``."""

import gc
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

import holdfast
from benchmarks.parametrized import keep_pages
from holdfast import nets, probes, streams
from holdfast.nets.heads import SharedHead
from holdfast.nets.learner import Learner
from holdfast.nets.modes import evaluation_mode
from holdfast.probes.probe import Before, Phase, Probe
from holdfast.streams.batches import Batch
from holdfast.training.probing import PROBE_SAMPLES

PROBES: tuple[Callable[[], Probe], ...] = (
    probes.Units,
    probes.FeatureRanks,
    probes.FeatureChange,
    probes.Weights,
    probes.Updates,
    probes.GradientNorms,
    probes.GradientNoise,
    probes.GradientInterference,
    probes.TangentRank,
    probes.Sharpness,
    probes.HessianTrace,
    probes.CurvatureChange,
    probes.HessianRank,
)
"""Each timed by itself, with its default options."""

DEFAULT = ("Units", "FeatureRanks", "FeatureChange", "Weights", "Updates", "GradientNorms")
"""Those that together should take at most `REACH` of the time of training between evaluations."""

REACH = 0.02
_LR = 1e-3


@dataclass(frozen=True)
class Work:
    """A training that probes are timed beside.

    name: of the table.
    learner: made anew.
    x, y: the training samples.
    batch_size: of training.
    epochs: of a task, between two evaluations by probes.
    steps: of training that are timed, for an epoch's worth.
    """

    name: str
    learner: Callable[[], Learner]
    x: Tensor
    y: Tensor
    batch_size: int
    epochs: int
    steps: int


def digits() -> Work:
    """The samples, net and epochs of the shipped two-stage study on digits."""
    train = holdfast.digits().train

    def learner() -> Learner:
        return Learner(nets.mlp((1, 8, 8), hidden=(256, 256)), SharedHead(256, 10))

    x = train.x[:600].float().view(-1, 1, 8, 8)
    return Work("MLP 64-256-256 on 600 digits", learner, x, train.y[:600], 64, 120, 30)


def images() -> Work:
    """10,000 images of the size of CIFAR-10, net and epochs of its shipped two-stage study."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(10_000, 3, 32, 32, generator=draws)
    y = torch.randint(0, 10, (len(x),), generator=draws)

    def learner() -> Learner:
        net = nets.resnet18((3, 32, 32), width=16, pool=None, bias=False)
        return Learner(net, SharedHead(128, 10))

    return Work("ResNet-18 of width 16 on 10,000 images", learner, x, y, 128, 100, 3)


def costs(
    work: Work, repetitions: int, timed: Sequence[Callable[[], Probe]]
) -> tuple[float, dict[str, float]]:
    """CPU seconds of an epoch, and of each probe at one evaluation, medians, taken in turn."""
    learner, names = work.learner(), [made.__name__ for made in timed]
    optimizer = torch.optim.Adam(learner.parameters(), lr=_LR)
    phase = Phase(0, {n: _LR for n, _ in learner.named_parameters()}, "adam")
    shown = Batch(work.x[:PROBE_SAMPLES], work.y[:PROBE_SAMPLES], 0)
    times: dict[str, list[float]] = {name: [] for name in ("", *names)}
    for repetition in range(repetitions + 1):
        gc.collect()
        taken = {"": _timed(partial(_train, learner, optimizer, work))}
        for name, made in zip(names, timed, strict=True):
            taken[name] = _timed(partial(_evaluate, made, learner, shown, phase))
        if repetition:  # the first warms up
            for name, seconds in taken.items():
                times[name].append(seconds)
    medians = {name: statistics.median(found) for name, found in times.items()}
    return medians.pop("") * len(work.x) / work.batch_size / work.steps, medians


def _train(learner: nn.Module, optimizer: torch.optim.Optimizer, work: Work) -> None:
    for step in range(work.steps):
        rows = (torch.arange(work.batch_size) + step * work.batch_size) % len(work.x)
        optimizer.zero_grad()
        functional.cross_entropy(learner(work.x[rows]), work.y[rows]).backward()
        optimizer.step()


def _evaluate(made: Callable[[], Probe], learner: Learner, shown: Batch, phase: Phase) -> None:
    """All that a probe does for a task: before it is trained, and after."""
    probe = made()
    with evaluation_mode(learner):
        if isinstance(probe, Before):
            probe.before(learner, shown, phase)
        probe.measure(learner, shown)


def whole_runs(stages: int, repetitions: int) -> tuple[float, float]:
    """CPU seconds of the digits study's run in stages without probes, and what the set adds.

    Medians, of runs in turn; each task is evaluated, and probed, at its end on itself alone.
    """
    stream = streams.growing(holdfast.digits(), stages, label_noise=0.3, validation=0.583)
    training = holdfast.Training(
        epochs=120,
        batch_size=64,
        optimizer="adam",
        lr=_LR,
        evaluate_on="validation",
        evaluate_tasks="current",
    )

    def train(made: Sequence[Callable[[], Probe]]) -> None:
        net = nets.mlp(stream.input_shape, hidden=(256, 256))
        holdfast.run(stream, net, training=training, probes=[probe() for probe in made])

    chosen = [made for made in PROBES if made.__name__ in DEFAULT]
    plain, added = [], []
    for repetition in range(repetitions + 1):
        gc.collect()
        without, probed = _timed(partial(train, ())), _timed(partial(train, chosen))
        if repetition:  # the first warms up
            plain.append(without)
            added.append(probed - without)
    return statistics.median(plain), statistics.median(added)


def _timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main(repetitions: int = 7, *names: str) -> None:
    """Print the tables, of the probes of these names; by default of all."""
    timed = [made for made in PROBES if not names or made.__name__ in names]
    torch.set_num_threads(1)
    keep_pages()
    warnings.simplefilter("ignore", probes.RankBoundWarning)
    print(
        f"CPU seconds, medians of {repetitions}, 1 thread; {PROBE_SAMPLES} samples shown; torch "
        f"{torch.__version__}, Python {platform.python_version()}, {platform.machine()}\n"
    )
    head = ["probe", "s an evaluation", "share of an epoch", "share of a task", "reach"]
    for work in (digits(), images()):
        epoch, found = costs(work, repetitions, timed)
        if found.keys() >= set(DEFAULT):
            found["the default set"] = sum(found[name] for name in DEFAULT)
        print(f"{work.name}: {epoch:.3f} s an epoch, {work.epochs} epochs a task\n")
        for line in [head, ["---"] * len(head)]:
            print("| " + " | ".join(line) + " |")
        for name, seconds in found.items():
            share = seconds / epoch
            reached = f"<= {REACH:.0%}: {'yes' if share / work.epochs <= REACH else 'no'}"
            cells = [name, f"{seconds:.4f}", f"{share:.1%}", f"{share / work.epochs:.2%}"]
            print("| " + " | ".join([*cells, reached if "set" in name else "-"]) + " |")
        print()
    if not names:
        print("Whole runs on 600 digits, the default set at the end of each stage\n")
        for line in [["stages", "s of the run", "added by probes"], ["---"] * 3]:
            print("| " + " | ".join(line) + " |")
        for stages in (1, 2, 10):
            plain, added = whole_runs(stages, repetitions)
            print(f"| {stages} | {plain:.2f} | {added / plain:.1%} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7, *sys.argv[2:])
