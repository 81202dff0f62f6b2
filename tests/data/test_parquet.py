import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tables import image_column, noise, table, write

from holdfast.data import Dataset, Normalize, bag_of_words, images

NAMES = {"label": ["cat", "dog", "eel"]}


def pictures(n: int, seed: int = 0, **more: list) -> dict:
    labels = [i % 3 for i in range(n)]
    return {"image": image_column(noise(n, 4, 5, seed=seed)), "label": labels, **more}


class TestImages:
    def test_come_with_names_and_normalisation(self, tmp_path):
        folder = write(
            tmp_path / "pets",
            NAMES,
            train=pictures(9),
            test=pictures(3, 1),
            validation=pictures(6, 2),
        )
        data = Dataset.from_parquet(folder)
        assert torch.equal(data.train.x[:, 0], torch.from_numpy(noise(9, 4, 5)))
        assert data.train.y.tolist() == [0, 1, 2] * 3
        assert data.class_names == ("cat", "dog", "eel")
        assert data.normalize == Normalize.of(data.train.x)
        assert data.name == "pets"
        assert data.validation is not None
        assert (len(data.test), len(data.validation)) == (3, 6)

    def test_are_decoded_once(self, tmp_path, monkeypatch, cache_folder):
        folder = write(tmp_path / "pets", NAMES, train=pictures(9), test=pictures(3, 1))
        first = Dataset.from_parquet(folder)
        decode = images.decode
        monkeypatch.setattr(images, "decode", None)
        again = Dataset.from_parquet(folder)
        assert torch.equal(first.train.x, again.train.x)
        assert torch.equal(first.test.y, again.test.y)
        assert (first.class_names, first.normalize) == (again.class_names, again.normalize)
        # another content of the same size under the same name is another dataset
        monkeypatch.setattr(images, "decode", decode)
        write(folder, NAMES, test=pictures(3, 7))
        assert torch.equal(
            Dataset.from_parquet(folder).test.x[:, 0], torch.from_numpy(noise(3, 4, 5, seed=7))
        )
        assert len(list(cache_folder.iterdir())) == 2

    def test_bare_bytes_and_shards(self, tmp_path):
        folder = tmp_path / "pets" / "data"
        folder.mkdir(parents=True)
        for i in range(3):
            columns = pictures(3, seed=i)
            columns["image"] = [c["bytes"] for c in columns["image"]]
            pq.write_table(table(columns), folder / f"train-0000{i}-of-00003.parquet")
        pq.write_table(table(columns), folder / "test-00000-of-00001.parquet")
        data = Dataset.from_parquet(tmp_path / "pets")
        expected = np.concatenate([noise(3, 4, 5, seed=i) for i in range(3)])
        assert torch.equal(data.train.x[:, 0], torch.from_numpy(expected))

    def test_path_without_bytes(self, tmp_path):
        columns = {
            "image": pa.array(
                [{"bytes": None, "path": "a.png"}],
                pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
            ),
            "label": [0],
        }
        folder = write(tmp_path / "pets", train=columns, test=columns)
        with pytest.raises(
            ValueError, match=r"row 0 of column 'image' .* must be part of the table"
        ):
            Dataset.from_parquet(folder)


