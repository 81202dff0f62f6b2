"""What the probes of a run are shown, and what of them must survive a kill."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from holdfast.data.split import Split
from holdfast.nets.learner import Learner
from holdfast.nets.modes import evaluation_mode
from holdfast.probes.probe import Before, Phase, Probe, Stateful
from holdfast.seeds import seeded
from holdfast.streams.batches import Batch
from holdfast.streams.stream import Stream
from holdfast.training.options import Training

PROBE_SAMPLES = 512
"""Samples of each seen task that probes measure on: the first of its evaluation split."""


class Probing:
    """The probes of a run.

    They are shown the tasks so far, or where `training.evaluate_tasks` is ``current`` that one
    alone, and the learner in evaluation mode, with torch's global generators seeded apart from the
    run's: what is measured must not change what is learned.

    Args:
        probes: of the run.
        stream: the tasks.
        splits: the evaluation split of each task.
        training: how each task is trained.
        device: of the learner.
        seed: of the run.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        stream: Stream,
        splits: Sequence[Split],
        training: Training,
        device: torch.device,
        seed: int,
    ) -> None:
        self.probes, self.stream, self.splits = probes, stream, splits
        self.training, self.device, self.seed = training, device, seed

    def before(self, learner: Learner, index: int, optimizer: Optimizer) -> None:
        """Show the tasks to the probes that look at a learner before task index is trained."""
        probes = [probe for probe in self.probes if isinstance(probe, Before)]
        if not probes:
            return
        phase = self._phase(learner, index, optimizer)
        with evaluation_mode(learner), seeded(self.seed, "before", index):
            for batch in self._batches(learner, index):
                for probe in probes:
                    probe.before(learner, batch, phase)

    def measure(self, learner: Learner, index: int) -> list[dict[str, Any]]:
        """Each probe on each of the tasks, after task index was trained."""
        found, names = [], probe_names(self.probes)
        with evaluation_mode(learner), seeded(self.seed, "probe", index):
            for batch in self._batches(learner, index) if self.probes else ():
                for name, probe in zip(names, self.probes, strict=True):
                    measured = probe.measure(learner, batch)
                    values = {key: float(value) for key, value in measured.items()}
                    found.append({"on": batch.task, "probe": name, "values": values})
        return found

    def state_dict(self) -> list[dict[str, Any]]:
        """The state of each probe, empty for those that have none."""
        return [p.state_dict() if isinstance(p, Stateful) else {} for p in self.probes]

    def load_state_dict(self, state: Sequence[dict[str, Any]]) -> None:
        """The inverse of `state_dict`."""
        for probe, kept in zip(self.probes, state, strict=True):
            if isinstance(probe, Stateful):
                probe.load_state_dict(kept)

    def _batches(self, learner: Learner, index: int) -> Iterator[Batch]:
        current = self.training.evaluate_tasks == "current"
        for i in range(index if current else 0, index + 1):
            x = self.stream[i].inputs(self.splits[i].x[:PROBE_SAMPLES].to(self.device))
            y = learner.columns(self.splits[i].y[:PROBE_SAMPLES].to(self.device), i)
            yield Batch(x, y, i)

    def _phase(self, learner: Learner, index: int, optimizer: Optimizer) -> Phase:
        rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        squared = self.training.loss == "mse" or self.stream.is_regression
        return Phase(
            index,
            {name: rates[id(p)] for name, p in learner.named_parameters() if id(p) in rates},
            self.training.optimizer,
            self.training.momentum,
            "mse" if squared else "cross_entropy",
        )


def probe_names(probes: Sequence[Probe]) -> list[str]:
    """The class of each probe, numbered from the second of a class on.

    >>> from holdfast.probes import EffectiveRank
    >>> probe_names([EffectiveRank(), EffectiveRank()])
    ['EffectiveRank', 'EffectiveRank 2']
    """
    kinds = [type(probe).__name__ for probe in probes]
    counts = [kinds[: i + 1].count(kind) for i, kind in enumerate(kinds)]
    return [f"{kind} {n}" if n > 1 else kind for kind, n in zip(kinds, counts, strict=True)]
