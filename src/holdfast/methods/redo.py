"""ReDo: units that have fallen asleep begin anew."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from holdfast.methods.arguments import check_number, check_positive_integer
from holdfast.methods.replacing import ReplacingMethod
from holdfast.methods.unit_replacement import ReplaceableUnits, unit_magnitudes
from holdfast.nets.learner import Learner
from holdfast.nets.modes import evaluation_mode
from holdfast.probes.units import THRESHOLD, relative
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context


class DormantRecycler:
    """`ReDo` for a training loop of one's own.

    Call `step` in the place of ``optimizer.step()``:

        recycler = DormantRecycler(model, x)
        for x, y in loader:
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            recycler.step(optimizer, x)

    Args:
        model: any module, or a `Learner`. The layers it applies to are in `units.paths`, the
            others with the reason in `units.refused`.
        x: a batch of inputs, see `holdfast.nets.unit_paths`.
        every, tau, samples: see `ReDo`.
        seed: of the new weights.

    Raises:
        TypeError, ValueError: an option out of range, or no layer with units to replace.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        *,
        every: int = 1000,
        tau: float = THRESHOLD,
        samples: int = 64,
        seed: int = 0,
    ) -> None:
        _check_options(every, tau, samples)
        self.every, self.tau, self.samples = every, tau, samples
        self.model = model
        self.units = ReplaceableUnits(model, x, seed)
        self.taken = 0

    def step(self, optimizer: Optimizer, *inputs: Tensor) -> dict[str, int]:
        """A step of the optimizer, and every so many steps a recycling.

        Args:
            optimizer: over the parameters of the model, whose gradients are there.
            inputs: of the batch: what the model is called with.

        Returns:
            how many units of each layer were recycled; empty between recyclings.
        """
        self.before(optimizer)
        optimizer.step()
        return self.after(optimizer, *inputs)

    def before(self, optimizer: Optimizer | None) -> None:
        """The first half of `step`: before the optimizer's."""
        self.units.steps.before(optimizer)

    def after(self, optimizer: Optimizer | None, *inputs: Any) -> dict[str, int]:
        """The second half of `step`: after the optimizer's."""
        self.units.steps.after(optimizer)
        self.taken += 1
        return {} if self.taken % self.every else self.recycle(optimizer, *inputs)

    @torch.no_grad()
    def dormant(self, *inputs: Any) -> dict[str, Tensor]:
        """Positions of the dormant units of each layer, on the first `samples` of a batch."""
        few = [x[: self.samples] if isinstance(x, Tensor) else x for x in inputs]
        with evaluation_mode(self.model), self.units.observed() as seen:
            self.model(*few)
        return {
            path.name: (relative(unit_magnitudes(path, seen)) <= self.tau).nonzero().flatten()
            for path in self.units.paths
        }

    def recycle(self, optimizer: Optimizer | None, *inputs: Any) -> dict[str, int]:
        """Recycle now the units that are dormant on a batch.

        Returns:
            how many, by layer.
        """
        chosen = self.dormant(*inputs)
        self.units.replace(chosen, optimizer)
        return {name: len(found) for name, found in chosen.items()}

    def state_dict(self) -> dict[str, Any]:
        """All that must survive a kill."""
        return {"taken": self.taken, "units": self.units.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.taken = int(state["taken"])
        self.units.load_state_dict(state["units"])


class ReDo(ReplacingMethod[DormantRecycler]):
    """ReDo: every so many steps the dormant units of each layer begin anew.

    With h_i the output of unit i of a layer, a unit is dormant if

        E|h_i| / (mean_k E|h_k| + 1e-9) <= tau,

    E over the first `samples` of the current batch, in evaluation mode, and over places or tokens;
    h is what the next layer is given: after the nonlinearity, and pooling where there is some. Of a
    dormant unit the incoming weights and bias are drawn anew, as the net draws its own; the
    outgoing ones become zero. The output of the network stays what it was but for what the unit
    gave, nothing where it was dead. Norm layers on the way begin anew at the unit, and the
    optimizer forgets its weights: momentum and moments become zero, and Adam counts their steps
    from there (see `UnitSteps`).

    It applies to the layers that `holdfast.nets.unit_paths` finds: never the last, nor one whose
    output is added to a skip connection. Layers that are frozen are left alone.

    Sokar et al., "The Dormant Neuron Phenomenon in Deep Reinforcement Learning", ICML 2023,
    equation 1 and algorithm 1. There a step count begins anew for whole parameters, here for the
    unit.

    Args:
        every: steps between recyclings, F, counted over tasks.
        tau: up to which score a unit is dormant; 0 takes those that are never active.
        samples: of the batch that are looked at.
    """

    def __init__(self, *, every: int = 1000, tau: float = THRESHOLD, samples: int = 64) -> None:
        _check_options(every, tau, samples)
        super().__init__()
        self.every, self.tau, self.samples = every, tau, samples

    @property
    def recycled(self) -> dict[str, int]:
        """How many units began anew so far, by layer."""
        return dict(self._replaced)

    def after_step(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Recycle, if it is time."""
        recycler = self._made(learner, context)
        self._count(recycler.after(context.optimizer(), batch.x, batch.task))

    def _make(self, learner: Learner, x: Tensor, seed: int) -> DormantRecycler:
        return DormantRecycler(
            learner, x, every=self.every, tau=self.tau, samples=self.samples, seed=seed
        )


def _check_options(every: int, tau: float, samples: int) -> None:
    check_positive_integer("every", every)
    check_number("tau", tau)
    check_positive_integer("samples", samples)
