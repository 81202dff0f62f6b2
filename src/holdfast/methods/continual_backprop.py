"""Continual backpropagation: a trickle of the least useful units begins anew."""

from torch import Tensor

from holdfast.methods.low_utility import LowUtilityReplacer, check_rates
from holdfast.methods.replacing import ReplacingMethod
from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context


class ContinualBackprop(ReplacingMethod[LowUtilityReplacer]):
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
        super().__init__()
        self.rho, self.maturity, self.decay = rho, maturity, decay

    @property
    def replaced(self) -> dict[str, int]:
        """How many units began anew so far, by layer."""
        return dict(self._replaced)

    def loss(self, learner: Learner, batch: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """The loss and logits of the batch; activations are noted."""
        with self._made(learner, context).observed():
            return super().loss(learner, batch, context)

    def after_step(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Count, and replace what is due."""
        self._count(self._made(learner, context).after(context.optimizer()))

    def _make(self, learner: Learner, x: Tensor, seed: int) -> LowUtilityReplacer:
        return LowUtilityReplacer(
            learner, x, rho=self.rho, maturity=self.maturity, decay=self.decay, seed=seed
        )
