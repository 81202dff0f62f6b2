"""Low-rank changes (LoRA) of a backbone whose own weights are frozen."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.data.optional import need
from holdfast.nets.shapes import positive, probability
from holdfast.seeds import seeded

_ADAPTER = "default"
_LAYERS = (nn.Linear, nn.Conv2d)
"""Types adapted where no targets are named; not their subclasses, which may compute otherwise."""


class LowRank(nn.Module):
    """A backbone with frozen weights W that learns W + (alpha / rank) B A in some of its layers.

    A (rank, in) starts as `torch.nn.Linear` draws it and B (out, rank) at 0: at first nothing is
    changed. Made by `lora`.

    Args:
        model: the backbone, changed in place.
        config: a `peft.LoraConfig`.
        seed: of A.
    """

    def __init__(self, model: nn.Module, config: Any, seed: int) -> None:
        super().__init__()
        self.model = model
        peft = need("peft", "lora", "lora")
        with seeded(seed, "lora"):
            peft.inject_adapter_in_model(config, self)
        for block in model.modules():
            if isinstance(block, nn.TransformerEncoderLayer):
                # In evaluation its fast path reads the weights of its layers and calls none.
                block.activation_relu_or_gelu = 0

    def forward(self, x: Tensor) -> Tensor:
        """What the backbone computes with the changed weights."""
        return self.model(x)

    @property
    def adapted(self) -> list[str]:
        """The names, in the backbone, of the layers that learn."""
        return [name for name, _ in self._layers()]

    @torch.no_grad()
    def merge(self) -> None:
        """Fold what was learned into the frozen weights, and begin anew with B = 0.

        The function stays, up to rounding. A is left as it is: with B = 0 and an optimizer made
        anew the next change is learned as the first was.
        """
        for _, layer in self._layers():
            base = layer.get_base_layer()
            base.weight += layer.get_delta_weight(_ADAPTER).to(base.weight)
            layer.lora_B[_ADAPTER].weight.zero_()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw A anew from torch's global generator, and set B to 0."""
        for _, layer in self._layers():
            layer.reset_lora_parameters(_ADAPTER, True)

    def _layers(self) -> Iterator[tuple[str, Any]]:
        for name, module in self.model.named_modules():
            if hasattr(module, "lora_A"):
                yield name, module


def lora(
    backbone: nn.Module,
    rank: int = 8,
    alpha: float = 16.0,
    targets: Sequence[str] | None = None,
    dropout: float = 0.0,
    seed: int = 0,
) -> LowRank:
    """A backbone that learns by low-rank changes of some layers alone, through `peft`.

    The weight of each target becomes W + (alpha / rank) B A, with W frozen, B and A trained; all
    other parameters of the backbone are frozen. Heads are no part of it and train as ever. Running
    statistics of batch norm still follow the samples. Needs the extra ``lora``. Hu et al., "LoRA:
    Low-Rank Adaptation of Large Language Models", ICLR 2022.

    Args:
        backbone: x (n, ...) -> (n, width), changed in place.
        rank: of the changes.
        alpha: their scale times `rank`.
        targets: names of layers, whole or their last parts (``query`` for every ``....query``);
            `None`: every `torch.nn.Linear` and `torch.nn.Conv2d`.
        dropout: rate on the inputs of A.
        seed: of A.

    Raises:
        TypeError, ValueError: a rank that is no positive integer, an `alpha` that is not positive,
            a rate outside [0, 1), a target that names no layer, a layer of a type peft has no
            low-rank form of, or a backbone with nothing to adapt.
        ImportError: peft is not installed.
    """
    positive("rank", rank)
    probability("dropout", dropout)
    if not (math.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha must be a positive number, got {alpha}")
    if isinstance(targets, str):
        raise TypeError(f"targets must be a list of names, got {targets!r}; give [{targets!r}]")
    peft = need("peft", "lora", "lora")
    names = _named(backbone, targets)
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules="|".join(re.escape(f"model.{name}" if name else "model") for name in names),
    )
    return LowRank(backbone, config, seed)


def _named(backbone: nn.Module, targets: Sequence[str] | None) -> list[str]:
    modules = dict(backbone.named_modules())
    plain = [name for name, module in modules.items() if type(module) in _LAYERS]
    if targets is None:
        if not plain:
            raise ValueError(
                "the backbone has no torch.nn.Linear or Conv2d to adapt; name its layers in targets"
            )
        return plain
    found = {t: [n for n in modules if n == t or n.endswith(f".{t}")] for t in targets}
    for target, names in found.items():
        if not names:
            raise ValueError(
                f"targets holds {target!r}, which names no layer of the backbone; it has "
                f"{', '.join(plain[:8]) or 'no plain layers'}{' ...' if len(plain) > 8 else ''}"
            )
    if not found:
        raise ValueError("targets must name at least one layer, got none")
    return list(dict.fromkeys(name for names in found.values() for name in names))
