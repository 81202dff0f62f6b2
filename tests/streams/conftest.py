"""Small datasets made by hand."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from holdfast.data.split import Dataset, Split
from holdfast.seeds import generator

MakeDataset = Callable[..., Dataset]


@pytest.fixture(scope="session")
def make_dataset() -> MakeDataset:
    """Datasets whose samples are all different, so that each can be told by its values."""

    def make(
        counts: Sequence[int] = (8,) * 6,
        shape: tuple[int, ...] = (2,),
        test_counts: Sequence[int] | None = None,
        **fields: Any,
    ) -> Dataset:
        train = labelled(counts, shape, 0)
        test = labelled(counts if test_counts is None else test_counts, shape, 1)
        return Dataset(train, test, **fields)

    def labelled(counts: Sequence[int], shape: tuple[int, ...], kind: int) -> Split:
        y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        y = y[torch.randperm(len(y), generator=generator(0, "labels", kind))]
        values = torch.arange(len(y) * math.prod(shape), dtype=torch.float32)
        return Split(values.view(len(y), *shape) + 0.5 * kind, y)

    return make
