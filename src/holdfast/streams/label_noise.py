"""Labels drawn at random: a share of a dataset's, or all of them anew for each task."""

import torch
from jaxtyping import Int64
from torch import Tensor

from holdfast.data.split import Dataset, Split
from holdfast.seeds import generator
from holdfast.streams.stream import Stream, Task


def noisy_labels(
    y: Int64[Tensor, " n"], classes: tuple[int, ...], fraction: float, seed: int = 0
) -> Int64[Tensor, " n"]:
    """Labels of which a share is drawn anew, uniformly over all classes.

    round(fraction * n) samples, chosen at random, get a label that says nothing of them; with k
    classes one of k such labels is the right one all the same, so that about fraction (1 - 1/k) of
    the labels are wrong. Which samples, and which labels, is a function of the labels' number, the
    classes and the seed; those of a larger fraction are these and more.

    Args:
        y: labels, which stay as they are.
        classes: to draw from.
        fraction: in [0, 1].
        seed: of the draws.

    Raises:
        ValueError: `fraction` outside [0, 1].

    >>> noisy_labels(torch.zeros(6, dtype=torch.int64), (3,), 0.5).sum().item()
    9
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"label_noise must be a fraction in [0, 1], got {fraction}")
    draws = generator(seed, "label noise")
    order = torch.randperm(len(y), generator=draws)
    drawn = torch.tensor(classes)[torch.randint(len(classes), (len(y),), generator=draws)]
    chosen = order[: round(fraction * len(y))].to(y.device)
    noisy = y.clone()
    noisy[chosen] = drawn.to(y.device)[chosen]
    return noisy


def relabelled(dataset: Dataset, tasks: int = 50, seed: int = 0) -> Stream:
    """The same images in each task, every label drawn anew: can a net still fit what it is given?

    There is nothing to generalise to, and nothing of one task helps with another: what a net loses
    from task to task is its trainability (Lyle et al., 2023, *Understanding plasticity in neural
    networks*; Dohare et al., 2024). The test split of a task is its training split, so that the
    record's accuracy and loss say how well it was fitted. The stream is domain-incremental.

    Args:
        dataset: whose training images are taken, all of them; a few hundred are enough
            (`Dataset.subset`).
        tasks: their number.
        seed: of the labels, uniform over the dataset's classes.

    Raises:
        ValueError: no tasks, or a dataset of regression targets.
    """
    if tasks < 1:
        raise ValueError(f"tasks must be a positive integer, got {tasks}")
    if dataset.is_regression:
        raise ValueError(f"relabelled needs class labels, {dataset.name!r} has regression targets")
    x, classes, made = dataset.train.x, torch.tensor(dataset.classes), []
    for i in range(tasks):
        drawn = torch.randint(len(classes), (len(x),), generator=generator(seed, "labels", i))
        split = Split(x, classes[drawn].to(x.device))
        made.append(
            Task(
                name=f"labels {i + 1}",
                train=split,
                test=split,
                classes=dataset.classes,
                transform=dataset.normalize,
            )
        )
    return Stream(made, "domain_incremental", dataset.name)
