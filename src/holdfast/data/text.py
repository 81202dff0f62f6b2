"""Sentences as vectors."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Encoder = Callable[[list[str]], Tensor]
"""(n sentences) -> (n, ...) embeddings or token ids."""


def bag_of_words(texts: list[str], dimension: int = 2048) -> Float[Tensor, "n dimension"]:
    """Signed counts of words and pairs of words, hashed to `dimension` and scaled to length 1.

    Nothing is fitted, so a sentence has the same vector in every split and every stream. Lower
    case, words of two letters and more; see `sklearn.feature_extraction.text.HashingVectorizer`.

    Raises:
        ValueError: `dimension` is not positive.

    >>> bag_of_words(["a sentence", "another one"]).shape
    torch.Size([2, 2048])
    """
    if dimension < 1:
        raise ValueError(f"dimension must be at least 1, got {dimension}")
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(n_features=dimension, ngram_range=(1, 2), dtype=np.float32)
    return torch.from_numpy(vectorizer.transform(texts).toarray())


def encode(texts: list[str], encoder: Encoder, where: str) -> Tensor:
    """The embeddings of the texts, checked.

    Raises:
        TypeError: the encoder gives no tensor.
        ValueError: it gives another number of rows than texts.
    """
    encoded = encoder(texts)
    if not isinstance(encoded, Tensor):
        raise TypeError(f"encode must return a torch.Tensor, got {type(encoded).__name__}")
    if encoded.ndim < 1 or len(encoded) != len(texts):
        raise ValueError(
            f"encode must return one row a text: got shape {tuple(encoded.shape)} for the "
            f"{len(texts)} texts of {where}"
        )
    return encoded.detach().cpu()
