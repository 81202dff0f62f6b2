"""Statistics of the features that a net makes of data."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from holdfast.nets.learner import Learner
from holdfast.starts.fingerprint import fingerprint
from holdfast.starts.statistics import FeatureStatistics


@torch.no_grad()
def collect(
    net: nn.Module,
    x: Tensor | Iterable[tuple[Tensor, Tensor]],
    labels: Tensor | None = None,
    *,
    batch_size: int = 256,
    per_class: bool = False,
    task: int | None = None,
) -> FeatureStatistics:
    """One pass of data through a net, in evaluation mode, and the statistics of its features.

    The mode of each module is put back, whatever happens. The statistics lie where the features
    do, and carry the `fingerprint` of the backbone.

    Args:
        net: a `holdfast.nets.Learner`, whose `features` are taken, or a backbone: a module that
            gives features (n, width).
        x: (n, ...) inputs, or an iterable of batches (inputs, labels), such as a `DataLoader`.
        labels: (n,) class numbers; `None` with batches.
        batch_size: inputs at a time; batches stay as they come.
        per_class: see `FeatureStatistics`.
        task: position of the task, for backbones that compute another function for each.

    Raises:
        TypeError: `net` is no module, or labels are missing or given twice.
        ValueError: there are no samples, `batch_size` is below 1, the net gives no (n, width)
            features, or what `FeatureStatistics.update` refuses.
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"net must be a torch module, got {type(net).__name__}")
    backbone = net.backbone if isinstance(net, Learner) else net
    place = next(backbone.parameters(), None)
    modes = [(module, module.training) for module in backbone.modules()]
    found: FeatureStatistics | None = None
    backbone.eval()
    try:
        for inputs, targets in _batches(x, labels, batch_size):
            inputs = inputs if place is None else inputs.to(place.device)
            features = backbone(inputs, task) if _per_task(backbone) else backbone(inputs)
            if not isinstance(features, Tensor) or features.ndim != 2:
                got = tuple(features.shape) if isinstance(features, Tensor) else type(features)
                raise ValueError(f"the net must give features of shape (n, width), got {got}")
            if found is None:
                found = FeatureStatistics(
                    features.shape[1],
                    per_class=per_class,
                    backbone=fingerprint(backbone),
                    device=features.device,
                )
            found.update(features, targets)
    finally:
        for module, training in modes:
            module.training = training
    if found is None:
        raise ValueError("there are no samples to collect statistics of")
    return found


def _per_task(backbone: nn.Module) -> bool:
    return bool(getattr(backbone, "per_task", False))


def _batches(
    x: Tensor | Iterable[tuple[Tensor, Tensor]], labels: Tensor | None, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    if not isinstance(x, Tensor):
        if labels is not None:
            raise TypeError("labels come with the batches; leave the argument out")
        yield from x
        return
    if labels is None:
        raise TypeError("labels are missing; they may be left out where x gives (inputs, labels)")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if len(labels) != len(x):
        raise ValueError(f"{len(x)} inputs need as many labels, got {len(labels)}")
    if len(x):
        yield from zip(x.split(batch_size), labels.split(batch_size), strict=True)
