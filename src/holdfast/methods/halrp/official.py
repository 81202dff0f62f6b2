"""The options of the authors' code."""

from holdfast.methods.halrp.method import HALRP, Choice
from holdfast.methods.halrp.pruning import Scope


def official(
    *,
    alpha: float = 0.9,
    most: int = 100,
    warm_up: int = 1,
    choice: Choice = "curvature",
    l1: float = 1e-4,
    decay: float = 1e-4,
    growth: float | None = 0.2,
    prune_below: float = 1e-5,
    prune_over: Scope = "task",
) -> HALRP:
    """HALRP as the authors' code computes it (lijiaqi/HALRP, September 2024).

    Low-rank parts constant over a kernel's window, r and s by its formula with the mistake of
    broadcasting, importance by the mean over entries, r and s drawn to 0, and all tasks pruned
    again after each. The defaults are its settings for Split-CIFAR-100 with LeNet: there Adam with
    rate 1e-3, times .95 an epoch, batches of 128, 20 epochs. Other benchmarks of its scripts: `l1`
    1e-6 and `growth` .6 for permuted MNIST (`decay` 1e-3) and five data sets (`decay` 1e-4; ResNet
    `alpha` .95, `most` 120, `warm_up` 3); for TinyImageNet `growth` .6, `warm_up` 20 to 25 of 50.

    Args:
        alpha: share of the total score that ranks keep.
        most: largest rank of a layer.
        warm_up: epochs.
        choice: see `HALRP`.
        l1: weight of |U| + |V|.
        decay: of r, s, U, V and of the base.
        growth: most, in the paper's count; `None` prunes nothing.
        prune_below: absolute value up to which entries go, where any do.
        prune_over: what the share that goes is of.
    """
    pruned = growth is not None
    return HALRP(
        alpha=alpha,
        most=most,
        warm_up=warm_up,
        choice=choice,
        importance="mean",
        scaling="official",
        conv="constant",
        l1=l1,
        decay=decay,
        towards=0.0,
        growth=growth,
        growth_by="pruning" if pruned else "ranks",
        storage="float32",
        prune_below=prune_below if pruned else 0.0,
        prune_over=prune_over if pruned else "task",
    )
