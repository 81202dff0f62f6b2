"""Models of transformers: projections perturbed, layer norms by task, embeddings left alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import holdfast
from holdfast.data.split import Split
from holdfast.methods.halrp import HALRP, Adapted, Perturbed, adapt, layer_importance, ranks
from holdfast.nets import Features, vit
from holdfast.nets.learner import build_learner
from holdfast.streams.stream import Stream, Task

transformers = pytest.importorskip("transformers")

WIDTH, LENGTH, WORDS = 8, 6, 20


def bert(**more: object) -> nn.Module:
    config = transformers.BertConfig(
        vocab_size=WORDS, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=LENGTH, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return transformers.BertModel(config, **more)


def distilbert() -> nn.Module:
    config = transformers.DistilBertConfig(
        vocab_size=WORDS, dim=WIDTH, n_layers=2, n_heads=2, hidden_dim=12,
        max_position_embeddings=LENGTH, dropout=0.0, attention_dropout=0.0,
    )  # fmt: skip
    return transformers.DistilBertModel(config)


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        vocab_size=WORDS, n_embd=WIDTH, n_layer=2, n_head=2, n_positions=LENGTH,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return transformers.GPT2Model(config)


def text() -> tuple[Tensor, Tensor]:
    """Ids, of which 0 fills up, and the mask of what is no filling."""
    x = torch.randint(1, WORDS, (5, LENGTH), generator=torch.Generator().manual_seed(0))
    x[1, 3:], x[4, 5:] = 0, 0
    return x, (x != 0).long()


def grown(model: nn.Module, **options: bool) -> Adapted:
    """With two tasks that differ from the base in all they have."""
    adapted = adapt(model.double().eval(), **options)
    draws = torch.Generator().manual_seed(1)
    for task in ("a", "b"):
        adapted.add(task, ranks=2)
        for _, p in adapted.own(task):
            noise = torch.randn(p.shape, generator=draws, dtype=p.dtype)
            p.data.add_(0.2 * noise)
    return adapted


MODELS = pytest.mark.parametrize("make", [bert, distilbert, gpt2])


@MODELS
def test_merged_is_branches_with_named_inputs(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    adapted = grown(make())
    ids, mask = text()
    found = {}
    for task in ("a", "b", None):
        with adapted.as_task(task), torch.no_grad():
            found[task] = adapted(input_ids=ids, attention_mask=mask).last_hidden_state
        plain = adapted.merge(task)
        assert not any(isinstance(m, Perturbed) for m in plain.modules())
        with torch.no_grad():
            merged = plain(input_ids=ids, attention_mask=mask).last_hidden_state
        torch.testing.assert_close(merged, found[task], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(found["a"], found["b"])
    assert not torch.allclose(found["a"], found[None])


@MODELS
def test_every_projection_is_perturbed_and_embeddings_are_left(
    make: Callable[[], nn.Module],
) -> None:
    plain = make()
    projections = {
        name
        for name, m in plain.named_modules()
        if isinstance(m, nn.Linear) or type(m).__name__ == "Conv1D"
    }
    norms = [name for name, m in plain.named_modules() if isinstance(m, nn.LayerNorm)]
    tables = {name for name, m in plain.named_modules() if isinstance(m, nn.Embedding)}
    adapted = adapt(plain)
    adapted.add("t", ranks=1)
    assert ranks(adapted, "t").keys() == projections
    assert set(adapted.left) == tables
    own = [name for name, _ in adapted.own("t")]
    assert sum(n.endswith(".weight") for n in own) == len(norms)
    assert not any(f"model.{table}" in n for table in tables for n in own)


def test_tasks_of_samples_in_one_batch_of_token_ids(tmp_path: Path) -> None:
    torch.manual_seed(0)
    adapted = grown(Features(bert(add_pooling_layer=False), output="mean", padding=0))
    for i, task in enumerate(("a", "b")):
        adapted.import_task(adapted.export(task, tmp_path / task), i)
    ids, _ = text()
    task = torch.tensor([1, 0, 0, 1, 0])
    with torch.no_grad():
        mixed = adapted(ids, task)
        for i in range(len(ids)):
            alone = adapted(ids[i : i + 1], int(task[i]))
            torch.testing.assert_close(mixed[i : i + 1], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", [True, False])
def test_adding_tasks_leaves_the_mode(mode: bool) -> None:
    adapted = adapt(distilbert().train(mode))
    adapted.add("t", ranks=1)
    adapted.add_free("u")
    kinds = (nn.Dropout, nn.LayerNorm)
    assert {m.training for m in adapted.modules() if isinstance(m, kinds)} == {mode}


def test_a_vision_transformer() -> None:
    torch.manual_seed(0)
    backbone = vit((3, 8, 8), patch=4, width=8, depth=2, heads=2)
    with pytest.raises(ValueError, match=r"cls_token.*freeze_others"):
        adapt(backbone)
    adapted = grown(backbone, freeze_others=True)
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        branches = adapted(x, "a")
        torch.testing.assert_close(adapted.merge("a")(x), branches, rtol=1e-12, atol=1e-12)
        assert not torch.allclose(adapted(x, "b"), branches)


def test_a_layer_that_nothing_depends_on_has_no_importance() -> None:
    adapted = adapt(Features(bert(), output="mean", padding=0))
    adapted.add_free("t")
    ids, _ = text()
    batch = (ids, torch.tensor([0, 1, 2, 3, 0]))
    for form in ("mean", "fisher"):
        found = layer_importance(adapted, "t", [batch], form)
        assert found.pop("model.pooler.dense") == 0
        assert all(value > 0 for value in found.values())


def stream() -> Stream:
    """Two tasks of three intents: which of three words a sentence is full of."""
    draws = torch.Generator().manual_seed(2)
    tasks = []
    for t in range(2):
        y = torch.arange(48) % 3
        x = torch.randint(1, WORDS, (48, LENGTH), generator=draws)
        x[:, : LENGTH // 2] = (1 + y + 3 * t)[:, None]
        x[::3, LENGTH - 1] = 0
        split = Split(x, y + 3 * t)
        tasks.append(Task(f"t{t}", split, split.take(torch.arange(24))))
    return Stream(tasks, "task_incremental")


def test_a_pretrained_base_in_a_run() -> None:
    torch.manual_seed(0)
    model = bert()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    tasks = stream()
    learner = build_learner(Features(model, output="mean", padding=0), tasks, heads="per_task")
    training = holdfast.Training(epochs=10, batch_size=12, optimizer="adamw", lr=2e-2, device="cpu")
    record = holdfast.run(tasks, learner, HALRP(base="pretrained"), training)
    adapted = learner.backbone
    assert isinstance(adapted, Adapted)
    assert adapted.tasks == ("0", "1")
    adapted.check_base()
    base = adapted.merge(None).model.state_dict()
    assert base.keys() == before.keys()
    assert all(torch.equal(base[k], before[k]) for k in before)
    for task in ("0", "1"):
        merged = adapted.merge(int(task)).eval()
        ids, _ = text()
        learner.eval()
        with torch.no_grad():
            torch.testing.assert_close(merged(ids), adapted(ids, int(task)), rtol=1e-4, atol=1e-5)
        norm = adapted.model.model.embeddings.LayerNorm.tasks[task]
        assert not torch.equal(norm.weight, before["embeddings.LayerNorm.weight"])
    metrics = record.metrics()
    assert metrics["forgetting"] == 0
    assert metrics["acc"] > 0.8