class TestLabels:
    def folder(self, tmp_path, train, test=None, names=None, **more):
        def columns(labels):
            return {
                "features": [[float(i), 1.0] for i in range(len(labels))],
                "label": labels,
                **more,
            }

        return write(tmp_path / "rows", names, train=columns(train), test=columns(test or train))

    @pytest.mark.parametrize(
        ("labels", "names"),
        [
            (["b", "a", "c"], ("a", "b", "c")),
            ([10, 9, 11], ("9", "10", "11")),
            (pa.array(["b", "a", "c"]).dictionary_encode(), ("a", "b", "c")),
            (pa.array([1, 0, 2], pa.uint8()), ("0", "1", "2")),
        ],
    )
    def test_of_any_kind_are_numbered_in_their_order(self, tmp_path, labels, names):
        data = Dataset.from_parquet(self.folder(tmp_path, labels))
        assert data.class_names == names
        assert data.train.y.tolist() == [1, 0, 2]

    def test_floats_are_targets(self, tmp_path):
        data = Dataset.from_parquet(self.folder(tmp_path, [0.5, 1.5]))
        assert data.train.y.tolist() == [[0.5], [1.5]]
        wide = Dataset.from_parquet(self.folder(tmp_path, [[0.5, 1.0], [1.5, 2.0]]))
        assert wide.train.y.tolist() == [[0.5, 1.0], [1.5, 2.0]]

    @pytest.mark.parametrize(
        ("labels", "names", "error", "match"),
        [
            ([0, None], None, ValueError, "lacks 1 labels"),
            ([0, -1], NAMES, ValueError, "holds label -1, which has no name: labels lie in 0..2"),
            ([0, 3], NAMES, ValueError, "holds label 3"),
            ([0.5, None], None, ValueError, "lacks 1 targets"),
            ([{"a": 1}], None, TypeError, "no labels"),
        ],
    )
    def test_refuses(self, tmp_path, labels, names, error, match):
        with pytest.raises(error, match=match):
            Dataset.from_parquet(self.folder(tmp_path, labels, names=names))

    def test_groups(self, tmp_path):
        folder = self.folder(
            tmp_path, [0, 1, 2, 0], names=NAMES | {"kind": ["fish", "pet"]}, kind=[1, 1, 0, 1]
        )
        data = Dataset.from_parquet(folder, group="kind")
        assert data.groups == (1, 1, 0)
        assert data.group_names == ("fish", "pet")
        assert Dataset.from_parquet(folder).groups == ()

    def test_a_class_has_one_group(self, tmp_path):
        folder = self.folder(tmp_path, [0, 1, 0], names=NAMES, kind=["a", "a", "b"])
        with pytest.raises(
            ValueError, match="class 'cat' belongs to two groups in column 'kind': 'a' and 'b'"
        ):
            Dataset.from_parquet(folder, group="kind")
        folder = self.folder(tmp_path, [0, 0], names=NAMES, kind=["a", "a"])
        with pytest.raises(ValueError, match=r"classes \['dog', 'eel'\] have no samples"):
            Dataset.from_parquet(folder, group="kind")


class TestSamples:
    def test_vectors(self, tmp_path):
        columns = {
            "embedding": pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2)),
            "label": [0, 1],
        }
        tokens = {"ids": [[1, 2, 3], [4, 5, 6]], "label": [0, 1]}
        data = Dataset.from_parquet(write(tmp_path / "a", train=columns, test=columns))
        assert data.train.x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert data.normalize is None
        data = Dataset.from_parquet(write(tmp_path / "b", train=tokens, test=tokens), x="ids")
        assert data.train.x.dtype == torch.int64
        assert data.train.x.tolist() == [[1, 2, 3], [4, 5, 6]]

    def test_text(self, tmp_path):
        columns = {"text": ["hello there", "good bye"], "label": [0, 1]}
        folder = write(tmp_path / "talk", train=columns, test=columns)
        assert torch.equal(Dataset.from_parquet(folder).train.x, bag_of_words(columns["text"]))
        lengths = Dataset.from_parquet(
            folder, encode=lambda texts: torch.tensor([[float(len(t))] for t in texts])
        )
        assert lengths.train.x.tolist() == [[11.0], [8.0]]

    @pytest.mark.parametrize(
        ("column", "error", "match"),
        [
            ([[1.0], [1.0, 2.0]], ValueError, r"differ in length: \[1, 2\]"),
            ([1, 2], TypeError, "images, sentences or lists of numbers can be read"),
            ([[1.0], None], ValueError, "lacks 1 samples"),
            ([["a"], ["b"]], TypeError, "lists of numbers can be read"),
        ],
    )
    def test_refuses(self, tmp_path, column, error, match):
        columns = {"x": column, "y": [0, 1]}
        with pytest.raises(error, match=match):
            Dataset.from_parquet(write(tmp_path / "a", train=columns, test=columns))

    def test_encode_is_for_text(self, tmp_path):
        columns = {"x": [[1.0], [2.0]], "y": [0, 1]}
        with pytest.raises(ValueError, match="encode is for sentences, but column 'x'"):
            Dataset.from_parquet(
                write(tmp_path / "a", train=columns, test=columns), encode=bag_of_words
            )


