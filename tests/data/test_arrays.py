import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import IterableDataset, Subset, TensorDataset

from holdfast.data import Dataset, Normalize

X, Y = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])


class TestLabels:
    @given(
        st.one_of(
            st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=20),
            st.lists(st.text(max_size=5), min_size=1, max_size=20),
            st.lists(st.booleans(), min_size=1, max_size=20),
        ),
        st.booleans(),
    )
    def test_are_numbered_in_their_order(self, labels, as_array):
        given_labels = np.array(labels, dtype=object) if as_array else labels
        x = np.zeros((len(labels), 1))
        data = Dataset.from_arrays(x, given_labels, x[:1], labels[:1])
        distinct = sorted(set(labels))
        assert data.class_names == tuple(str(d) for d in distinct)
        assert data.train.y.tolist() == [distinct.index(v) for v in labels]

    @pytest.mark.parametrize(
        "labels",
        [
            np.array(["b", "a", "b", "c"]),
            np.array([5, 2, 5, 9], np.uint8),
            torch.tensor([5, 2, 5, 9]),
        ],
    )
    def test_array_dtypes(self, labels):
        data = Dataset.from_arrays(X, labels, X, labels)
        assert data.train.y.tolist() == [1, 0, 1, 2]

    def test_names_make_integers_positions(self):
        data = Dataset.from_arrays(X, Y, X, Y, class_names=["a", "b", "unused"])
        assert data.class_names == ("a", "b", "unused")
        assert data.train.y.tolist() == [0, 1, 0, 1]

    def test_names_order_strings(self):
        labels = ["b", "a", "b", "a"]
        data = Dataset.from_arrays(X, labels, X, labels, class_names=["b", "a"])
        assert data.train.y.tolist() == [0, 1, 0, 1]

    @pytest.mark.parametrize(
        ("y", "options", "error", "match"),
        [
            ([0, "a", 0, 1], {}, TypeError, "y_train mixes labels that do not sort"),
            ([None, "a", "a", "b"], {}, TypeError, "mixes labels"),
            (np.eye(4, dtype=int), {}, ValueError, "pass their argmax"),
            (
                [0, 1, 2, 5],
                {"class_names": ["a", "b", "c"]},
                ValueError,
                r"\[5\] that are not among the 3",
            ),
            (Y, {"class_names": ["a", "a"]}, ValueError, r"\['a'\] more than once"),
            ([0.0, 1.5, 0.0, 1.0], {"regression": False}, ValueError, "got 1.5 at position 1"),
            ([0.0, np.nan, 0.0, 1.0], {"regression": False}, ValueError, "got nan at position 1"),
            ([0.0, np.inf, 0.0, 1.0], {}, ValueError, "Split.y holds NaN or infinity"),
            ([0.0, 0.0, 0.0, 1.0], {"class_names": ["a"]}, ValueError, "the targets are floats"),
            (["a", "b", "a", "b"], {"regression": True}, TypeError, "must hold real numbers"),
        ],
    )
    def test_refuses(self, y, options, error, match):
        with pytest.raises(error, match=match):
            Dataset.from_arrays(X, y, X, y, **options)

    def test_refuses_labels_that_training_lacks(self):
        with pytest.raises(
            ValueError, match=r"y_test holds labels \['c'\] that are not among those of"
        ):
            Dataset.from_arrays(X, ["a", "b", "a", "b"], X[:1], ["c"])


class TestTargets:
    def test_floats_are_targets(self):
        data = Dataset.from_arrays(X, Y / 2, X, Y / 2)
        assert data.is_regression
        assert data.train.y.tolist() == [[0.0], [0.5], [0.0], [0.5]]

    def test_integers_become_targets_on_request(self):
        data = Dataset.from_arrays(X, Y, X, Y, regression=True)
        assert data.train.y.dtype == torch.float32
        assert data.train.y.shape == (4, 1)

    def test_whole_floats_become_labels_on_request(self):
        data = Dataset.from_arrays(X, Y * 2.0, X, Y * 2.0, regression=False)
        assert data.class_names == ("0", "2")

    def test_kinds_must_agree(self):
        with pytest.raises(ValueError, match="y_test holds floats, the other targets do not"):
            Dataset.from_arrays(X, Y, X, Y / 2)


