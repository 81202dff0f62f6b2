"""Losses and hits of an epoch so far."""

from typing import Any

import torch
from torch import Tensor

from holdfast.training.divergence import Diverged, first_bad


class Tally:
    """What an epoch adds up while it runs, on the device: nothing waits for it.

    Args:
        steps: of the epoch.
        device: of the learner.

    Attributes:
        losses: (steps,) of the batches, 0 where there was none yet.
        hits: samples whose largest logit was the right one.
        rows: samples seen.
    """

    def __init__(self, steps: int, device: torch.device) -> None:
        self.losses = torch.zeros(steps, device=device)
        self.hits = torch.zeros((), dtype=torch.int64, device=device)
        self.rows = 0

    def hit(self, logits: Tensor, columns: Tensor) -> None:
        """Count the hits of a batch."""
        self.hits += (logits.detach().argmax(dim=1) == columns).sum()

    def check(self, step: int, total_steps: int) -> None:
        """Refuse to go on from a loss that is not finite.

        Args:
            step: of the epoch, the last one taken.
            total_steps: updates made in the whole run before it.

        Raises:
            Diverged: naming the update that had the first.
        """
        found = first_bad(self.losses[: step + 1])
        if found is not None:
            first = total_steps - step + found
            raise Diverged(first, f"the training loss became {self.losses[found].item()}")

    @property
    def loss(self) -> float:
        """The mean of all losses."""
        return self.losses.double().mean().item()

    @property
    def accuracy(self) -> float:
        """Hits a sample."""
        return self.hits.item() / self.rows

    def state_dict(self) -> dict[str, Any]:
        """All that must survive a kill."""
        return {"losses": self.losses, "hits": self.hits, "rows": self.rows}

    @classmethod
    def restored(cls, state: dict[str, Any], device: torch.device) -> "Tally":
        """The inverse of `state_dict`."""
        tally = cls(0, device)
        tally.losses, tally.hits = state["losses"].to(device), state["hits"].to(device)
        tally.rows = state["rows"]
        return tally
