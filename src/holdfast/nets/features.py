"""Models of `transformers` as backbones."""

from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

Output = Literal["first", "mean", "last", "pooled"]


class Features(nn.Module):
    """A model of `transformers` that gives one vector a sample: x (n, ...) -> features (n, width).

    Args:
        model: the base model, without a head: ViTModel, BertModel, GPT2Model ... Its first argument
            is x, and it was made from its ``config``.
        output: of the vectors of all tokens, the ``first`` (a class token), their ``mean`` or the
            ``last``, which has seen the others where attention is causal; or ``pooled``, which is
            what the model has for it.
        padding: id of the token that fills short sentences up, at their end: it is not attended to,
            and neither ``mean`` nor ``last`` counts it. `None` for inputs without it.

    Raises:
        TypeError, ValueError: a model without a ``config``, or an unknown `output`.
    """

    def __init__(self, model: nn.Module, output: str = "first", padding: int | None = None) -> None:
        if not hasattr(model, "config"):
            raise TypeError(
                f"model must be one of transformers, with its config; got {type(model).__name__}"
            )
        if output not in get_args(Output):
            raise ValueError(f"output must be one of {', '.join(get_args(Output))}; got {output!r}")
        super().__init__()
        self.model = model
        self.output = output
        self.padding = padding

    def forward(self, x: Tensor) -> Float[Tensor, "n width"]:
        """Features of images or of token ids.

        Raises:
            ValueError: ``pooled`` of a model that pools nothing.
        """
        held = None if self.padding is None else x != self.padding
        out = self.model(x) if held is None else self.model(x, attention_mask=held.long())
        if self.output == "pooled":
            pooled = getattr(out, "pooler_output", None)
            if pooled is None:
                raise ValueError(
                    f"output is 'pooled', but {type(self.model).__name__} pools nothing here; take "
                    "first, mean or last"
                )
            return pooled.flatten(1)
        states = out.last_hidden_state
        if self.output == "first":
            return states[:, 0]
        if held is None:
            return states.mean(1) if self.output == "mean" else states[:, -1]
        if self.output == "mean":
            weights = held.unsqueeze(2).to(states.dtype)
            return (states * weights).sum(1) / weights.sum(1).clamp(min=1)
        last = (held.sum(1) - 1).clamp(min=0)
        return states[torch.arange(len(states), device=states.device), last]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw from torch's global generator what the model draws when made from its config.

        What is frozen stays.
        """
        model: Any = self.model
        fresh = dict(type(model)(model.config).named_parameters())
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(fresh[name])

    def extra_repr(self) -> str:
        """Which vector."""
        padding = "" if self.padding is None else f", padding={self.padding}"
        return f"output={self.output!r}{padding}"
