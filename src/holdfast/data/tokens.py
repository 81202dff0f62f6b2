"""Sentences as token ids, for networks that read them."""

from pathlib import Path

from jaxtyping import Int64
from torch import Tensor

from holdfast.data import model_folders
from holdfast.data.optional import check, need


class Tokenizer:
    """Sentences -> token ids of one length, as ``encode=`` of `holdfast.load` and others.

    A model of transformers is trained on them as a backbone, see `holdfast.nets.Features`, whose
    `padding` is this one's.

    Args:
        model: a folder with a tokenizer of transformers, or ``owner/model`` on the hub.
        length: tokens of each sentence, special ones counted: longer ones are cut, shorter ones
            filled up at their end.
        revision: of a model on the hub.

    Raises:
        FileNotFoundError: the model is neither on this machine nor to be fetched.
        ImportError: the extra ``text`` is not installed.
        ValueError: `length` is no positive integer, the folder holds no tokenizer, or the
            tokenizer has no token to fill up with.
    """

    def __init__(self, model: str | Path, length: int = 32, revision: str | None = None) -> None:
        check("transformers", "reading a tokenizer", "text")
        if not isinstance(length, int) or isinstance(length, bool) or length < 1:
            raise ValueError(f"length must be a positive integer, got {length!r}")
        folder = model_folders.find(model, revision)
        package = need("transformers", "reading a tokenizer", "text")
        try:
            self._tokenizer = package.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"{folder} holds no tokenizer that transformers can read: {error}"
            ) from error
        if self._tokenizer.pad_token_id is None:
            raise ValueError(
                f"the tokenizer in {folder} has no token to fill sentences up with; give it one "
                "(pad_token in its tokenizer_config.json)"
            )
        self.length = length
        self.padding = int(self._tokenizer.pad_token_id)

    def __call__(self, texts: list[str]) -> Int64[Tensor, "n length"]:
        """The token ids of sentences."""
        made = self._tokenizer(
            list(texts),
            padding="max_length",
            padding_side="right",
            truncation=True,
            max_length=self.length,
            return_tensors="pt",
        )
        ids: Tensor = made["input_ids"]
        return ids

    def __repr__(self) -> str:
        return f"Tokenizer(length={self.length}, padding={self.padding})"
