"""What is measured of the weights that the new phase begins with."""

from collections.abc import Sequence

import torch
from torch import Tensor

from holdfast.nets.learner import Learner
from holdfast.probes.effective_rank import effective_rank
from holdfast.probes.probe import LossKind
from holdfast.streams.batches import Batch
from holdfast.streams.stream import Stream
from holdfast.studies.plasticity.diagnose_data import NEW, OLD, training_split
from holdfast.training.losses import criterion

SHOWN = 512
"""Samples of the training data that gradients are taken on, at most."""


def measured_at_start(
    learner: Learner, batch: Batch, stream: Stream, loss: LossKind
) -> dict[str, float]:
    """Numbers of a learner in evaluation mode; it is left as it is.

    - ``gradient_ratio``: norm of the loss gradient on samples that came new over that on old ones,
      512 of each at most: the imbalance of Ash & Adams (2020). About 1 for fresh weights.
    - ``weight_norm``: Euclidean norm of all parameters that are trained.
    - ``effective_rank`` of the features of the batch, and the rest of `holdfast.probes.diagnose`.

    None of them has been shown to cause a gap: of dormant units, ranks and norms each correlates
    with plasticity in some settings and against it in others.

    Args:
        learner: as it is prepared for the new phase.
        batch: of test samples.
        stream: the two phases.
        loss: that is trained with.
    """
    train, count = training_split(stream, NEW), len(training_split(stream, OLD))
    old = Batch(train.x[:count][:SHOWN], train.y[:count][:SHOWN], NEW)
    new = Batch(train.x[count:][:SHOWN], train.y[count:][:SHOWN], NEW)
    norms = [_gradient_norm(learner, part, loss) for part in (new, old)]
    with torch.no_grad():
        features = learner.features(batch.x, NEW)
        weights = [p for p in learner.parameters() if p.requires_grad]
        return {
            "gradient_ratio": norms[0] / norms[1] if norms[1] > 0 else float("inf"),
            "weight_norm": _norm(weights),
            "effective_rank": effective_rank(features.flatten(1)),
        }


def _gradient_norm(learner: Learner, batch: Batch, loss: LossKind) -> float:
    weights = [p for p in learner.parameters() if p.requires_grad]
    with torch.enable_grad():
        value = criterion("mse" if loss == "mse" else "cross_entropy", False)(
            learner(batch.x, NEW), learner.columns(batch.y, NEW)
        )
        gradients = torch.autograd.grad(value, weights, allow_unused=True)
    return _norm([g for g in gradients if g is not None])


def _norm(tensors: Sequence[Tensor]) -> float:
    return float(sum((t.detach().double().square().sum() for t in tensors), torch.zeros(())).sqrt())
