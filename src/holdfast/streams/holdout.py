"""Validation samples: a part of the training samples held out by fraction and seed."""

import torch

from holdfast.data.split import Dataset, Split
from holdfast.data.stratify import stratified
from holdfast.seeds import derive


def hold_out(dataset: Dataset, fraction: float, seed: int = 0) -> tuple[Split, Split | None]:
    """The training and the validation split of a dataset.

    Of the n training samples of each class round(fraction * n) are held out, at least one, and of
    regression targets that many of all. Which ones depends on the dataset, the fraction and the
    seed alone: streams of other tasks or another order hold out the same samples, and a larger
    fraction holds out these and more.

    Args:
        dataset: with class labels or regression targets.
        fraction: of the training samples; 0 keeps the dataset's own split: its training samples
            and the validation samples its authors chose, if they did. A positive fraction leaves
            the authors' validation samples unused.
        seed: of the draw.

    Raises:
        ValueError: `fraction` lies outside [0, 1), or would leave a class without training samples.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"validation must be a fraction in [0, 1), got {fraction}")
    train = dataset.train
    if fraction == 0:
        return train, dataset.validation
    held = torch.zeros(len(train), dtype=torch.bool)
    held[stratified(train.y, fraction=fraction, seed=derive(seed, "validation"))] = True
    kept = train.y.cpu()[~held]
    bare = sorted(set(train.classes) - set(kept.unique().tolist()))
    if len(kept) == 0 or (bare and not train.is_regression):
        whose = "" if train.is_regression else f" of class {bare[0]}"
        raise ValueError(
            f"validation={fraction} leaves no training samples{whose}; choose a smaller fraction"
        )
    held = held.to(train.x.device)
    return train.take(~held), train.take(held)
