"""Continual backpropagation: a trickle of the least useful units begins anew."""

from typing import Any

from torch import Tensor

from holdfast.methods.low_utility import LowUtilityReplacer, check_rates
from holdfast.methods.method import Method
from holdfast.methods.unit_replacement import check_replaceable
from holdfast.nets.learner import Learner
from holdfast.nets.unit_paths import sample_inputs, unit_paths
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


class ContinualBackprop(Method):
    """Continual backprop: each step replaces a small share of the least useful mature units.

    In each layer, after each step, with h_i the output of unit i on the batch and w_out the weights
    that read it,

        age_i <- age_i + 1
        u_i <- decay u_i + (1 - decay) mean |h_i| mean |w_out,i|
        due <- due + rho * (number of units with age > maturity),

    and whole units of `due` are taken out of it: so many of these, those of lowest u, are
    replaced. Their incoming weights are drawn anew, as the net draws its own, the bias becomes 0,
    the outgoing weights 0, age and utility 0. What a unit gave on average is added to the biases of
    the layers that read it: a running mean of its output (with `decay`, made up for its beginning
    at 0) times its outgoing weights. Norm layers on the way begin anew at the unit, and the
    optimizer forgets its weights: momentum and moments become zero, and Adam counts their steps
    from there (see `UnitSteps`). h is what the next layer is given: after the nonlinearity, and
    pooling where there is some.

    It applies to the layers that `holdfast.nets.unit_paths` finds: never the last, nor one whose
    output is added to a skip connection. Layers that are frozen are left alone.

    Dohare et al., "Loss of plasticity in deep continual learning", Nature 2024, algorithm 1. u is
    not made up for its beginning at 0: `maturity` is what protects new units.

    Args:
        rho: share of the mature units that is replaced a step.
        maturity: steps that a unit is left alone after its beginning.
        decay: of the running means.
    """

    def __init__(self, *, rho: float = 1e-4, maturity: int = 100, decay: float = 0.99) -> None:
        check_rates(rho, maturity, decay)
        self.rho, self.maturity, self.decay = rho, maturity, decay
        self._replacer: LowUtilityReplacer | None = None
        self._saved: dict[str, Any] = {}
        self._replaced: dict[str, int] = {}

    @property
    def replaced(self) -> dict[str, int]:
        """How many units began anew so far, by layer."""
        return dict(self._replaced)

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse a network without a layer whose units can be replaced.

        Raises:
            ValueError: naming the layers and the reason for each.
        """
        check_replaceable(learner, unit_paths(learner, sample_inputs(learner, stream[0])))

    def begin_task(self, learner: Learner, context: Context) -> None:
        """A first task begins with nothing counted."""
        if context.index == 0:
            self._replacer, self._saved, self._replaced = None, {}, {}

    def loss(self, learner: Learner, batch: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """The loss and logits of the batch; activations are noted."""
        with self._made(learner, context).observed():
            return super().loss(learner, batch, context)

    def after_backward(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Get ready for the optimizer's step."""
        self._made(learner, context).before(context.optimizer())

    def after_step(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Count, and replace what is due."""
        done = self._made(learner, context).after(context.optimizer())
        for name, count in done.items():
            self._replaced[name] = self._replaced.get(name, 0) + count

    def state_dict(self) -> dict[str, Any]:
        """Ages, utilities, means and what was drawn and replaced."""
        known = self._saved if self._replacer is None else self._replacer.state_dict()
        return {"replacer": known, "replaced": dict(self._replaced)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._replacer, self._saved = None, dict(state["replacer"])
        self._replaced = dict(state["replaced"])

    def _made(self, learner: Learner, context: Context) -> LowUtilityReplacer:
        if self._replacer is None:
            self._replacer = LowUtilityReplacer(
                learner, sample_inputs(learner, context.task), rho=self.rho,
                maturity=self.maturity, decay=self.decay, seed=context.seed,
            )  # fmt: skip
            if self._saved:
                self._replacer.load_state_dict(self._saved)
        return self._replacer
