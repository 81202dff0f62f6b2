import pytest
import torch
from small_adapted import low_rank, small_model, small_net
from torch import nn

from holdfast.methods.halrp import Pruning, adapt, load_packed, prune, save_packed
from holdfast.methods.halrp.packed_file import packed
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner

X = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
def test_loads_to_the_same_outputs_bit_for_bit(storage, share, tmp_path):
    model = small_model(tasks=3, storage=storage)
    prune(model, Pruning(share=share))
    path = save_packed(model, tmp_path / "tasks.safetensors")
    again = adapt(small_net(seed=9), base_task=0).eval()
    load_packed(again, path)
    assert again.tasks == model.tasks
    for task in model.tasks:
        assert torch.equal(again(X, task), model(X, task))
    assert {n: t.tolist() for n, t in again.state_dict().items()} == {
        n: t.tolist() for n, t in model.state_dict().items()
    }
    assert save_packed(again, tmp_path / "again").read_bytes() == path.read_bytes()


def test_tasks_that_are_there_are_replaced(tmp_path):
    path = save_packed(small_model(tasks=1, rank=1), tmp_path / "tasks")
    model = small_model(tasks=3)
    load_packed(model, path)
    assert model.tasks == ("0", "1")
    assert torch.equal(model(X, 1), small_model(tasks=1, rank=1)(X, 1))


def test_a_learner_with_its_heads(tmp_path):
    def learner(tasks: int) -> Learner:
        made = Learner(small_model(tasks), TaskHeads(6)).eval()
        for i in range(tasks + 1):
            made.heads.accommodate(i, [3 * i + c for c in range(2 + i)])
        return made

    saved, loaded = learner(2), learner(0)
    load_packed(loaded, save_packed(saved, tmp_path / "learner"))
    for task in range(3):
        assert torch.equal(loaded(X, task), saved(X, task))
        assert torch.equal(loaded.predict(X, task), saved.predict(X, task))


def test_storage_shrinks_the_file():
    sizes = [
        len(packed(small_model(tasks=4, rank=5, storage=s)).content)
        for s in ("float32", "bfloat16", "int8")
    ]
    entries = 4 * sum(m.numel() for m in low_rank(small_model(1, rank=5), "1"))
    scales = 4 * 4 * 10
    assert sizes[0] - sizes[1] == pytest.approx(2 * entries, abs=64)
    assert sizes[1] - sizes[2] == pytest.approx(entries - scales, abs=64)


def test_a_plain_module(tmp_path):
    saved, loaded = nn.Linear(3, 2), nn.Linear(3, 2)
    load_packed(loaded, save_packed(saved, tmp_path / "plain"))
    assert torch.equal(loaded.weight, saved.weight)


def test_refuses_what_it_did_not_write(tmp_path):
    model, path = small_model(), tmp_path / "tasks"
    with pytest.raises(FileNotFoundError, match="no packed tasks at"):
        load_packed(model, path)
    save_packed(model, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="is cut short"):
        load_packed(model, path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match="is damaged"):
        load_packed(model, path)
    model.export(1, path)
    with pytest.raises(ValueError, match="format is 'holdfast-halrp-task-2'"):
        load_packed(model, path)
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="holds another model"):
        load_packed(adapt(nn.Linear(3, 2)), path)


def test_another_model_is_left_as_it_was(tmp_path):
    path = save_packed(small_model(), tmp_path / "tasks")
    other = adapt(nn.Sequential(nn.Linear(80, 6), nn.LayerNorm(6)), base_task=0)
    before = {name: t.tolist() for name, t in other.state_dict().items()}
    with pytest.raises(ValueError, match="holds another model than the one given"):
        load_packed(other, path)
    assert {name: t.tolist() for name, t in other.state_dict().items()} == before
