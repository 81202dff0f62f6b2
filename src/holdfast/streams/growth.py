"""A stream in which more and more of one dataset is at hand."""

from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral

import torch
from jaxtyping import Int, Int64
from torch import Tensor

from holdfast.data.split import Dataset, Split
from holdfast.seeds import generator
from holdfast.streams.holdout import hold_out
from holdfast.streams.label_noise import noisy_labels
from holdfast.streams.stream import Stream, Task


def growing(
    dataset: Dataset,
    stages: int = 2,
    uniform: float = 1.0,
    sizes: Sequence[float] | None = None,
    shuffle_classes: bool = False,
    label_noise: float = 0.0,
    validation: float = 0.0,
    seed: int = 0,
) -> Stream:
    """Nested training sets D_1 < D_2 < ... < D_n = D: each task holds all the samples before it.

    D is parted into D_u and D_c with |D_u| / |D| = r. D_u arrives evenly over the stages, each
    class in proportion. The classes are parted into C_1 ... C_n, and the samples of D_c arrive
    with their class:

        D_i = D_(i-1) + D_(u,i) + {(x, c) in D_c : c in C_i}.

    r = 1 is uniform growth, r = 0 class-incremental growth with full memory; the less, the larger
    the shift of the classes between stages. Two stages are pretraining on a part and tuning on the
    whole, the warm start of Ash & Adams (2020); the definition is that of Berariu et al. (2021,
    *A study on the plasticity of neural networks*).

    Every task has all classes, the whole test set, and the same validation set drawn from the
    whole. The stream is domain-incremental.

    Args:
        dataset: with class labels, or regression targets if r = 1.
        stages: number of tasks.
        uniform: the fraction r of the samples that arrive evenly, in [0, 1].
        sizes: fraction of D (of D_u and of the classes each) at hand at each stage, increasing to
            1, in place of `stages`; by default i / stages.
        shuffle_classes: part the classes in an order drawn by `seed`, else by their labels.
        label_noise: share of the training samples whose label is drawn at random
            (`noisy_labels`): the same label at each stage. A sample arrives with its own class;
            labels of validation and test samples stay right.
        validation: fraction of the training samples held out, see `hold_out`.
        seed: of the samples' and the classes' order, of the noise and of what is held out.

    Raises:
        ValueError: `uniform` or `label_noise` outside [0, 1], sizes that do not increase to 1, or
            a stage that brings no new sample.
    """
    if not 0 <= uniform <= 1:
        raise ValueError(f"uniform must be a fraction in [0, 1], got {uniform}")
    if not isinstance(stages, Integral) or stages < 1:
        raise ValueError(f"stages must be a positive integer, got {stages}")
    if dataset.is_regression and uniform < 1:
        raise ValueError(f"uniform must be 1 for regression targets, got {uniform}")
    if dataset.is_regression and label_noise:
        raise ValueError(f"label_noise must be 0 for regression targets, got {label_noise}")
    ends = [(i + 1) / stages for i in range(stages)] if sizes is None else list(sizes)
    if not ends or ends[-1] != 1 or not all(0 < a < b for a, b in pairwise(ends)):
        raise ValueError(f"sizes must be fractions that increase to 1, got {ends}")
    train, held = hold_out(dataset, validation, seed)
    stage = _stage_of_samples(train, ends, uniform, shuffle_classes, seed)
    new = stage.bincount(minlength=len(ends))
    if int(new.min()) == 0:
        raise ValueError(
            f"stage {int(new.argmin()) + 1} of {len(ends)} brings no new sample: there are "
            f"{len(train)} samples of {len(train.classes)} classes, of which a fraction "
            f"uniform={uniform} arrives evenly; ask for fewer stages"
        )
    # Sorted by arrival, the samples of a stage are the first ones: all stages share one tensor.
    index = stage.argsort(stable=True).to(train.x.device)
    y = train.y
    if not train.is_regression:
        y = noisy_labels(y, dataset.classes, label_noise, seed)
    x, y = train.x[index], y[index]
    tasks = [
        Task(
            name=f"stage {i + 1}",
            train=Split(x[:count], y[:count]),
            test=dataset.test,
            validation=held,
            classes=dataset.classes,
            transform=dataset.normalize,
        )
        for i, count in enumerate(new.cumsum(0).tolist())
    ]
    return Stream(tasks, "domain_incremental", dataset.name)


def _stage_of_samples(
    train: Split, ends: Sequence[float], uniform: float, shuffle_classes: bool, seed: int
) -> Int64[Tensor, " n"]:
    labels = torch.zeros(len(train)) if train.is_regression else train.y.cpu()
    present, label, count = labels.unique(return_inverse=True, return_counts=True)
    # Each class spread evenly over [0, 1) with an offset of its own: the samples below any
    # threshold are a stratified draw, and the first k of them one of exactly k.
    draw = generator(seed, "growth")
    rank = _rank_in_class(label, draw)
    offset = torch.rand(len(present), generator=draw, dtype=torch.float64)
    order = ((rank + offset[label]) / count[label]).argsort(stable=True)
    even = order[: round(uniform * len(order))]
    places = torch.arange(len(present))
    if shuffle_classes:
        places = torch.randperm(len(present), generator=generator(seed, "classes"))
    stage = _stages(len(present), ends)[places][label]
    stage[even] = _stages(len(even), ends)
    return stage


def _rank_in_class(label: Int[Tensor, " n"], draw: torch.Generator) -> Int64[Tensor, " n"]:
    """Each sample's place in a random order of its class, from 0."""
    shuffled = torch.randperm(len(label), generator=draw)
    by_class = shuffled[label[shuffled].argsort(stable=True)]
    counts = label.bincount()
    start = counts.cumsum(0) - counts
    rank = torch.empty_like(label)
    rank[by_class] = torch.arange(len(label)) - start[label[by_class]]
    return rank


def _stages(items: int, ends: Sequence[float]) -> Int64[Tensor, " items"]:
    """The stage of each of `items` things in a row, of which round(end * items) are there at it."""
    counts = torch.tensor([round(end * items) for end in ends])
    return torch.searchsorted(counts, torch.arange(items), right=True)
