import numpy as np
import pandas as pd
import pytest
import torch
from chunks import LastTwo, chunk, linear, quick, same
from safetensors import safe_open

from holdfast import ContinualClassifier
from holdfast.training.checkpoint import save_checkpoint

METHODS = ("finetune", "joint", "replay", "derpp", "ewc", "lwf", "agem")


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.safetensors"
    quick().fit(*chunk("a", "b")).save(path)
    return path


@pytest.mark.parametrize("method", METHODS)
def test_going_on_after_load_is_going_on(method, tmp_path):
    options = {"method": method, "net": {"name": "mlp", "hidden": [8], "dropout": 0.2}}
    model = quick(**options).partial_fit(*chunk("cat", "dog")).partial_fit(*chunk("ant", "dog"))
    model.save(tmp_path / "model")
    loaded = ContinualClassifier.load(tmp_path / "model")
    assert loaded.get_params() == model.get_params()
    assert loaded.classes_.tolist() == model.classes_.tolist()
    X, _ = chunk("cat", "ant", seed=5)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.growth_ == model.growth_
    for each in (model, loaded):
        each.partial_fit(*chunk("eel", "cat")).partial_fit(*chunk("bee"))
    assert same(model, loaded)
    assert loaded.loss_curve_ == model.loss_curve_
    assert loaded.n_tasks_ == 4
    assert (loaded.predict(X) == model.predict(X)).all()


def test_names_of_features_and_kind_of_labels_are_kept(tmp_path):
    X, y = chunk(3, 8)
    frame = pd.DataFrame(X, columns=["x", "y", "z"])
    model = quick(random_state=np.random.RandomState(0)).fit(frame, y.astype(np.int16))
    model.save(tmp_path / "model")
    loaded = ContinualClassifier.load(tmp_path / "model")
    assert loaded.feature_names_in_.tolist() == ["x", "y", "z"]
    assert loaded.n_features_in_ == 3
    assert loaded.classes_.dtype == np.int16
    assert (loaded.predict(frame) == model.predict(frame)).all()
    with pytest.raises(ValueError, match="feature names"):
        loaded.partial_fit(frame.rename(columns={"x": "w"}), y)


def test_the_file_holds_tensors_and_json(saved):
    with safe_open(saved, framework="np") as file:
        assert set(file.metadata()) == {"format", "checksum", "tree"}
        assert any(key.endswith("learner/heads.weight") for key in file.keys())  # noqa: SIM118


def test_a_file_is_cut_or_another_one(saved, tmp_path):
    whole = saved.read_bytes()
    for length in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="truncated or no checkpoint"):
            ContinualClassifier.load(saved)
    save_checkpoint(saved, {"learner": {"weight": torch.zeros(2)}})
    with pytest.raises(ValueError, match="holds no ContinualClassifier of this version"):
        ContinualClassifier.load(saved)
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        ContinualClassifier.load(tmp_path / "nothing")


def test_objects_are_given_again(tmp_path):
    path, net, method = tmp_path / "model", linear((3,)), LastTwo()
    model = quick(net=net, method=method).fit(*chunk(0, 1))
    model.save(path)
    with pytest.raises(ValueError, match=r"whose (net|method) was an object; .*load\(path, "):
        ContinualClassifier.load(path)
    fresh, untouched = linear((3,)), linear((3,)).weight
    loaded = ContinualClassifier.load(path, net=fresh, method=LastTwo())
    assert same(loaded, model)
    assert torch.equal(fresh.weight, untouched)
    assert same(loaded.partial_fit(*chunk(2)), model.partial_fit(*chunk(2)))
    with pytest.raises(ValueError, match=r"does not fit the arguments given: (?s:.*)size mismatch"):
        ContinualClassifier.load(path, net=linear((3,), width=5), method=LastTwo())


def test_a_file_cannot_name_what_is_run(tmp_path):
    path, name = tmp_path / "model", "chunks:linear"
    model = quick(net=name).fit(*chunk(0, 1))
    model.save(path)
    with pytest.raises(ValueError, match=r"not Holdfast's own, 'chunks:linear'; .*load\(path, net"):
        ContinualClassifier.load(path)
    assert same(ContinualClassifier.load(path, net=name), model)


def test_arguments_may_be_changed_on_load(saved):
    assert ContinualClassifier.load(saved, epochs=7, device="cpu").epochs == 7
    with pytest.raises(ValueError, match=r"no key 'epoch' .*did you mean 'epochs'"):
        ContinualClassifier.load(saved, epoch=7)
    with pytest.raises(ValueError, match="does not fit"):
        ContinualClassifier.load(saved, net={"name": "mlp", "hidden": [9]})


def test_an_earlier_file_outlives_a_failed_save(saved, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        quick().fit(*chunk(0, 1)).save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
