"""Tiny models of transformers, and what their published architectures say of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

transformers = pytest.importorskip("transformers")

CLASSES, WORDS, LENGTH, SIDE = 5, 30, 7, 8


@dataclass(frozen=True)
class Family:
    """A family of models.

    `block` ends the name of its blocks' class; `ends` are the layers whose outputs are added to the
    stream; `activation` is called between `rise` and `fall`; `before` tells norms before branches
    from those behind the sum.
    """

    name: str
    make: Callable[..., nn.Module]
    block: str
    ends: tuple[str, str]
    rise: str
    fall: str
    norm_before: bool
    attention: str

    def __str__(self) -> str:
        return self.name

    def __call__(
        self, width: int = 16, heads: int = 4, depth: int = 2, act: str = "gelu", **more: Any
    ) -> nn.Module:
        return self.make(width, heads, depth, act, **more).eval()

    def inputs(self, n: int = 6, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        if self.name in ("vit", "deit"):
            return torch.randn(n, 1, SIDE, SIDE, generator=generator)
        return torch.randint(3, WORDS, (n, LENGTH), generator=generator)

    def blocks(self, model: nn.Module) -> list[nn.Module]:
        return [m for m in model.modules() if type(m).__name__ == self.block]


def _image(kind: str) -> Callable[..., nn.Module]:
    def make(width: int, heads: int, depth: int, act: str, **more: Any) -> nn.Module:
        config = getattr(transformers, f"{kind}Config")(
            hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads,
            intermediate_size=2 * width, hidden_act=act, image_size=(SIDE, SIDE), patch_size=4,
            num_channels=1, num_labels=CLASSES, **more,
        )  # fmt: skip
        return getattr(transformers, f"{kind}ForImageClassification")(config)

    return make


def _bert(width: int, heads: int, depth: int, act: str, **more: Any) -> nn.Module:
    config = transformers.BertConfig(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads,
        intermediate_size=2 * width, hidden_act=act, vocab_size=WORDS,
        max_position_embeddings=LENGTH, num_labels=CLASSES, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, **more,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


def _distilbert(width: int, heads: int, depth: int, act: str, **more: Any) -> nn.Module:
    config = transformers.DistilBertConfig(
        dim=width, n_layers=depth, n_heads=heads, hidden_dim=2 * width, activation=act,
        vocab_size=WORDS, max_position_embeddings=LENGTH, num_labels=CLASSES, dropout=0.0,
        attention_dropout=0.0, seq_classif_dropout=0.0, **more,
    )  # fmt: skip
    return transformers.DistilBertForSequenceClassification(config)


def _gpt2(width: int, heads: int, depth: int, act: str, **more: Any) -> nn.Module:
    config = transformers.GPT2Config(
        n_embd=width, n_layer=depth, n_head=heads, n_inner=2 * width, activation_function=act,
        vocab_size=WORDS, n_positions=LENGTH, num_labels=CLASSES, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, pad_token_id=0, bos_token_id=1, eos_token_id=2, use_cache=False, **more,
    )  # fmt: skip
    return transformers.GPT2ForSequenceClassification(config)


VIT = Family(
    "vit", _image("ViT"), "ViTLayer", ("attention.o_proj", "mlp.fc2"), "mlp.fc1", "mlp.fc2", True,
    "attention",
)  # fmt: skip
DEIT = Family(
    "deit", _image("DeiT"), "DeiTLayer", ("attention.o_proj", "mlp.fc2"), "mlp.fc1", "mlp.fc2",
    True, "attention",
)  # fmt: skip
BERT = Family(
    "bert", _bert, "BertLayer", ("attention.output.dense", "output.dense"), "intermediate.dense",
    "output.dense", False, "attention.self",
)  # fmt: skip
DISTILBERT = Family(
    "distilbert", _distilbert, "TransformerBlock", ("attention.out_lin", "ffn.lin2"), "ffn.lin1",
    "ffn.lin2", False, "attention",
)  # fmt: skip
GPT2 = Family(
    "gpt2", _gpt2, "GPT2Block", ("attn.c_proj", "mlp.c_proj"), "mlp.c_fc", "mlp.c_proj", True,
    "attn",
)  # fmt: skip
FAMILIES = (VIT, BERT, DISTILBERT, GPT2)
