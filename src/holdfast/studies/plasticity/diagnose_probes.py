"""What is measured of the weights that the new phase begins with."""

import warnings

from holdfast.nets.learner import Learner
from holdfast.probes.diagnose import diagnose
from holdfast.probes.norms import gradient_ratio
from holdfast.probes.probe import LossKind
from holdfast.probes.ranks import RankBoundWarning
from holdfast.probes.shown import evenly_spaced
from holdfast.probes.weights import weight_norms
from holdfast.streams.batches import Batch
from holdfast.streams.stream import Stream
from holdfast.studies.plasticity.diagnose_data import NEW, OLD, training_split

SHOWN = 512
"""Samples of the training data that gradients are taken on, at most."""


def measured_at_start(
    learner: Learner, batch: Batch, stream: Stream, loss: LossKind
) -> dict[str, float]:
    """Numbers of a learner in evaluation mode; it is left as it is.

    - ``gradient_ratio`` of as many new samples as old ones, 512 at most and evenly spaced: the
      imbalance of Ash & Adams (2020). About 1 for fresh weights. See
      `holdfast.probes.gradient_ratio`.
    - ``weight_norm``: of all parameters. See `holdfast.probes.weight_norms`.
    - ``dormant``, ``dead``, ``linearised``: shares of units, and ``effective_rank``, of the last
      layer with a nonlinearity, on the batch. See `holdfast.probes.diagnose`.

    None of them has been shown to cause a gap: each goes with plasticity in some settings and
    against it in others.

    Args:
        learner: as it is prepared for the new phase.
        batch: of test samples.
        stream: the two phases.
        loss: that is trained with.
    """
    train, count = training_split(stream, NEW), len(training_split(stream, OLD))
    shown = min(SHOWN, count, len(train) - count)
    spread = [evenly_spaced(n, shown).to(train.x.device) for n in (count, len(train) - count)]
    old, new = (
        Batch(train.x[chosen], learner.columns(train.y[chosen], NEW), NEW)
        for chosen in (spread[0], spread[1] + count)
    )
    found = {
        "gradient_ratio": gradient_ratio(learner, new, old, loss=loss),
        "weight_norm": weight_norms(learner).norm,
    }
    try:
        with warnings.catch_warnings():
            # All arms are held against one bound.
            warnings.simplefilter("ignore", RankBoundWarning)
            seen = diagnose(learner, batch)
    except ValueError:  # no nonlinearity that is known, or too few samples
        return found
    shares = vars(seen.shares)
    found |= {name: shares[name] for name in ("dormant", "dead", "linearised")}
    inner = [layer for layer in seen.layers if layer.kind != "output"]
    return {**found, "effective_rank": inner[-1].ranks.effective}
