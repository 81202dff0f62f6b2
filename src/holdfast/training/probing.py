"""What the probes of a run are shown."""

from collections.abc import Sequence
from typing import Any

import torch

from holdfast.data.split import Split
from holdfast.nets.learner import Learner
from holdfast.probes.probe import Probe
from holdfast.seeds import seeded
from holdfast.streams.batches import Batch
from holdfast.streams.stream import Stream
from holdfast.training.evaluation import evaluation_mode

PROBE_SAMPLES = 512
"""Samples of each seen task that probes measure on: the first of its evaluation split."""


def probed(
    probes: Sequence[Probe],
    learner: Learner,
    stream: Stream,
    splits: Sequence[Split],
    index: int,
    device: torch.device,
    seed: int,
) -> list[dict[str, Any]]:
    """Each probe on each of the tasks 0 .. index, the learner in evaluation mode.

    Torch's global generators are seeded apart from the run's: what is measured must not change
    what is learned.
    """
    found, names = [], probe_names(probes)
    with evaluation_mode(learner), seeded(seed, "probe", index):
        for i in range(index + 1):
            x = stream[i].inputs(splits[i].x[:PROBE_SAMPLES].to(device))
            y = learner.columns(splits[i].y[:PROBE_SAMPLES].to(device), i)
            for name, probe in zip(names, probes, strict=True):
                measured = probe.measure(learner, Batch(x, y, i))
                values = {key: float(value) for key, value in measured.items()}
                found.append({"on": i, "probe": name, "values": values})
    return found


def probe_names(probes: Sequence[Probe]) -> list[str]:
    """The class of each probe, numbered from the second of a class on.

    >>> from holdfast.probes import EffectiveRank
    >>> probe_names([EffectiveRank(), EffectiveRank()])
    ['EffectiveRank', 'EffectiveRank 2']
    """
    kinds = [type(probe).__name__ for probe in probes]
    counts = [kinds[: i + 1].count(kind) for i, kind in enumerate(kinds)]
    return [f"{kind} {n}" if n > 1 else kind for kind, n in zip(kinds, counts, strict=True)]
