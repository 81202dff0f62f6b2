"""What a classifier has learned, between the arrays it is given and the learner it trains."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from torch import Tensor

from holdfast.data.split import Split
from holdfast.estimator.labels import Labels
from holdfast.estimator.progress import Parts, Progress
from holdfast.estimator.scaling import Scaling
from holdfast.streams.stream import Task
from holdfast.training.divergence import Diverged
from holdfast.training.options import Training

Rows = Shaped[np.ndarray, "n ..."]
MakeParts = Callable[[tuple[int, ...], int], Parts]
"""(shape of one sample, seed) -> the parts, newly made."""

_ROWS = 1024
"""Samples of one forward pass of a prediction."""


@dataclass(frozen=True, eq=False)
class Learned:
    """All that a classifier's later calls depend on; never changed, only followed by the next.

    Args:
        scaling: of the inputs; `None` takes them as they are.
        labels: met so far.
        progress: of the learner.
        losses: mean training loss of each epoch so far.
        growth: what the start did before the last chunk; `None` where it had nothing to tell.
    """

    scaling: Scaling | None
    labels: Labels
    progress: Progress
    losses: tuple[float, ...] = ()
    growth: dict[str, Any] | None = None

    @classmethod
    def nothing(cls, x: Rows, standardize: bool, make: MakeParts, seed: int) -> "Learned":
        """Nothing yet; `x` are the first samples to come."""
        scaling = Scaling.of(x) if standardize else None
        shape = x.shape[1:]
        return cls(scaling, Labels(), Progress.begin(make(shape, seed), shape, seed))

    def after(
        self,
        x: Rows,
        y: Shaped[np.ndarray, " n"],
        classes: Shaped[np.ndarray, " k"] | None,
        training: Training,
    ) -> "Learned":
        """What is known after one more chunk.

        Args:
            x: finite samples.
            y: their labels.
            classes: labels to know from now on; if given, those of `y` must be known or among them.
            training: on the chunk.

        Raises:
            ValueError: the chunk does not fit those before it, or training diverged.
        """
        labels = self.labels.joined_by(y if classes is None else classes)
        split = Split(self._inputs(x), torch.from_numpy(labels.codes(y)))
        task = Task(f"chunk {len(self.progress.stream)}", train=split, test=split)
        try:
            progress, told = self.progress.after(task, len(labels), training)
        except Diverged as error:
            raise ValueError(
                f"training diverged at step {error.step} ({error.reason}); lower lr from "
                f"{training.lr} or set clip"
            ) from error
        losses = (*self.losses, *told.losses)
        return Learned(self.scaling, labels, progress, losses, told.growth)

    @torch.no_grad()
    def logits(self, x: Rows) -> Float32[np.ndarray, "n classes"]:
        """The logits of each sample, one column for each label in ascending order.

        Raises:
            ValueError: samples of another shape than those learned from.
        """
        inputs, learner = self._inputs(x), self.progress.learner
        device = next(learner.heads.parameters()).device
        parts = [learner(rows.to(device)).cpu() for rows in inputs.split(_ROWS)]
        return torch.cat(parts).numpy()[:, self.labels.order]

    def _inputs(self, x: Rows) -> Tensor:
        wanted = self.progress.input_shape
        if x.shape[1:] != wanted:
            raise ValueError(
                f"X holds samples of shape {x.shape[1:]}, those learned from have {wanted}"
            )
        with np.errstate(over="ignore"):
            inputs = x.astype(np.float32, order="C") if self.scaling is None else self.scaling(x)
        if not np.isfinite(inputs).all():
            raise ValueError("X holds numbers too large for float32; rescale them")
        return torch.from_numpy(inputs)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and JSON values that `restored` makes the same of."""
        scaling = self.scaling
        return {
            "scaling": None if scaling is None else scaling.state_dict(),
            "labels": self.labels.state_dict(),
            "progress": self.progress.state_dict(),
            "losses": list(self.losses),
            "growth": self.growth,
        }

    @classmethod
    def restored(cls, state: dict[str, Any], make: MakeParts, device: torch.device) -> "Learned":
        """The inverse of `state_dict`, with parts made as they were at first.

        Raises:
            KeyError, RuntimeError, TypeError, ValueError: the state does not fit them.
        """
        scaling, progress = state["scaling"], state["progress"]
        parts = make(tuple(progress["input_shape"]), progress["seed"])
        return cls(
            None if scaling is None else Scaling.restored(scaling),
            Labels.restored(state["labels"]),
            Progress.restored(progress, parts, device),
            tuple(state["losses"]),
            state["growth"],
        )
