"""The rules of attention and of the blocks around it: those of torch, and of four models of
`transformers`, named in full and never imported: ViT, BERT, DistilBERT and GPT-2.
"""

from typing import Any

from torch import nn

from holdfast.nets.scaled import ScaledMultiheadAttention
from holdfast.richness.registry import (
    Attention,
    Branches,
    Matrix,
    Vectors,
    attention_rule,
    branch_rule,
    layer_rule,
)

_VIT = "transformers.models.vit.modeling_vit."
_BERT = "transformers.models.bert.modeling_bert."
_DISTILBERT = "transformers.models.distilbert.modeling_distilbert."
_GPT2 = "transformers.models.gpt2.modeling_gpt2."


@layer_rule(nn.MultiheadAttention, ScaledMultiheadAttention)
def projections(layer: nn.MultiheadAttention) -> Matrix:
    """Queries, keys and values: sums over the width. The projection behind is a layer of its own.

    Raises:
        ValueError: queries, keys and values are of different widths.
    """
    if not layer._qkv_same_embed_dim:
        raise ValueError(
            f"MultiheadAttention with kdim {layer.kdim} and vdim {layer.vdim} other than its "
            f"embed_dim {layer.embed_dim} has no rule; project keys and values with linear layers"
        )
    return Matrix(layer.embed_dim, layer.embed_dim, weight="in_proj_weight")


@layer_rule("transformers.pytorch_utils.Conv1D")
def transposed_linear(layer: Any) -> Matrix:
    """A sum over the inputs, its weight (in, out)."""
    return Matrix(layer.nx, layer.nf)


@layer_rule(_VIT + "ViTEmbeddings")
def tokens(layer: nn.Module) -> Vectors:
    """The class token and positions; the patches have a convolution of their own."""
    return Vectors(tokens=("cls_token", "mask_token", "position_embeddings"))


@branch_rule(nn.TransformerEncoderLayer)
def encoder_layer(block: nn.TransformerEncoderLayer) -> Branches:
    """Attention and feed-forward, each a branch; norms behind the sum are none of theirs."""
    norms = ("norm1", "norm2") if block.norm_first else ()
    return Branches(("self_attn", "linear2"), ("self_attn", "linear1", "linear2", *norms))


@branch_rule(nn.TransformerDecoderLayer)
def decoder_layer(block: nn.TransformerDecoderLayer) -> Branches:
    """Attention to itself and to the memory, and feed-forward, each a branch."""
    ends = ("self_attn", "multihead_attn", "linear2")
    norms = ("norm1", "norm2", "norm3") if block.norm_first else ()
    return Branches(ends, (*ends, "linear1", *norms))


@branch_rule(_VIT + "ViTLayer")
def vit_layer(block: Any) -> Branches:
    """Attention and feed-forward, with the norms before them; it holds its activation first."""
    behind = {"mlp.fc1": "layernorm_after", "mlp.fc2": "mlp.activation_fn"}
    return Branches(("attention.o_proj", "mlp.fc2"), behind=behind)


@branch_rule(_BERT + "BertLayer")
def bert_layer(block: Any) -> Branches:
    """Attention, that to an encoder where there is one, and feed-forward; norms are behind."""
    own = ["attention", *(["crossattention"] if block.add_cross_attention else [])]
    ends = (*(f"{name}.output.dense" for name in own), "output.dense")
    return Branches(ends, (*ends, *(f"{name}.self" for name in own), "intermediate"))


@branch_rule(_DISTILBERT + "TransformerBlock")
def distilbert_block(block: Any) -> Branches:
    """Attention and feed-forward; norms are behind. It holds its activation last."""
    behind = {"ffn.lin2": "ffn.activation"}
    return Branches(("attention.out_lin", "ffn.lin2"), ("attention", "ffn"), behind)


@branch_rule(_GPT2 + "GPT2Block")
def gpt2_block(block: Any) -> Branches:
    """Attention, that to an encoder where there is one, and feed-forward, with norms before."""
    cross = ("crossattention.c_proj",) if hasattr(block, "crossattention") else ()
    behind = {"mlp.c_proj": "mlp.act"}
    return Branches(("attn.c_proj", *cross, "mlp.c_proj"), behind=behind)


@attention_rule(nn.MultiheadAttention, ScaledMultiheadAttention)
def multihead(module: nn.MultiheadAttention) -> Attention:
    """Heads of one width; the scaled form has a factor."""
    return Attention(module.head_dim, "logit_factor")


@attention_rule(_VIT + "ViTAttention", _GPT2 + "GPT2Attention")
def heads(module: Any) -> Attention:
    """Heads of one width, with ``scaling`` as the factor of every implementation."""
    return Attention(module.head_dim)


@attention_rule(
    _BERT + "BertSelfAttention",
    _BERT + "BertCrossAttention",
    _DISTILBERT + "DistilBertSelfAttention",
)
def bert_heads(module: Any) -> Attention:
    """As `heads`, by another name."""
    return Attention(module.attention_head_size)
