"""Where the classes of each task lie in the features of that task."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from holdfast.data.encoding import evaluating
from holdfast.nets.learner import Learner
from holdfast.starts.lda import oas_shrinkage, within_scatter
from holdfast.starts.statistics import FeatureStatistics
from holdfast.streams.batches import Batch
from holdfast.streams.sources import source
from holdfast.streams.stream import Stream, Task


@dataclass(frozen=True)
class Gaussians:
    """Classes as Gaussians with one covariance S = L L^T, in coordinates where it is the identity.

    Args:
        factor: L, (d, d), lower triangular.
        means: L^-1 mu_c, a row a class.
        shrinkage: of S towards a multiple of the identity.
    """

    factor: Float64[Tensor, "d d"]
    means: Float64[Tensor, "classes d"]
    shrinkage: float

    def distance(self, features: Float[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        """Squared Mahalanobis distance to the nearest mean, a feature: 1 in the mean for one of
        its samples if they are Gaussian.
        """
        white = torch.linalg.solve_triangular(self.factor, features.to(self.means).T, upper=False).T
        away = white.square().sum(1, keepdim=True) + self.means.square().sum(1)
        squares = (away - 2 * white @ self.means.T).min(1).values
        return squares.clamp(min=0) / len(self.factor)


class ClassMeans:
    """Mean feature of each class of each task, and a covariance within classes for each task.

    Features of different tasks are those of different networks, so that each task has a covariance
    of its own, which its classes share: that within classes, shrunk towards a multiple of the
    identity (Chen et al., 2010). For `identify` with ``class_mean``.

    A task that is never touched again, as in HALRP, keeps its features: add each when it was
    learned, and no sample need be kept. 8 d (d + C) bytes a task.
    """

    def __init__(self) -> None:
        self.tasks: dict[int, Gaussians] = {}

    @classmethod
    def of(cls, learner: Learner, stream: Stream, batch_size: int = 256) -> "ClassMeans":
        """Those of the training samples of all tasks of a stream.

        Raises:
            ValueError: as `add`.
        """
        means = cls()
        for index, task in enumerate(stream):
            means.add(learner, index, task, batch_size)
        return means

    @torch.no_grad()
    def add(self, learner: Learner, index: int, task: Task, batch_size: int = 256) -> None:
        """Add those of a task's training samples, or replace what was there.

        Args:
            learner: that has learned the task; used in evaluation mode.
            index: position of the task.
            task: whose training samples are seen once.
            batch_size: samples at a time.

        Raises:
            ValueError: features do not vary within classes, or the learner does not know the task.
        """
        statistics: FeatureStatistics | None = None
        with evaluating(learner):
            for batch in training_batches(learner, index, task, batch_size):
                features = learner.features(batch.x, index)
                if statistics is None:
                    statistics = FeatureStatistics(features.shape[1], device=features.device)
                statistics.update(features, batch.y)
        assert statistics is not None
        self.tasks[index] = _gaussians(statistics, index)

    def __getitem__(self, task: int) -> Gaussians:
        """The classes of a task.

        Raises:
            ValueError: there are none of it.
        """
        if task not in self.tasks:
            raise ValueError(f"means has no classes of task {task}, only of {list(self.tasks)}")
        return self.tasks[task]


def training_batches(learner: Learner, index: int, task: Task, size: int) -> list[Batch]:
    """The training samples of a task in the learner's columns, where the learner is."""
    device = next(learner.parameters()).device
    found = source([(index, task)], learner.columns, device)
    return list(found.batches(size))


def _gaussians(statistics: FeatureStatistics, index: int) -> Gaussians:
    moments = statistics.moments()
    scatter, means = within_scatter(moments)
    level = float(scatter.diagonal().mean())
    # What is left of the rounding of h h^T where all samples of each class are alike.
    if not level > 1e-13 * float(moments.gram[:-1, :-1].diagonal().mean()):
        raise ValueError(
            f"features of task {index} do not vary within classes (a sample a class, or all "
            "alike), so that there is no scale for distances; identify by entropy or energy"
        )
    rho = oas_shrinkage(scatter, moments.samples)
    eye = torch.eye(len(scatter), dtype=scatter.dtype, device=scatter.device)
    factor = torch.linalg.cholesky((1 - rho) * scatter + rho * level * eye)
    white = torch.linalg.solve_triangular(factor, means.T, upper=False).T
    return Gaussians(factor, white, rho)
