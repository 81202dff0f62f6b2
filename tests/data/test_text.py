import pytest
import torch

from holdfast.data import bag_of_words
from holdfast.data.text import encode

TEXTS = ["book a flight to Rome", "a flight to Rome, book!", "play some jazz"]


def test_rows_are_unit_vectors_of_words():
    bags = bag_of_words(TEXTS)
    assert bags.shape == (3, 2048)
    assert bags.dtype == torch.float32
    torch.testing.assert_close(bags.norm(dim=1), torch.ones(3))
    similar = bags @ bags.T
    assert similar[0, 1] > 0.5 > 0.1 > similar[0, 2]


def test_a_sentence_has_one_vector():
    assert torch.equal(bag_of_words(TEXTS)[2], bag_of_words([TEXTS[2].upper()])[0])


def test_dimension():
    assert bag_of_words(TEXTS, dimension=16).shape == (3, 16)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        bag_of_words(TEXTS, dimension=0)


def test_encoders_are_checked():
    with pytest.raises(TypeError, match=r"must return a torch\.Tensor, got list"):
        encode(TEXTS, lambda texts: texts, "here")  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match=r"got shape \(2, 4\) for the 3 texts of here"):
        encode(TEXTS, lambda texts: torch.zeros(2, 4), "here")
    grown = encode(TEXTS, lambda texts: torch.zeros(3, 4, requires_grad=True) + 1, "here")
    assert not grown.requires_grad
