"""Classifiers of transformers grow in place, and what they say of themselves follows."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.starts.heads import linear_head

transformers = pytest.importorskip("transformers")

SMALL = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}
TOKENS = {"vocab_size": 20, "max_position_embeddings": 16, "pad_token_id": 0}


def bert(labels: int = 3) -> Any:
    config = transformers.BertConfig(**SMALL, **TOKENS, num_labels=labels)
    return transformers.BertForSequenceClassification(config)


def roberta(labels: int = 3) -> Any:
    config = transformers.RobertaConfig(**SMALL, **TOKENS, num_labels=labels)
    return transformers.RobertaForSequenceClassification(config)


def gpt2() -> Any:
    config = transformers.GPT2Config(
        n_embd=8, n_layer=1, n_head=2, vocab_size=20, n_positions=16, num_labels=3, pad_token_id=0
    )
    return transformers.GPT2ForSequenceClassification(config)


def vit() -> Any:
    config = transformers.ViTConfig(
        **SMALL, image_size=4, patch_size=2, num_channels=1, num_labels=3
    )
    return transformers.ViTForImageClassification(config)


def resnet() -> Any:
    config = transformers.ResNetConfig(
        num_channels=1, embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], num_labels=3
    )
    return transformers.ResNetForImageClassification(config)


def inputs(model: Any) -> Tensor:
    shape = (5, 1, 32, 32) if "ResNet" in type(model).__name__ else (5, 1, 4, 4)
    images = "Image" in type(model).__name__
    return torch.randn(shape) if images else torch.randint(1, 20, (5, 6))


@pytest.mark.parametrize(
    ("build", "path"),
    [
        (bert, "classifier"),
        (roberta, "classifier.out_proj"),
        (gpt2, "score"),
        (vit, "classifier"),
        (resnet, "classifier.1"),
    ],
)
def test_the_layer_is_found_and_the_model_knows_its_labels(
    build: Any, path: str, tmp_path: Any
) -> None:
    model = build().eval()
    model.config.id2label = {0: "yes", 1: "no", 2: "perhaps"}
    layer = model.get_submodule(path)
    x = inputs(model)
    with torch.no_grad():
        before = model(x).logits
    head = linear_head(model)
    assert head.layer is layer
    row = torch.ones(8 + 1).double()
    row[-1] = 0
    head.write({3: row, 4: -row}, {3: 3, 4: 4})
    assert model.get_submodule(path) is layer
    with torch.no_grad():
        out = model(x, labels=torch.arange(5))
    torch.testing.assert_close(out.logits[:, :3], before)
    torch.testing.assert_close(out.logits[:, 3], -out.logits[:, 4])
    torch.testing.assert_close(out.loss, nn.functional.cross_entropy(out.logits, torch.arange(5)))
    assert model.num_labels == model.config.num_labels == 5
    named = {0: "yes", 1: "no", 2: "perhaps", 3: "LABEL_3", 4: "LABEL_4"}
    assert model.config.id2label == named
    assert model.config.label2id == {text: row for row, text in named.items()}
    if build is bert:
        model.save_pretrained(tmp_path)
        again = type(model).from_pretrained(tmp_path).eval()
        with torch.no_grad():
            assert torch.equal(again(x).logits, out.logits)


def test_spare_rows_keep_their_names() -> None:
    model = bert()
    linear_head(model, [0, 1, None]).write({2: torch.zeros(9).double()}, {2: 2})
    assert model.config.num_labels == 3
    assert model.config.id2label[2] == "LABEL_2"


def test_targets_that_are_no_classes_are_refused() -> None:
    with pytest.raises(TypeError, match=r"set up for regression \(1 outputs\)"):
        linear_head(bert(labels=1))
    model = bert()
    model.config.problem_type = "multi_label_classification"
    with pytest.raises(TypeError, match="set up for multi_label_classification"):
        linear_head(model)


def test_a_model_with_two_such_layers_is_refused_and_its_layer_is_not() -> None:
    model = roberta(labels=8)
    with pytest.raises(
        TypeError, match=r"found classifier.dense, classifier.out_proj; give the lay"
    ):
        linear_head(model)
    assert linear_head(model.classifier.out_proj).width == 8


def test_a_tied_classifier_is_refused() -> None:
    model = bert(labels=20)
    model.classifier.weight = model.bert.embeddings.word_embeddings.weight
    with pytest.raises(TypeError, match=r"shares its parameter with bert.embeddings.word_embedd"):
        linear_head(model)
