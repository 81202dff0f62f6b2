"""From a part of the data to all of it, little by little within one task."""

from typing import Any

import torch
from torch import Tensor

from holdfast.data.stratify import stratified
from holdfast.methods.arguments import check_number
from holdfast.methods.method import Method
from holdfast.nets.learner import Learner
from holdfast.seeds import derive
from holdfast.streams.batches import Batch, Resident
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


class SmoothTransition(Method):
    """At step n of N a sample comes from all the data with probability p(n), else from a part.

        p(n) = 1 - g^(50 n / N).

    At first every sample is of the part, as in pretraining; the share of the whole data grows
    with no switch anywhere. A small g is nearly a switch at the beginning, a large one a slow
    transition: half of the samples are of the part at n / N = ln(1/2) / (50 ln g), which is 0.6 %
    of the run for g = 0.1 and 13 % for g = 0.9. A sample of the part is drawn anew with
    replacement; the others come from the shuffled epochs as always.

    Berariu et al., 2021, *A study on the plasticity of neural networks*, figure 3: what is left
    of the part's bias on the way costs generalisation too.

    Args:
        share: of the samples, each class in proportion, that make the part; drawn by the run's
            seed.
        g: in (0, 1).

    Raises:
        ValueError: `share` or `g` outside (0, 1).
    """

    def __init__(self, *, share: float = 0.5, g: float = 0.5) -> None:
        for name, value in (("share", share), ("g", g)):
            check_number(name, value, positive=True)
            if value >= 1:
                raise ValueError(f"{name} must lie in (0, 1), got {value}")
        self.share, self.g = share, g
        self._part: Tensor | None = None
        self._step = 0

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse a stream of several tasks.

        Raises:
            ValueError: naming their number.
        """
        if len(stream) != 1:
            raise ValueError(
                f"smooth_transition works within one task, the stream has {len(stream)}; give it "
                "one that holds all the data, such as growing with stages=1"
            )

    def begin_task(self, learner: Learner, context: Context) -> None:
        """Draw the part.

        Raises:
            ValueError: the samples cannot be picked one by one.
        """
        source = context.source
        if not isinstance(source, Resident):
            raise ValueError(
                "smooth_transition picks samples one by one; give it tensors that fit on the "
                f"device, not {type(source).__name__}"
            )
        seed = derive(context.seed, "smooth transition")
        self._part = stratified(source.y, fraction=self.share, seed=seed)
        self._step = 0

    def probability(self, step: int, steps: int) -> float:
        """p(n): that a sample of step n, from 0, of N comes from all the data."""
        return float(1 - self.g ** (50 * step / steps))

    def batch(self, batch: Batch, context: Context) -> Batch:
        """Exchange samples of the whole for samples of the part."""
        source, part = context.source, self._part
        assert isinstance(source, Resident)
        assert part is not None
        steps = context.epochs * source.steps(context.batch_size)
        p = self.probability(self._step, steps)
        self._step += 1
        kept = torch.rand(len(batch), generator=context.generator) < p
        picked = part[torch.randint(len(part), (len(batch),), generator=context.generator)]
        out = (~kept).nonzero().flatten().to(batch.x.device)
        early = source.at(picked[~kept].to(batch.x.device))
        x = batch.x.index_copy(0, out, early.x)
        return Batch(x, batch.y.index_copy(0, out, early.y), batch.task)

    def state_dict(self) -> dict[str, Any]:
        """The part, and where the run stands."""
        return {"part": self._part, "step": self._step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._part, self._step = state["part"], state["step"]
