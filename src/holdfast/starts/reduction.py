"""Statistics of all processes of a group, summed."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from holdfast.starts.kinship import Origin, common_backbone


def reduced(
    state: dict[str, Any], origin: Origin, device: torch.device, group: Any
) -> dict[str, Any]:
    """The sum of the states of `FeatureStatistics` over the processes of a group, on each.

    What each process knows goes first, so that all see every class and refuse together; then the
    sums, one class's Gram at a time.

    Raises:
        RuntimeError: torch.distributed is not initialised.
        ValueError: on every process: their statistics cannot be added.
    """
    if not dist.is_available() or not dist.is_initialized():
        raise RuntimeError(
            "all_reduce needs torch.distributed: call init_process_group on every process first"
        )
    gathered: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(gathered, (origin, state["batches"], state["pooled"]), group=group)
    origins: list[Origin] = [known[0] for known in gathered]
    backbone = common_backbone(origins)
    classes = list(dict.fromkeys(c for o in origins for c in o.classes))
    pooled = sorted({c for known in gathered for c in known[2]})
    position = {c: i for i, c in enumerate(classes)}
    rows = torch.tensor([position[c] for c in origin.classes], dtype=torch.int64)

    def summed(tensor: Tensor) -> Tensor:
        tensor = tensor.to(device, copy=True).contiguous()
        dist.all_reduce(tensor, group=group)
        return tensor

    def spread(own: Tensor) -> Tensor:
        return own.new_zeros(len(classes), *own.shape[1:]).index_copy_(0, rows.to(own.device), own)

    nothing = torch.zeros_like(state["pool"])
    return {
        "width": origin.width,
        "per_class": origin.per_class,
        "backbone": backbone,
        "batches": sum(known[1] for known in gathered),
        "classes": classes,
        "counts": summed(spread(state["counts"])),
        "sums": summed(spread(state["sums"])),
        "pool": summed(state["pool"]),
        "balanced": None if state["balanced"] is None else summed(state["balanced"]),
        "pooled": pooled,
        "apart": {
            str(c): summed(state["apart"].get(str(c), nothing))
            for c in sorted(set(classes) - set(pooled))
        },
    }
