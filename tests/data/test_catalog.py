import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from tables import write

from holdfast.data import Dataset, Normalize, available, bag_of_words, digits, hub, load

START = [1, 5, 7, 2, 7, 8, 5, 6, 0, 5, 1, 7]
ROWS = {"x": [[1.0], [2.0]], "y": [0, 1]}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path / "root"))
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "_reachable", lambda endpoint: False)
    monkeypatch.setattr(hub.need("datasets", "test").config, "HF_DATASETS_CACHE", tmp_path)


class TestDigits:
    def test_hold_all_images_once(self):
        data = digits()
        raw = load_digits()
        x = torch.cat([data.train.x, data.test.x]).reshape(-1, 64).numpy()
        y = torch.cat([data.train.y, data.test.y]).numpy()
        found = np.column_stack([x, y])
        expected = np.column_stack([raw.data.astype(np.uint8), raw.target])
        assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, expected.tolist()))
        assert data.train.x.dtype == torch.uint8
        assert data.input_shape == (1, 8, 8)
        assert int(data.train.x.max()) == 16

    def test_a_fifth_of_each_class_is_for_testing(self):
        data = digits()
        train, test = torch.bincount(data.train.y), torch.bincount(data.test.y)
        assert (len(data.train), len(data.test)) == (1438, 359)
        assert ((test - (train + test) / 5).abs() <= 0.5).all()
        assert data.class_names == tuple("0123456789")
        assert data.normalize == Normalize.of(data.train.x)

    def test_are_the_same_at_every_call(self):
        assert torch.equal(digits().test.x, digits().test.x)
        # a change of the split changes every published number
        assert digits().test.y[:12].tolist() == START


class TestLoad:
    def test_default(self):
        assert load().name == "digits"

    def test_folder(self, root):
        write(root / "mine", train=ROWS, test=ROWS)
        data = load("mine")
        assert data.name == "mine"
        assert data.train.x.tolist() == [[1.0], [2.0]]
        assert load("mine", source="folder").name == "mine"

    def test_folder_comes_before_the_hub(self, root, monkeypatch):
        monkeypatch.setattr(Dataset, "from_hub", None)
        columns = {"text": ["a b", "c d"], "intent": [0, 1], "domain": [0, 0]}
        write(root / "clinc150", train=columns, test=columns)
        assert load("clinc150").train.x.shape == (2, 2048)
        assert load("clinc150", encode=lambda t: torch.zeros(len(t), 3)).train.x.shape == (2, 3)

    def test_hub(self, monkeypatch):
        asked = []
        monkeypatch.setattr(
            Dataset, "from_hub", lambda name, encode: asked.append(name) or digits()
        )
        monkeypatch.delenv("HOLDFAST_DATA", raising=False)
        load("mnist")
        load("someone/something", source="hub")
        assert asked == ["mnist", "someone/something"]

    def test_missing_says_where_it_looked_and_how_to_get_it(self, root):
        with pytest.raises(FileNotFoundError) as caught:
            load("mnist")
        said = str(caught.value)
        assert f"{root / 'mnist'}: no such folder" in said
        assert "ylecun/mnist is not in" in said
        assert "cannot be reached" in said
        assert 'pip install "holdfast[data]"' in said
        assert "set HOLDFAST_DATA to the folder above it" in said

    def test_missing_without_a_folder_or_a_hub(self, monkeypatch):
        monkeypatch.delenv("HOLDFAST_DATA", raising=False)
        with pytest.raises(FileNotFoundError, match="HOLDFAST_DATA is not set") as caught:
            load("notmnist")
        assert "hub." not in str(caught.value)

    def test_half_a_folder(self, root):
        write(root / "mnist", train=ROWS)
        with pytest.raises(FileNotFoundError, match=r"mnist: it lacks test\.parquet"):
            load("mnist", source="folder")

    def test_names(self, root):
        with pytest.raises(ValueError, match="unknown dataset 'minst'; did you mean 'mnist'"):
            load("minst")
        with pytest.raises(ValueError, match="'mnist' is not embedded"):
            load("mnist", source="embedded")
        with pytest.raises(ValueError, match="encode is for sentences"):
            load("digits", encode=bag_of_words)


class TestAvailable:
    def test_lists_embedded_folders_and_hub(self, root):
        write(root / "mine", train=ROWS, test=ROWS)
        write(root / "half", train=ROWS)
        write(root / "mnist", train=ROWS, test=ROWS)
        (root / "mnist" / "test.parquet").write_bytes(b"damaged")
        found = {a.name: a for a in available()}
        assert found["digits"].rows == {"train": len(digits().train), "test": len(digits().test)}
        assert (found["mine"].place, found["mine"].rows) == ("folder", {"train": 2, "test": 2})
        assert (found["mnist"].place, found["mnist"].rows) == ("folder", {})
        assert found["cifar100"].where == "uoft-cs/cifar100"
        assert "half" not in found
        assert "notmnist" not in found

    def test_without_a_folder(self, monkeypatch):
        monkeypatch.delenv("HOLDFAST_DATA", raising=False)
        assert {a.place for a in available()} == {"embedded", "hub"}


class TestReal:
    @pytest.fixture(autouse=True)
    def folder(self, data_folder):
        return data_folder

    def test_notmnist(self):
        data = load("notmnist")
        assert data.train.x.shape == (7843, 1, 28, 28)
        assert len(data.test) == 1960
        assert data.class_names == tuple("ABCDEFGHIJ")
        assert torch.equal(load("notmnist").test.x, data.test.x)

    def test_clinc150(self):
        data = load("clinc150", encode=lambda texts: torch.tensor([[len(t)] for t in texts]))
        assert torch.bincount(data.train.y).tolist() == [100] * 150
        assert torch.bincount(data.test.y).tolist() == [30] * 150
        assert data.validation is not None
        assert torch.bincount(data.validation.y).tolist() == [20] * 150
        assert torch.bincount(torch.tensor(data.groups)).tolist() == [15] * 10
        assert data.group_names[data.groups[data.class_names.index("book_flight")]] == "travel"

    def test_omniglot(self):
        data = load("omniglot")
        assert torch.bincount(data.train.y).tolist() == [15] * 1623
        assert torch.bincount(data.test.y).tolist() == [5] * 1623
        assert len(data.group_names) == len(set(data.groups)) == 50
        for label in (0, 963, 964, 1622):
            alphabet = data.class_names[label].split(":")[1].split("/")[0]
            assert data.group_names[data.groups[label]] == alphabet
