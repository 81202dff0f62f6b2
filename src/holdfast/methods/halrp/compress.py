"""From a task's free weights to a low-rank change of the base: the rank stage in one call."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from holdfast.methods.halrp.adapted import Adapted, Task
from holdfast.methods.halrp.decompose import Decomposition, Scaling, decompose
from holdfast.methods.halrp.importance import Batch, Importance, layer_importance
from holdfast.methods.halrp.layers import Free, perturbed_layers
from holdfast.methods.halrp.plan import Plan, Spectrum, choose_ranks
from holdfast.seeds import generator


def compress(
    model: Adapted,
    task: Task,
    batches: Iterable[Batch],
    *,
    alpha: float | None = 0.9,
    budget: int | None = None,
    most: int | None = 100,
    least: int = 1,
    per_cost: bool = False,
    importance: Importance = "mean",
    scaling: Scaling = "alternating",
    criterion: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
    seed: int = 0,
) -> Plan:
    """Put a task's free weights aside for low-rank changes, with ranks chosen by curvature.

    The importance of each layer is measured on the batches, in evaluation mode; what r and s leave
    of each free weight is decomposed; and ranks of all layers are chosen together. Biases, norm
    layers and heads stay as they are. Train on afterwards: with a new optimizer, since the
    parameters are others.

    Args:
        model: with the task added by `Adapted.add_free`, and trained for a while.
        task: its id.
        batches: of inputs and columns, held out where there are enough.
        alpha: see `choose_ranks`, as `budget`, `most`, `least`, `per_cost`.
        budget: likewise, a number of parameters.
        most: likewise.
        least: likewise.
        per_cost: likewise.
        importance: see `layer_importance`, as `criterion`.
        scaling: see `scaling_vectors`.
        criterion: of logits and columns.
        seed: of randomised decompositions, which large layers get.

    Returns:
        The plan, also in ``model.plans``.

    Raises:
        ValueError: the task is unknown or not free, there are no batches, or nothing to choose by.
    """
    model.known(task)
    training = model.training
    model.eval()
    try:
        weights = layer_importance(model, task, batches, importance, criterion=criterion)
    finally:
        model.train(training)
    draws = generator(seed, "halrp", "decompose", str(task))
    found = decompositions(model, task, scaling, most, draws)
    plan = choose_ranks(
        spectra(model, found, weights),
        alpha=alpha,
        budget=budget,
        most=most,
        least=least,
        per_cost=per_cost,
    )
    model.settle(task, found, plan)
    return plan


def decompositions(
    model: Adapted,
    task: Task,
    scaling: Scaling = "alternating",
    most: int | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Decomposition]:
    """The decomposition of each layer's free weight, see `decompose`.

    Raises:
        ValueError: a layer has no free weight of the task.
    """
    found = {}
    for name, layer in perturbed_layers(model.model):
        own = layer.tasks[model.known(task)]
        if not isinstance(own, Free):
            raise ValueError(f"task {task!r} has no free weights in layer {name!r}: see add_free")
        found[name] = decompose(
            own.weight, layer.base_weight, layer.shape, scaling, most, generator
        )
    return found


def spectra(
    model: Adapted, found: Mapping[str, Decomposition], importance: Mapping[str, float]
) -> dict[str, Spectrum]:
    """What `choose_ranks` goes by, of all layers."""
    layers = dict(perturbed_layers(model.model))
    return {
        n: Spectrum(
            d.values,
            d.mass,
            importance[n] * layers[n].shape.multiplicity,
            layers[n].shape.cost_of_rank,
            layers[n].shape.largest_rank,
        )
        for n, d in found.items()
    }
