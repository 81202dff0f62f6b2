"""Networks of one width beside the theory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from holdfast.theory.finite import networks
from holdfast.theory.solution import Progress, Solution
from holdfast.theory.stored import read, write


@dataclass(frozen=True, eq=False)
class AtWidth:
    """What is kept of the networks of a width.

    Args:
        width: N.
        seeds: (S,) of their weights.
        losses: (S, T + 1, tasks) over time.
        features: (S, L, R) |Phi - Phi_theory| / |Phi_theory| in the Frobenius norm, of the feature
            kernel of each layer at 0 and the ends of tasks.
    """

    width: int
    seeds: tuple[int, ...]
    losses: Float[Tensor, "seeds times tasks"]
    features: Float[Tensor, "seeds layers kept"]

    def save(self, path: str | Path) -> None:
        """Write one file, as `Solution.save` does.

        Raises:
            OSError: it could not be written; one of before is untouched.
        """
        tensors = {"losses": self.losses, "features": self.features}
        write(path, tensors, {"networks": {"width": self.width, "seeds": self.seeds}})

    @property
    def whole(self) -> Bool[Tensor, " seeds"]:
        """Which networks did not diverge."""
        return torch.isfinite(self.losses).flatten(1).all(1)

    @classmethod
    def load(cls, path: str | Path) -> "AtWidth":
        """What `save` wrote; nothing is unpickled.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it holds something else.
        """
        tensors, header = read(path)
        if "networks" not in header:
            raise ValueError(f"{path} holds no networks of a width")
        own = header["networks"]
        return cls(own["width"], tuple(own["seeds"]), tensors["losses"], tensors["features"])


def at_width(
    solution: Solution,
    width: int,
    seeds: int | Sequence[int] = 10,
    *,
    centred: bool = True,
    memory: int | None = None,
    progress: Progress | None = None,
) -> AtWidth:
    """The part of a comparison that is of one width; arguments as of `networks`.

    Kernels are compared at those of 0 and the ends of tasks which the solution keeps.
    """
    times = [t for t in sorted({0, *solution.ends}) if t in solution.kept]
    made = networks(
        solution.problem, width, seeds, centred=centred, kept=times or 1, memory=memory,
        progress=progress,
    )  # fmt: skip
    distances = []
    for t in times:
        place, own = solution.kept.index(t), made.kept.index(t)
        theory = solution.features[:, place, :, place]
        apart = made.features[:, :, own, :, own] - theory
        distances.append(apart.norm(dim=(2, 3)) / theory.norm(dim=(1, 2)))
    empty = made.losses.new_empty(len(made.seeds), solution.problem.depth, 0)
    features = torch.stack(distances, -1) if distances else empty
    return AtWidth(width, made.seeds, made.losses.cpu(), features.cpu())
