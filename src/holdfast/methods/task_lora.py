"""Tasks that add a matrix of fixed rank to each layer of one frozen net."""

from collections.abc import Sequence
from typing import cast

import torch

from holdfast.methods.arguments import check_choice, check_number, check_positive_integer
from holdfast.methods.frozen_base import BaseKind, FrozenBase, FrozenBaseMethod
from holdfast.methods.halrp.adapted import Adapted
from holdfast.methods.halrp.kinds import ConvMode
from holdfast.methods.halrp.layers import Perturbation, perturbed_layers
from holdfast.seeds import generator


class TaskLoRA(FrozenBaseMethod):
    """LoRA a task: each adds a matrix of one fixed rank to every layer of one base.

    A linear layer or convolution W_0 of the base has for task t the weight

        W_t = W_0 + scale U_t V_t

    The first task trains the backbone; every later one U (from 0), V (drawn as `torch.nn.Linear`
    draws weights, from the run's seed and the task's position), biases, norm layers with their
    statistics (from those of the base) and its head. It is HALRP without warm-up, scaling vectors
    and choice of ranks.

    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2022, where `scale` is
    alpha / rank and biases and norm layers stay those of the base.

    Args:
        rank: of U V in every layer, or as much as the layer can have.
        scale: of U V. Under SGD this is a factor of the learning rate of U and V (with V drawn
            smaller by its root), under Adam nearly so of its root.
        biases: whether each task has biases of its own.
        conv: which matrix of a convolution's kernel has this rank, see `ConvMode`.
        base: ``first_task``, or ``pretrained``: the backbone is the base as it comes, and the
            first task adds to it like all others.
        skip: names of modules of the backbone that stay as they are.
        freeze_others: leave modules that cannot be perturbed as they are instead of refusing them.
    """

    def __init__(
        self,
        *,
        rank: int = 8,
        scale: float = 1.0,
        biases: bool = True,
        conv: ConvMode = "flat",
        base: BaseKind = "first_task",
        skip: Sequence[str] = (),
        freeze_others: bool = False,
    ) -> None:
        check_positive_integer("rank", rank)
        check_number("scale", scale, positive=True)
        check_choice("conv", conv, ConvMode)
        self.rank, self.scale, self.biases, self.conv = rank, scale, biases, conv
        self.base, self.skip, self.freeze_others = base, tuple(skip), freeze_others
        super().__init__(FrozenBase("TaskLoRA", base, self._room, conv, self.skip, freeze_others))

    def _room(self, adapted: Adapted, index: int, seed: int) -> None:
        factor = None if self.scale == 1 else self.scale
        adapted.add(index, self.rank, scaled=False, biased=self.biases, factor=factor)
        draws = generator(seed, "task_lora", index)
        for _, layer in perturbed_layers(adapted.model):
            own = cast(Perturbation, layer.tasks[str(index)])
            drawn = 2 * torch.rand(own.V.shape, generator=draws) - 1
            own.V.data.copy_(drawn / layer.shape.columns**0.5)
