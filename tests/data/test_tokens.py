import json
from pathlib import Path

import pytest
import torch
from tables import write

from holdfast.data import Dataset, Tokenizer

transformers = pytest.importorskip("transformers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "book", "a", "flight", "play", "jazz"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tokenizer of words, as transformers saves one."""
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    return tmp_path


def test_sentences_are_cut_and_filled_up_at_their_end(folder: Path) -> None:
    encode = Tokenizer(folder, length=5)
    found = encode(["Book a flight", "play jazz", "play a flight jazz book"])
    expected = [[2, 4, 5, 6, 3], [2, 7, 8, 3, 0], [2, 7, 5, 6, 3]]
    assert torch.equal(found, torch.tensor(expected))
    assert encode.padding == 0
    assert repr(encode) == "Tokenizer(length=5, padding=0)"


def test_a_dataset_of_sentences_is_read_through_it(folder: Path) -> None:
    rows = {"text": ["play jazz", "book a flight"], "intent": ["jazz", "fly"]}
    write(folder / "set", train=rows, test=rows)
    encode = Tokenizer(str(folder), length=6)
    data = Dataset.from_parquet(folder / "set", encode=encode)
    assert data.train.x.dtype == torch.int64
    assert torch.equal(data.train.x, encode(rows["text"]))


def test_bad_input(folder: Path, tmp_path: Path) -> None:
    for length in (0, True):
        with pytest.raises(ValueError, match="length must be a positive integer"):
            Tokenizer(folder, length)
    with pytest.raises(FileNotFoundError, match="no folder on this machine"):
        Tokenizer(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no tokenizer"):
        Tokenizer(tmp_path / "empty")
    config = folder / "tokenizer_config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "pad_token": None}))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(ValueError, match="no token to fill"):
        Tokenizer(folder)
