"""Statistics of all processes of a group, summed."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def reduced(
    state: dict[str, Any], device: torch.device, group: dist.ProcessGroup | None
) -> dict[str, Any]:
    """The sum of the states of `FeatureStatistics` over the processes of a group, on each.

    Headers (classes, settings) go first, so that every process knows every class and all refuse
    together; then the sums, one class's Gram at a time.

    Raises:
        RuntimeError: torch.distributed is not initialised.
        ValueError: on every process: their states do not add up.
    """
    if not dist.is_available() or not dist.is_initialized():
        raise RuntimeError(
            "all_reduce needs torch.distributed: call init_process_group on every process first"
        )
    own = {k: v for k, v in state.items() if not isinstance(v, Tensor) and k != "apart"}
    own["apart"] = sorted(int(c) for c in state["apart"])
    headers: list[dict[str, Any]] = [{} for _ in range(dist.get_world_size(group))]
    dist.all_gather_object(headers, own, group=group)
    _check(headers)
    classes = list(dict.fromkeys(c for h in headers for c in h["classes"]))
    rows = torch.tensor([classes.index(c) for c in state["classes"]], dtype=torch.int64)
    rows = rows.to(device)

    def summed(tensor: Tensor) -> Tensor:
        tensor = tensor.to(device, copy=True).contiguous()
        dist.all_reduce(tensor, group=group)
        return tensor

    width = state["width"]
    counts = torch.zeros(len(classes), dtype=torch.int64, device=device)
    sums = torch.zeros(len(classes), width, dtype=torch.float64, device=device)
    counts[rows] = state["counts"].to(device)
    sums[rows] = state["sums"].to(device)
    nothing = torch.zeros(width, width, dtype=torch.float64, device=device)
    prints = {h["backbone"] for h in headers if h["classes"]} or {h["backbone"] for h in headers}
    return {
        **own,
        "backbone": None if None in prints else prints.pop(),
        "batches": sum(h["batches"] for h in headers),
        "classes": classes,
        "counts": summed(counts),
        "sums": summed(sums),
        "pool": summed(state["pool"]),
        "balanced_pool": None if state["balanced_pool"] is None else summed(state["balanced_pool"]),
        "apart": {
            str(c): summed(state["apart"].get(str(c), nothing))
            for c in sorted({c for h in headers for c in h["apart"]})
        },
    }


def _check(headers: list[dict[str, Any]]) -> None:
    for name in ("width", "per_class"):
        found = [h[name] for h in headers]
        if len(set(found)) > 1:
            raise ValueError(f"{name} differs between the processes: {found}")
    prints = {h["backbone"] for h in headers if h["classes"]} - {None}
    if len(prints) > 1:
        raise ValueError(
            "the processes hold statistics of features of different backbones; give each the "
            "same parameters first"
        )
    if not headers[0]["per_class"]:
        return
    settled = {c for h in headers for c in h["classes"] if c not in h["apart"]}
    twice = sorted(c for c in settled if sum(c in h["classes"] for h in headers) > 1)
    if twice:
        raise ValueError(
            f"classes {twice[:8]} are settled on one process and known to another; settle after "
            "all_reduce"
        )
