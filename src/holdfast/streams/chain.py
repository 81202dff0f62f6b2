"""Several datasets, one after another."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from holdfast.data.split import Dataset, Split
from holdfast.streams.compose import Compose
from holdfast.streams.holdout import hold_out
from holdfast.streams.stream import Scenario, Stream, Task


@dataclass(frozen=True)
class Fit:
    """Images brought to one size and number of channels.

    Smaller images get a border of 0, an odd row or column of it at the bottom or right; the one
    channel of grey images is repeated.

    Args:
        channels, height, width: of the result.
    """

    channels: int
    height: int
    width: int

    def __call__(self, x: Tensor) -> Tensor:
        """Bring a batch (n, channels or 1, height or less, width or less) to the size."""
        tall, wide = self.height - x.shape[-2], self.width - x.shape[-1]
        border = (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2)
        return functional.pad(x, border).expand(-1, self.channels, -1, -1)


def chained(
    datasets: Sequence[Dataset],
    scenario: Scenario = "task_incremental",
    validation: float = 0.0,
    seed: int = 0,
) -> Stream:
    """One task for each dataset, images brought to the largest size among them by `Fit`.

    Borders are 0 in the raw values, and each dataset is normalised as it is on its own. Class
    labels of a dataset are moved past those of the datasets before it, so that each is unique,
    except in a domain-incremental stream, where all datasets must have the same labels and keep
    them.

    Args:
        datasets: of different names; images (n, channels, height, width), or samples of one shape.
        scenario: what the learner is told, see `Stream`.
        validation: fraction of the training samples of each held out, see `hold_out`.
        seed: of what is held out.

    Raises:
        ValueError: no datasets, two of one name, shapes that cannot be matched, or, in a
            domain-incremental stream, differing classes.
    """
    if not datasets:
        raise ValueError("datasets is empty: a stream needs at least one task")
    names = [dataset.name for dataset in datasets]
    if len(set(names)) < len(names):
        raise ValueError(f"datasets must have different names, got {names}; rename with replace")
    fit = _common_size(datasets)
    tasks, offset = [], 0
    for dataset in datasets:
        train, held = hold_out(dataset, validation, seed)
        tasks.append(
            Task(
                name=dataset.name,
                train=_moved(train, offset),
                test=_moved(dataset.test, offset),
                validation=None if held is None else _moved(held, offset),
                classes=tuple(c + offset for c in dataset.classes),
                transform=Compose.of(fit, dataset.normalize),
            )
        )
        if scenario != "domain_incremental" and not dataset.is_regression:
            offset += max(dataset.classes) + 1
    return Stream(tasks, scenario, "+".join(names))


def _common_size(datasets: Sequence[Dataset]) -> Fit | None:
    shapes = {dataset.name: dataset.input_shape for dataset in datasets}
    if len(set(shapes.values())) == 1:
        return None
    if any(len(shape) != 3 for shape in shapes.values()):
        raise ValueError(f"only images (channels, height, width) can be matched, got {shapes}")
    channels, height, width = (max(sizes) for sizes in zip(*shapes.values(), strict=True))
    if any(shape[0] not in (1, channels) for shape in shapes.values()):
        raise ValueError(f"images must have 1 or {channels} channels to be matched, got {shapes}")
    return Fit(channels, height, width)


def _moved(split: Split, offset: int) -> Split:
    return split if offset == 0 or split.is_regression else Split(split.x, split.y + offset)