class TestFolder:
    def test_says_what_is_missing(self, tmp_path):
        with pytest.raises(
            FileNotFoundError, match="nowhere: no such folder; a dataset is a folder with"
        ):
            Dataset.from_parquet(tmp_path / "nowhere")
        write(tmp_path / "half", train={"x": [[1.0]], "y": [0]})
        with pytest.raises(FileNotFoundError, match=r"it lacks test\.parquet"):
            Dataset.from_parquet(tmp_path / "half")

    def test_columns(self, tmp_path):
        columns = {"picture": [[1.0]], "kind": [0]}
        folder = write(tmp_path / "a", train=columns, test=columns)
        with pytest.raises(
            ValueError, match=r"name the column to use as x: x=...; it has \['picture', 'kind'\]"
        ):
            Dataset.from_parquet(folder)
        with pytest.raises(ValueError, match="y='lable' is no column"):
            Dataset.from_parquet(folder, x="picture", y="lable")
        assert len(Dataset.from_parquet(folder, x="picture", y="kind").train) == 1
        write(folder, test={"picture": [[1.0]], "other": [0]})
        with pytest.raises(ValueError, match=r"test\.parquet has no column 'kind'"):
            Dataset.from_parquet(folder, x="picture", y="kind")

    @pytest.mark.parametrize("keep", [0, 10, -40])
    def test_files_that_are_cut_short(self, tmp_path, keep):
        columns = {"x": [[1.0]] * 50, "y": [0] * 50}
        folder = write(tmp_path / "a", train=columns, test=columns)
        whole = (folder / "train.parquet").read_bytes()
        (folder / "train.parquet").write_bytes(whole[:keep])
        with pytest.raises(ValueError, match=r"train\.parquet is no readable parquet file"):
            Dataset.from_parquet(folder)

    def test_empty_files(self, tmp_path):
        columns = {"x": pa.array([], pa.list_(pa.float32())), "y": pa.array([], pa.int64())}
        with pytest.raises(ValueError, match="holds no rows"):
            Dataset.from_parquet(write(tmp_path / "a", train=columns, test=columns))


class TestKnown:
    def test_omniglot_is_split_by_drawing(self, tmp_path):
        """Two files with different characters become one dataset of all characters."""

        def file(characters: range, first: int) -> dict:
            rows = [(c, d) for d in reversed(range(20)) for c in characters]
            pixels = np.array([[[first + c, d]] for c, d in rows], dtype=np.uint8)
            return {
                "image": image_column(pixels),
                "character": [c for c, _ in rows],
                "alphabet": [c // 2 for c, _ in rows],
                "drawer": [d for _, d in rows],
            }

        folder = tmp_path / "omniglot"
        write(
            folder,
            {"character": ["a1", "a2", "b1"], "alphabet": ["a", "b"]},
            train=file(range(3), 0),
        )
        write(folder, {"character": ["c1", "c2"], "alphabet": ["c"]}, test=file(range(2), 3))
        data = Dataset.from_parquet(folder)
        assert data.class_names == ("a1", "a2", "b1", "c1", "c2")
        assert data.groups == (0, 0, 1, 2, 2)
        assert data.group_names == ("a", "b", "c")
        for split, drawings in ((data.train, range(15)), (data.test, range(15, 20))):
            assert torch.equal(split.x[:, 0, 0, 0].long(), split.y)
            found = sorted(zip(split.y.tolist(), split.x[:, 0, 0, 1].tolist(), strict=True))
            assert found == [(c, d) for c in range(5) for d in drawings]

    def test_clinc_leaves_out_what_is_out_of_scope(self, tmp_path):
        texts = [f"sentence {i}" for i in range(6)]
        columns = {"text": texts, "intent": [0, 1, 2, 2, 1, 0], "domain": [0, 0, 1, 1, 0, 0]}
        names = {"intent": ["yes", "oos", "apr"], "domain": ["talk", "bank"]}
        data = Dataset.from_parquet(
            write(tmp_path / "clinc150", names, train=columns, test=columns)
        )
        assert data.class_names == ("apr", "yes")
        assert data.train.y.tolist() == [1, 0, 0, 1]
        assert torch.equal(data.train.x, bag_of_words([texts[i] for i in (0, 2, 3, 5)]))
        assert data.groups == (1, 0)


class TestOptional:
    @pytest.mark.parametrize("module", ["pyarrow", "pyarrow.parquet", "PIL.Image"])
    def test_names_the_extra(self, tmp_path, monkeypatch, module):
        folder = write(tmp_path / "pets", NAMES, train=pictures(3), test=pictures(3))
        monkeypatch.setitem(__import__("sys").modules, module, None)
        with pytest.raises(ImportError, match=r'pip install "holdfast\[data\]"'):
            Dataset.from_parquet(folder)
