"""Elastic weight consolidation: a spring on each parameter, as stiff as the old tasks need it."""

import copy
import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from holdfast.curvature.fisher import FisherKind, diagonal_fisher
from holdfast.methods.arguments import check_choice, check_number
from holdfast.methods.method import Method
from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream

_ROWS, _ELEMENTS = 2048, 1 << 22
"""Samples, and input entries, of a batch of the forms that do not depend on the batches."""


class EWC(Method):
    """EWC: hold each parameter near its old values by its Fisher information there.

    The gradient of the penalty

        strength / 2 * sum over earlier tasks t, parameters i of F_ti (theta_i - theta*_ti)^2

    is added to that of the loss on the current batch, theta*_t the parameters after task t and F_t
    the diagonal of the Fisher information of its training samples there, a mean over samples. The
    sum over tasks is kept as one stiffness A_i = sum_t F_ti and one centre
    C_i = sum_t F_ti theta*_ti / A_i: its gradient strength * A_i (theta_i - C_i) is the same, at a
    memory and time that do not grow with the number of tasks.

    The loss the method returns, and so the training loss of the record, is that of the data alone.
    Parameters that get no gradient from a batch, such as the heads of other tasks, are left as
    they are. Rows that a growing head adds later are free. Plain SGD is stable only while
    lr * strength * A_i stays below 2 for every parameter: a run that diverges asks for less of
    either.

    What is called the Fisher of EWC differs between libraries, and with it the fitting strength;
    `holdfast.curvature.diagonal_fisher` has the formulas:

    | `fisher` | is | computed so by |
    |---|---|---|
    | ``empirical`` | mean over samples of the squared gradient at the given label | |
    | ``true`` | the same in expectation over the model's own labels, exactly | |
    | ``sampled`` | the same at one label a sample, drawn from the model | |
    | ``weighted`` | ``empirical`` with each sample weighted by p(its label) | Mammoth |
    | ``batch_mean`` | mean of squared batch means | Avalanche, PyCIL, FACIL, LibContinual |
    | ``batch_mean_scaled`` | the same times the batch size | |

    At a fitted model, where gradients average to nothing, ``batch_mean`` is about 1 / batch size
    of ``empirical`` and ``batch_mean_scaled`` about ``empirical``, with more noise than either.
    FACIL and LibContinual multiply each batch by its size and then divide by the number of
    samples, which is ``batch_mean`` again. Batches, which matter to these two forms alone, are
    those of the training batch size, in the stored order of the samples.

    Kirkpatrick et al., "Overcoming Catastrophic Forgetting in Neural Networks", 2017, equation 3,
    with one term for every earlier task. ``online=True`` is the variant of Schwarz et al.
    ("Progress & Compress", 2018): one term, around the parameters after the latest task alone, for
    which Huszar (2018) argues. van de Ven (2025) compares the forms of the Fisher.

    Args:
        strength: of the penalty.
        fisher: which form of the diagonal, see above.
        likelihood: of the model; ``auto`` is ``categorical`` for classes and ``gaussian`` for
            targets. Classes trained with ``training.loss="mse"`` need ``gaussian`` said.
        decay: what the Fisher of earlier tasks is multiplied by whenever a task is added.
        online: whether the centre is that of the latest task, not the mean of all.
    """

    def __init__(
        self,
        *,
        strength: float = 100.0,
        fisher: FisherKind = "empirical",
        likelihood: Literal["auto", "categorical", "gaussian"] = "auto",
        decay: float = 1.0,
        online: bool = False,
    ) -> None:
        check_number("strength", strength)
        check_choice("fisher", fisher, FisherKind)
        check_choice("likelihood", likelihood, Literal["auto", "categorical", "gaussian"])
        check_number("decay", decay, to=1.0)
        self.strength, self.fisher, self.likelihood = strength, fisher, likelihood
        self.decay, self.online = decay, online
        self._stiffness: dict[str, Tensor] = {}
        self._centre: dict[str, Tensor] = {}
        self._springs: list[tuple[Tensor, Tensor, Tensor]] | None = None

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse what has no such Fisher information, by computing it on two samples.

        Raises:
            ValueError: see `holdfast.curvature.diagonal_fisher`.
        """
        if self.fisher == "weighted" and stream.is_regression:
            raise ValueError(
                "fisher='weighted' needs class probabilities, the stream has regression targets; "
                "use 'empirical' or 'true'"
            )
        learner, task = copy.deepcopy(learner), stream[0]
        draws = torch.Generator().manual_seed(0)
        learner.accommodate(0, task, draws)
        device = next(learner.parameters()).device
        x, y = task.inputs(task.test.x[:2].to(device)), task.test.y[:2].to(device)
        self._fisher(learner, [Batch(x, learner.columns(y, 0), 0)], draws)

    def forget(self) -> None:
        """Drop the springs."""
        self._stiffness, self._centre, self._springs = {}, {}, None

    def begin_task(self, learner: Learner, context: Context) -> None:
        """Give new rows of the parameters springs without stiffness."""
        for name, p in learner.named_parameters():
            if name in self._stiffness:
                self._stiffness[name] = _grown(self._stiffness[name], p)
                self._centre[name] = _grown(self._centre[name], p)
        self._springs = None

    @torch.no_grad()
    def after_backward(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Add the gradient of the penalty."""
        if not self._stiffness or self.strength == 0:
            return
        if self._springs is None:
            self._springs = self._attach(learner)
        springs = [spring for spring in self._springs if spring[0].grad is not None]
        if not springs:
            return
        parameters, stiffness, centre = (list(column) for column in zip(*springs, strict=True))
        away = torch._foreach_sub(parameters, centre)
        gradients = [p.grad for p in parameters]
        torch._foreach_addcmul_(gradients, stiffness, away, self.strength)

    def end_task(self, learner: Learner, context: Context) -> None:
        """Add the springs of the task."""
        size = context.batch_size
        if self.fisher not in ("batch_mean", "batch_mean_scaled"):
            size = max(size, min(_ROWS, _ELEMENTS // math.prod(context.stream.input_shape)))
        found = self._fisher(learner, context.source.batches(size), context.generator)
        parameters = dict(learner.named_parameters())
        for name in self._stiffness:
            self._stiffness[name] = self.decay * self._stiffness[name]
        for name, fisher in found.items():
            self._add(name, fisher, parameters[name].detach())
        self._springs = None

    def state_dict(self) -> dict[str, Any]:
        """Stiffness and centre of every parameter."""
        return {"stiffness": dict(self._stiffness), "centre": dict(self._centre)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._stiffness, self._centre = dict(state["stiffness"]), dict(state["centre"])
        self._springs = None

    def _attach(self, learner: Learner) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(parameter, stiffness, centre) wherever there is any stiffness."""
        springs: list[tuple[Tensor, Tensor, Tensor]] = []
        for name, p in learner.named_parameters():
            stiffness = self._stiffness.get(name)
            if p.requires_grad and stiffness is not None and bool(stiffness.any()):
                springs.append((p, stiffness.to(p), self._centre[name].to(p)))
        return springs

    def _add(self, name: str, fisher: Tensor, at: Tensor) -> None:
        if name not in self._stiffness:
            self._stiffness[name], self._centre[name] = fisher, at.clone()
            return
        stiffness = self._stiffness[name].to(at) + fisher
        share = fisher / stiffness.clamp_min(torch.finfo(at.dtype).tiny)
        centre = self._centre[name].to(at)
        self._stiffness[name] = stiffness
        self._centre[name] = at.clone() if self.online else torch.lerp(centre, at, share)

    def _fisher(
        self, learner: Learner, batches: Iterable[Batch], generator: torch.Generator
    ) -> dict[str, Tensor]:
        return diagonal_fisher(
            learner,
            batches,
            kind=self.fisher,
            likelihood=None if self.likelihood == "auto" else self.likelihood,
            generator=generator,
        )


def _grown(held: Tensor, parameter: Tensor) -> Tensor:
    if held.shape == parameter.shape:
        return held
    grown = torch.zeros_like(parameter)
    grown[: len(held)] = held
    return grown.detach()
