"""Size, noise, interference and rank of gradients, as probes of a run."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from holdfast.nets.learner import Learner
from holdfast.probes.at_task import AtTask, before_and_after
from holdfast.probes.differentiable import differentiable, gradient, mean_loss, requiring
from holdfast.probes.gradient_noise import gradient_noise
from holdfast.probes.interference import gradient_interference
from holdfast.probes.norms import gradient_size, size_of
from holdfast.probes.probe import LossKind, Phase
from holdfast.probes.shown import shown_samples, shown_task
from holdfast.probes.tangent_rank import tangent_rank
from holdfast.seeds import generator
from holdfast.streams.batches import Batch


class GradientNorms(AtTask):
    """Probe: the gradient of the loss on each task, and that of the current over the earlier ones.

    By the parameters that were trained on the current task:

    - ``norm``, ``zeros``: length of the gradient on each task seen, and share of its entries that
      are exactly 0 (`gradient_size`); ``norm_before``, ``zeros_before`` on the current task when
      its training begins;
    - ``ratio``, ``ratio_before``: the length on the current task over that of the mean gradient of
      the earlier ones, each of as many samples. NaN with the first task, so that means over tasks
      are: read it from the record. Where tasks share samples, as the stages of a stream that
      grows, these are no old data against new: use `gradient_ratio` there.

    Of evaluation samples, in evaluation mode. One pass and back of each task.

    Args:
        samples: at most, of those that probes are shown of a task, evenly spaced.

    Raises:
        ValueError: fewer than two samples.
    """

    keys = ("norm", "zeros", "ratio")
    columns = ("norm", "zeros", *before_and_after("norm", "zeros"))

    def __init__(self, samples: int = 256) -> None:
        super().__init__(samples)
        self._earlier: list[Tensor] = []

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        """Collect the gradients of earlier tasks; look at the current one."""
        if batch.task == 0:
            self._earlier = []
        if batch.task == phase.index:
            super().before(learner, batch, phase)
        else:
            self._collect(learner, batch, list(phase.learning_rates), phase.loss)

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """Norm and zeros on each task; on the current one, which comes last, all."""
        if self._current and self._current["task"] != shown_task(batch):
            trained, loss = self._current["trained"], self._current["loss"]
            return self._collect(learner, batch, trained, loss)
        return super().measure(learner, batch)

    def values(self, learner: Learner, batch: Batch, loss: LossKind | None) -> dict[str, float]:
        """Length, zeros and ratio of the gradient."""
        size = gradient_size(learner, batch, loss=loss)
        ratio = math.nan
        if self._earlier:
            old = torch.stack(self._earlier).mean(dim=0).norm(dtype=torch.float64).item()
            ratio = size.norm / old if old else math.inf
        self._earlier = []
        return {"norm": size.norm, "zeros": size.zeros, "ratio": ratio}

    def _collect(
        self, learner: Learner, batch: Batch, trained: Sequence[str], loss: LossKind
    ) -> dict[str, float]:
        some = shown_samples(batch, self.samples)
        with requiring(learner, trained):
            if not any(p.requires_grad for p in learner.parameters()):
                return {"norm": math.nan, "zeros": math.nan}
            with differentiable(learner) as parameters:
                g = gradient(mean_loss(learner, some, loss), parameters)
        self._earlier.append(g)
        return size_of(g)._asdict()


class GradientNoise(AtTask):
    """Probe: `gradient_noise` of minibatches of the current task, before and after training.

    ``scale`` is tr Cov(g) / |E g|^2, infinite where noise hides the mean, ``plug_in`` the same with
    the length of the mean as it is, ``trace`` tr Cov(g); ``scale_before`` and so on when training
    begins. Minibatches are drawn without replacement, the same each time, from evaluation samples,
    in evaluation mode. NaN where fewer than two fit in the samples.

    Args:
        batches: at most. One pass and back each.
        batch_size: samples of each.

    Raises:
        ValueError: fewer than two batches, or a batch size below 1.
    """

    keys = ("scale", "plug_in", "trace")
    columns = before_and_after(*keys)

    def __init__(self, batches: int = 8, batch_size: int = 32) -> None:
        if batches < 2:
            raise ValueError(f"batches must be 2 or more, to have a covariance; got {batches}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        super().__init__(batches * batch_size)
        self.batches, self.batch_size = batches, batch_size

    def values(self, learner: Learner, batch: Batch, loss: LossKind | None) -> dict[str, float]:
        """The noise scale of minibatches of this batch."""
        order = torch.randperm(len(batch), generator=generator(0, "noise")).to(batch.x.device)
        count = min(self.batches, len(batch) // self.batch_size)
        if count < 2:
            return dict.fromkeys(self.keys, math.nan)
        parts = [
            Batch(batch.x[rows], batch.y[rows], batch.task)
            for rows in order.split(self.batch_size)[:count]
        ]
        found = gradient_noise(learner, parts, loss=loss)
        return {"scale": found.scale, "plug_in": found.plug_in, "trace": found.trace}


class GradientInterference(AtTask):
    """Probe: `gradient_interference` of samples of the current task, before and after training.

    ``negative`` is the share of pairs of samples whose gradients point apart, ``mean`` the mean
    cosine, ``rank`` the effective rank of the cosines, ``zeros`` the share of samples without a
    gradient; ``negative_before`` and so on when training begins. Of evaluation samples.

    Args:
        samples: n, of those that probes are shown, evenly spaced. Time and memory are those of n
            gradients; numbers of different n do not compare.

    Raises:
        ValueError: fewer than two samples.
    """

    keys = ("negative", "mean", "rank", "zeros")
    columns = before_and_after(*keys)

    def __init__(self, samples: int = 64) -> None:
        super().__init__(samples)

    def values(self, learner: Learner, batch: Batch, loss: LossKind | None) -> dict[str, float]:
        """Shares, mean and rank of the cosines of this batch."""
        found = gradient_interference(learner, batch, loss=loss)
        return {
            "negative": found.negative,
            "mean": found.mean,
            "rank": found.rank,
            "zeros": found.zeros,
        }


class TangentRank(AtTask):
    """Probe: `tangent_rank` of samples of the current task, before and after training.

    ``rank`` is the effective rank of K = J J^T, ``top_share`` its largest eigenvalue over its
    trace; ``rank_before`` and so on when training begins.

    Args:
        samples: n, of those that probes are shown, evenly spaced. Time is that of n gradients for
            each output; numbers of different n do not compare.

    Raises:
        ValueError: fewer than two samples.
    """

    keys = ("rank", "top_share")
    columns = before_and_after(*keys)

    def __init__(self, samples: int = 32) -> None:
        super().__init__(samples)

    def values(self, learner: Learner, batch: Batch, loss: LossKind | None) -> dict[str, float]:
        """Rank and share of this batch."""
        found = tangent_rank(learner, batch.x, int(shown_task(batch)))
        return {"rank": found.rank, "top_share": found.top_share}
