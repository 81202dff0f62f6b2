"""The dataset that needs no files."""

import torch

from holdfast.data.normalize import Normalize
from holdfast.data.split import Dataset, Split
from holdfast.data.stratify import stratified


def digits() -> Dataset:
    """Handwritten digits of 8 x 8 pixels, embedded in scikit-learn: the default dataset.

    1,797 images as uint8 (n, 1, 8, 8) with raw values 0 .. 16, ten classes. A fifth of each class
    (359 images) is the test split, the same at every call; the rest is the train split, from
    which `normalize` is taken. Alpaydin & Kaynak, 1998 (UCI, test part).
    """
    from sklearn.datasets import load_digits

    raw = load_digits()
    x = torch.from_numpy(raw.images).to(torch.uint8)[:, None]
    y = torch.from_numpy(raw.target).to(torch.int64)
    held = torch.zeros(len(y), dtype=torch.bool)
    held[stratified(y, fraction=0.2, seed=0)] = True
    train = Split(x[~held], y[~held])
    return Dataset(
        train,
        Split(x[held], y[held]),
        class_names=tuple(str(d) for d in range(10)),
        normalize=Normalize.of(train.x),
        name="digits",
    )
