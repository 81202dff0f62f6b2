"""What a probe takes of the batch it is shown."""

import torch
from jaxtyping import Int64
from torch import Tensor

from holdfast.streams.batches import Batch


def shown_task(batch: Batch) -> str:
    """The task of a batch, as a name under which a probe keeps what it must remember.

    Raises:
        ValueError: the batch mixes tasks.
    """
    if isinstance(batch.task, Tensor):
        raise ValueError("batch must be of one task, whose position is batch.task; got one a row")
    return str(batch.task)


def evenly_spaced(count: int, most: int) -> Int64[Tensor, " chosen"]:
    """Positions of at most `most` of `count` samples, the first and the last among them.

    Of samples that are sorted by class a slice would show one class alone.

    >>> evenly_spaced(9, 5).tolist(), evenly_spaced(2, 5).tolist()
    ([0, 2, 4, 6, 8], [0, 1])
    """
    return torch.linspace(0, count - 1, min(count, most), dtype=torch.float64).round().long()


def shown_samples(batch: Batch, most: int) -> Batch:
    """At most `most` samples of a batch, evenly spaced.

    >>> shown_samples(Batch(torch.arange(9), torch.arange(9), 0), 3).x.tolist()
    [0, 4, 8]
    """
    chosen = evenly_spaced(len(batch), most).to(batch.x.device)
    task = batch.task[chosen] if isinstance(batch.task, Tensor) else batch.task
    return Batch(batch.x[chosen], batch.y[chosen], task)
