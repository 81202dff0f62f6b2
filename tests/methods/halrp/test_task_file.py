"""Tasks that go from one copy of the base to another by a file."""

from pathlib import Path

import pytest
import torch
from adapted_network import adapted, batch, network, train
from perturbed_cases import shake
from torch import nn

from holdfast.methods import halrp


def test_a_task_goes_to_another_copy_of_the_base(tmp_path):
    model, x = adapted(0), batch()
    model.add_free("t", outputs=5)
    shake(nn.ParameterList(p for _, p in model.own("t")))
    plan = halrp.compress(model, "t", [(x, torch.arange(5))], alpha=0.8)
    file = model.export("t", tmp_path / "t.safetensors")
    other = halrp.adapt(network(), heads=["8"]).eval()
    assert other.import_task(file) == "t"
    assert torch.equal(other(x, "t"), model(x, "t"))
    assert other.plans["t"] == plan
    assert other.import_task(file, "again") == "again"
    with pytest.raises(ValueError, match="'t' is there already"):
        other.import_task(file)
    train(other, "t", 1)


def test_the_file_of_a_task_has_its_low_rank_part_in_the_fewest_bytes(tmp_path):
    model = halrp.adapt(nn.Linear(300, 200))
    model.add("t", 20)
    shake(nn.ParameterList(p for _, p in model.own("t")))
    sizes = [model.export("t", tmp_path / "dense").stat().st_size]
    halrp.quantise(model, "t", "int8")
    sizes.append(model.export("t", tmp_path / "int8").stat().st_size)
    halrp.prune(model, halrp.Pruning(share=0.9))
    file = model.export("t", tmp_path / "sparse")
    sizes.append(file.stat().st_size)
    entries, others = 20 * 500, 4 * 2 * 200 + 4 * 300 + 2 * 20 * 2
    wanted = [4 * entries + others, entries + others, entries * (0.1 + 1 / 8) + others]
    assert all(w - 80 <= s <= w + 600 for s, w in zip(sizes, wanted, strict=True))
    x = torch.randn(3, 300)
    again = halrp.adapt(model.merge(None))
    again.import_task(file)
    assert torch.equal(again(x, "t"), model(x, "t"))


def test_files_that_do_not_fit_are_refused(tmp_path):
    model = adapted()
    file = model.export(1, tmp_path / "one.safetensors")
    others = {
        "made on another base": halrp.adapt(network(seed=1), heads=["8"]),
        "made with conv='flat', here is 'constant'": halrp.adapt(
            network(), heads=["8"], conv="constant"
        ),
        "does not fit module '8'": halrp.adapt(network()),
        "has its own '0', which does not differ": halrp.adapt(network(), heads=["8"], skip=["0"]),
    }
    for message, other in others.items():
        with pytest.raises(ValueError, match=message):
            other.import_task(file)
        assert other.tasks == ()
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match="is damaged"):
        adapted(0).import_task(file)
    with pytest.raises(FileNotFoundError, match="no task at"):
        adapted(0).import_task(Path("none.safetensors"))
    file.write_bytes(b"short")
    with pytest.raises(ValueError, match="cut short"):
        adapted(0).import_task(file)
    model.add_free("free")
    with pytest.raises(ValueError, match="'free' is still free in"):
        model.export("free", file)
