"""Omniglot-Rotation: a hundred small tasks, each character in four orientations."""

from dataclasses import replace

import torch

from holdfast.data.split import Dataset, Split
from holdfast.streams.holdout import hold_out
from holdfast.streams.orders import Order
from holdfast.streams.splitting import split
from holdfast.streams.stream import Scenario, Stream


def omniglot_rotation(
    dataset: Dataset,
    tasks: int = 100,
    classes_per_task: int = 12,
    order: Order = None,
    scenario: Scenario = "task_incremental",
    validation: float = 0.0,
    seed: int = 0,
) -> Stream:
    """The first characters of Omniglot, 12 a task, each image also turned by 90, 180 and 270.

    A turned image keeps its label. Training, test and validation samples are all turned, and
    validation samples are held out before, so that no drawing is on two sides.

    As Yoon et al. (2020, *Scalable and Order-robust Continual Learning with Additive Parameter
    Decomposition*) build it: 1,200 characters, 20 drawings each, 15 for training.

    Args:
        dataset: of square images with class labels; train and test hold the same characters.
        tasks: number of tasks.
        classes_per_task: characters a task, by ascending label.
        order: of the tasks, a permutation.
        scenario: what the learner is told, see `Stream`.
        validation: fraction of the training drawings held out, see `hold_out`.
        seed: of what is held out.

    Raises:
        ValueError: images that are not square, too few characters, a character without samples, or
            an order that is no permutation.
    """
    shape = dataset.input_shape
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ValueError(f"omniglot_rotation needs square images, got samples of shape {shape}")
    train, held = hold_out(dataset, validation, seed)
    turned = replace(
        dataset,
        train=_turned(train),
        test=_turned(dataset.test),
        validation=None if held is None else _turned(held),
    )
    return split(turned, tasks, scenario, classes_per_task=classes_per_task, order=order)


def _turned(images: Split) -> Split:
    turns = [images.x.rot90(quarters, (-2, -1)) for quarters in range(4)]
    return Split(torch.cat(turns), images.y.repeat(4, *(1 for _ in images.y.shape[1:])))
