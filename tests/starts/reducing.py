"""The two processes of `test_statistics_reduction`: their meeting and folder are arguments."""

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from shards import samples, streamed

from holdfast.starts import FeatureStatistics


def refused(statistics: FeatureStatistics) -> str:
    """What `all_reduce` says."""
    try:
        statistics.all_reduce()
    except ValueError as error:
        return str(error)
    return ""


def main(rank: int, meeting: str, folder: Path) -> None:
    """Reduce what this rank has; the class order, sums and refusals go to the folder."""
    dist.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    x, y = samples(100, 4, 6)
    mine = (y < 4) if rank == 0 else (y >= 2)
    half = mine & (torch.arange(100) % 2 == rank)
    streamed(x[half], y[half]).all_reduce().save(folder / f"pooled{rank}")
    apart = streamed(x[half], y[half], per_class=True, backbone="aa")
    own = [c for c in apart.classes if (c < 2) == (rank == 0) and (c < 2 or c >= 4)]
    apart.settle(own)
    apart.all_reduce().save(folder / f"apart{rank}")
    lonely = streamed(x, y) if rank else FeatureStatistics(4)
    lonely.all_reduce().save(folder / f"lonely{rank}")
    messages = [
        refused(FeatureStatistics(3 + rank)),
        refused(streamed(x, y, backbone="ab"[rank])),
        refused(streamed(x, y, per_class=bool(rank))),
    ]
    (folder / f"refused{rank}").write_text("\n".join(messages))
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    # Importing takes longer than all else: it is done once, for both.
    other = os.fork()
    main(0 if other else 1, sys.argv[1], Path(sys.argv[2]))
    if other:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]))
