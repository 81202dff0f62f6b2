"""Attention logits of models whose heads get wider: over d in place of its root."""

import math
from typing import Any

from torch import nn

from holdfast.nets.scaled import SCALED
from holdfast.richness.options import Richness
from holdfast.richness.registry import Attention, find_attention


def head_widths(model: nn.Module) -> dict[str, int]:
    """Width d of the heads of each attention that has a rule (`attention_rule`), by its path.

    Two widths of one model that differ here have wider heads, and not only more: they need
    `base_head_dim`.

    >>> head_widths(nn.TransformerEncoderLayer(d_model=32, nhead=4))
    {'self_attn': 8}
    """
    found = {path: find_attention(module) for path, module in model.named_modules()}
    return {path: attention.head_dim for path, attention in found.items() if attention}


def survey_attention(model: nn.Module, options: Richness) -> dict[str, Attention]:
    """The attention whose logits are to be scaled, by path: none without `base_head_dim`.

    Attention that is frozen stays as it is, and so does all under ``sp``.

    Raises:
        ValueError: no attention with a rule, one without the attribute that its rule names, or
            weights that are to keep their function.
    """
    base = options.base_head_dim
    if base is None:
        return {}
    found: dict[str, Attention] = {}
    for path, module in model.named_modules():
        attention = find_attention(module)
        if attention is None or not _trained(module):
            continue
        if not isinstance(_factor(module, attention.factor), int | float):
            raise ValueError(
                f"{path} ({type(module).__name__}) has no number in its attribute "
                f"{attention.factor!r}, which its attention_rule names as the factor of its logits"
            )
        found[path] = attention
    if not found:
        raise ValueError(
            f"base_head_dim is {base}, but the model has no trainable attention with a rule. "
            "Register what its heads are: @holdfast.richness.attention_rule(Class) on a function "
            "that returns Attention(head_dim, factor), factor the name of the attribute that "
            "multiplies the logits; or leave base_head_dim out"
        )
    others = sorted({a.head_dim for a in found.values() if a.head_dim != base})
    if options.weights == "keep" and others:
        raise ValueError(
            f"base_head_dim is {base} and heads have width {', '.join(map(str, others))}: other "
            "logits would change the function that weights='keep' is to keep; leave it out"
        )
    return {} if options.parametrization == "sp" else found


def scale_logits(model: nn.Module, attentions: dict[str, Attention], base: int | None) -> None:
    """Multiply logits by sqrt(base / d), so that they are divided by d, and as ever at the base.

    Queries and keys of wider heads become aligned by training: their product is then a sum of d
    terms of one sign, and no longer of random ones. Yang et al., 2022, definition 4.1.

    Each module tells the factor in its attribute ``logit_factor``.
    """
    for path, attention in attentions.items():
        assert base is not None
        module = model.get_submodule(path)
        by = math.sqrt(base / attention.head_dim)
        setattr(module, attention.factor, _factor(module, attention.factor) * by)
        module.logit_factor = by  # type: ignore[assignment]


def _factor(module: nn.Module, name: str) -> Any:
    # Attention of torch has the attribute in its scaled form alone.
    return getattr(module, name, getattr(SCALED.get(type(module)), name, None))


def _trained(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False)) or list(module.parameters())
    return any(p.requires_grad for p in own)