class TestSamples:
    @pytest.mark.parametrize(
        ("given_dtype", "kept"),
        [
            (np.float64, torch.float32),
            (np.float16, torch.float32),
            (np.dtype(">f4"), torch.float32),
            (bool, torch.float32),
            (np.uint8, torch.uint8),
            (np.int32, torch.int64),
            (np.uint16, torch.int64),
        ],
    )
    def test_dtypes(self, given_dtype, kept):
        values = np.array([[0, 1], [1, 0], [1, 1], [0, 0]])
        data = Dataset.from_arrays(
            values.astype(given_dtype), Y, torch.from_numpy(values).to(kept), Y
        )
        assert data.train.x.dtype == data.test.x.dtype == kept
        assert data.train.x.tolist() == values.tolist()

    def test_memory_is_shared_only_where_it_may_be(self):
        own = np.zeros((4, 2), np.float32)
        fixed = np.zeros((4, 2), np.float32)
        fixed.flags.writeable = False
        data = Dataset.from_arrays(own, Y, fixed[:, ::-1], Y)
        own[0, 0] = 5
        assert data.train.x[0, 0] == 5
        data.test.x[0, 0] = 5
        assert fixed.max() == 0

    def test_images_are_normalised_and_vectors_are_not(self):
        images = np.arange(16, dtype=np.uint8).reshape(4, 1, 2, 2)
        assert Dataset.from_arrays(images, Y, images, Y).normalize == Normalize.of(
            torch.from_numpy(images)
        )
        assert Dataset.from_arrays(X, Y, X, Y).normalize is None
        own = Normalize((0.0,), (255.0,))
        assert Dataset.from_arrays(images, Y, images, Y, normalize=own).normalize is own
        assert Dataset.from_arrays(images, Y, images, Y, normalize=None).normalize is None

    @pytest.mark.parametrize(
        ("x", "error", "match"),
        [
            (
                np.zeros((3, 2)),
                ValueError,
                r"x_train and y_train differ in length: \(3, 2\) and \(4,\)",
            ),
            (np.zeros((0, 2)), ValueError, "x_train holds no samples"),
            ([["a"]] * 4, TypeError, "x_train must hold real numbers"),
            (np.zeros((4, 2), complex), TypeError, "x_train must hold real numbers"),
            ([[1.0], [1.0, 2.0], [1.0], [1.0]], ValueError, "x_train is no regular array"),
            (np.full((4, 2), np.nan), ValueError, "Split.x holds NaN or infinity in 4 of 4"),
            (np.zeros((4, 3)), ValueError, r"test samples have shape \(2,\), train samples \(3,\)"),
        ],
    )
    def test_refuses(self, x, error, match):
        with pytest.raises(error, match=match):
            Dataset.from_arrays(x, Y, X, Y)

    def test_refuses_sparse_matrices(self):
        from scipy.sparse import csr_matrix

        with pytest.raises(TypeError, match=r"sparse matrix; pass x_train\.toarray"):
            Dataset.from_arrays(csr_matrix(X), Y, X, Y)

    def test_validation_comes_in_pairs(self):
        data = Dataset.from_arrays(X, Y, X, Y, X[:2], Y[:2], groups=(0, 0), group_names=("g",))
        assert data.validation is not None
        assert len(data.validation) == 2
        assert data.group_names == ("g",)
        with pytest.raises(ValueError, match="given together"):
            Dataset.from_arrays(X, Y, X, Y, X)


class Pictures:
    """A map-style dataset in the manner of torchvision's."""

    def __init__(self, mode: str, n: int = 6) -> None:
        self.mode, self.n = mode, n
        self.classes = ["cat", "dog"]

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple:
        return Image.new(self.mode, (3, 2), i if self.mode == "L" else (i, 0, 9)), i % 2


class Endless(IterableDataset):
    def __iter__(self):
        return iter(())


class TestFromTorch:
    @pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
    def test_pictures(self, mode, channels):
        data = Dataset.from_torch(Pictures(mode), Pictures(mode, 2))
        assert data.train.x.shape == (6, channels, 2, 3)
        assert data.train.x.dtype == torch.uint8
        assert data.train.x[:, 0, 0, 0].tolist() == list(range(6))
        assert data.class_names == ("cat", "dog")

    def test_tensors(self):
        x, y = torch.randn(10, 3), torch.arange(10) % 2
        whole = Dataset.from_torch(TensorDataset(x, y), TensorDataset(x[:4], y[:4]))
        assert torch.equal(whole.train.x, x)
        part = Subset(TensorDataset(x, y), [3, 1, 2])
        data = Dataset.from_torch(part, part, part)
        assert torch.equal(data.train.x, x[[3, 1, 2]])
        assert data.train.y.tolist() == [1, 1, 0]
        assert data.validation is not None

    def test_arrays_and_targets(self):
        pairs = [(np.full((2,), i, np.float32), np.float32(i / 2)) for i in range(4)]
        data = Dataset.from_torch(pairs, pairs)
        assert data.train.y.tolist() == [[0.0], [0.5], [1.0], [1.5]]
        wide = [(torch.zeros(2), torch.tensor([i, 1.0])) for i in range(4)]
        assert Dataset.from_torch(wide, wide).train.y.shape == (4, 2)

    @pytest.mark.parametrize(
        ("train", "error", "match"),
        [
            (Endless(), TypeError, "train must be a map-style dataset"),
            (3, TypeError, "got int; collect its samples"),
            ([], ValueError, "train is empty"),
            ([torch.zeros(2)], TypeError, "item 0 of train is no .* pair but a Tensor"),
            (
                [(torch.zeros(2), 0), (torch.zeros(3), 1)],
                ValueError,
                r"item 1 of train has shape \(3,\)",
            ),
            (TensorDataset(torch.zeros(2, 2)), TypeError, "got 1 tensors"),
        ],
    )
    def test_refuses(self, train, error, match):
        with pytest.raises(error, match=match):
            Dataset.from_torch(train, train)
