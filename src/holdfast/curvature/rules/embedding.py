"""Embeddings: the gradient of a row is the sum over the places where its token stands."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.curvature.registry import rule
from holdfast.curvature.rules.linear import scaled_squares
from holdfast.nets.scaled import ScaledEmbedding


@rule(nn.Embedding)
def embedding(
    layer: nn.Embedding, inputs: tuple[Tensor, ...], grads: Float[Tensor, "k n *positions width"]
) -> dict[str, Tensor]:
    """Gradients of equal tokens of one sample are summed before they are squared.

    The row at `padding_idx` gets none. `scale_grad_by_freq` is no gradient and left out.
    """
    tokens = inputs[0].reshape(len(inputs[0]), -1)
    rows = layer.num_embeddings
    sample = torch.arange(len(tokens), device=tokens.device).unsqueeze(1)
    # One slot for each pair of a sample and a token that stands in it.
    pairs, slot = torch.unique(sample * rows + tokens, return_inverse=True)
    total = torch.zeros_like(layer.weight)
    for part in grads:
        sums = part.new_zeros(len(pairs), layer.embedding_dim)
        sums.index_add_(0, slot.flatten(), part.reshape(-1, layer.embedding_dim))
        total.index_add_(0, pairs % rows, sums.square_())
    if layer.padding_idx is not None:
        total[layer.padding_idx] = 0
    return {"weight": total}


@rule(ScaledEmbedding)
def scaled_embedding(
    layer: ScaledEmbedding,
    inputs: tuple[Tensor, ...],
    grads: Float[Tensor, "k n *positions width"],
) -> dict[str, Tensor]:
    """The gradients of a plain layer times the multiplier."""
    return scaled_squares(embedding(layer, inputs, grads), layer.multiplier)
