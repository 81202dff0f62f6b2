"""What comes of holding networks against the theory."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.records.files import write_atomic
from holdfast.records.intervals import Interval
from holdfast.records.strict_json import dumps, loads
from holdfast.theory.at_width import AtWidth
from holdfast.theory.gaps import Gaps, slope, typical
from holdfast.theory.solution import Solution
from holdfast.theory.words import aligned, problem_words, shown

What = Literal["losses", "features", "forgetting"]
_FORMAT = "holdfast theory comparison 1"


@dataclass(frozen=True, eq=False)
class Comparison:
    """A solution, and networks of several widths that were trained on the same problem.

    Args:
        solution: of infinite width.
        finite: ascending in width.
    """

    solution: Solution
    finite: tuple[AtWidth, ...]

    def gaps(self, what: What = "losses") -> Gaps:
        """The distance of each single network from the theory, by width; NaN where it diverged.

        - ``losses``: |L - L_theory| / |L_theory|, norms over all times and tasks;
        - ``features``: the relative distance of feature kernels, root mean square over layers and
          times;
        - ``forgetting``: |F - F_theory|, root mean square over tasks but the last.
        """
        if what not in get_args(What):
            raise ValueError(f"what must be one of {get_args(What)}, got {what!r}")
        return {at.width: self._gap(at, what).double().cpu().numpy() for at in self.finite}

    def gap(self, what: What = "losses") -> dict[int, Interval]:
        """Root mean square of `gaps` over the networks of a width, with bootstrap intervals."""
        return {width: typical(found) for width, found in self.gaps(what).items()}

    def slope(self, what: What = "losses") -> Interval:
        """Exponent a of gap ~ N^a of single networks, about -1/2; see `holdfast.theory.slope`."""
        return slope(self.gaps(what))

    @property
    def mean_gap(self) -> dict[int, float]:
        """|mean L - L_theory| / |L_theory|, the mean being over the networks of a width."""
        theory = self.solution.losses.cpu()
        means = {at.width: at.losses[at.whole].mean(0) for at in self.finite}
        return {w: float((mean - theory).norm() / theory.norm()) for w, mean in means.items()}

    @property
    def theory_error(self) -> float:
        """The theory's own standard error, relative to its losses as the gap is; 0 without draws.

        Gaps that are not well above it are those of the theory's sampling.
        """
        error = self.solution.loss_error
        return 0.0 if error is None else float(error.norm() / self.solution.losses.norm())

    @cached_property
    def band(self) -> Float[Tensor, "times tasks"]:
        """c(t) of the N^(-1/2) band: losses of a network of width N differ by c(t) / sqrt(N).

        The root mean square over all networks of sqrt(N) |L - L_theory|.
        """
        theory = self.solution.losses.cpu()
        scaled = [at.width * (at.losses[at.whole] - theory).square() for at in self.finite]
        return torch.cat(scaled).mean(0).sqrt()

    def forgetting(self) -> dict[int, Float[Tensor, "seeds tasks"]]:
        """F_j of each network, by width."""
        return {at.width: self._forgetting(at) for at in self.finite}

    def diverged(self) -> dict[int, int]:
        """How many networks of each width did."""
        return {at.width: int((~at.whole).sum()) for at in self.finite}

    def text(self) -> str:
        """A row a width, then what the rows say."""
        losses, features, forgetting = (self.gap(what) for what in get_args(What))
        rows = [["width", "networks", "losses", "their mean", "features", "forgetting"]]
        for at in self.finite:
            n = at.width
            mean = shown(self.mean_gap[n])
            others = (shown(features[n]), shown(forgetting[n]))
            rows.append([str(n), str(int(at.whole.sum())), shown(losses[n]), mean, *others])
        first = float(self.solution.forgetting[0])
        lines = [
            problem_words(self.solution.problem),
            f"solved by {self.solution.solver}; forgetting of the first task {first:.4g}",
            "gaps to it, root mean square over networks [95 % interval]:",
            aligned(rows),
        ]
        slopes = {what: self.slope(what) for what in get_args(What)}
        lines += [
            f"gap of {what} ~ N^{shown(found)}, about -0.5 expected"
            for what, found in slopes.items()
            if not math.isnan(found.mean)
        ]
        if self.theory_error:
            error = shown(self.theory_error)
            lines.append(f"standard error of the theory's losses, as a gap: {error}")
        lines += [
            f"{count} networks of width {width} diverged and are left out"
            for width, count in self.diverged().items()
            if count
        ]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def save(self, folder: str | Path) -> None:
        """Write the solution, a file a width, and ``comparison.json``, which names the widths.

        Raises:
            OSError: a file could not be written.
        """
        folder = Path(folder)
        self.solution.save(folder / "solution.safetensors")
        for at in self.finite:
            at.save(folder / f"width-{at.width}.safetensors")
        widths = [at.width for at in self.finite]
        write_atomic(folder / "comparison.json", dumps({"format": _FORMAT, "widths": widths}))

    @classmethod
    def load(cls, folder: str | Path) -> "Comparison":
        """What `save` wrote; nothing is unpickled.

        Raises:
            FileNotFoundError: a file is not there.
            ValueError: a file holds something else.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder of a comparison at {folder}")
        told = loads((folder / "comparison.json").read_text(encoding="utf-8"))
        if not isinstance(told, dict) or told.get("format") != _FORMAT:
            raise ValueError(f"{folder} holds no comparison: comparison.json says {told!r}")
        finite = [AtWidth.load(folder / f"width-{width}.safetensors") for width in told["widths"]]
        return cls(Solution.load(folder / "solution.safetensors"), tuple(finite))

    def _gap(self, at: AtWidth, what: What) -> Tensor:
        theory = self.solution.losses.cpu()
        if what == "losses":
            found = (at.losses - theory).flatten(1).norm(dim=1) / theory.norm()
        elif what == "features":
            found = at.features.square().mean((1, 2)).sqrt()
        else:
            own = self._forgetting(at) - self.solution.forgetting.cpu()
            found = own[:, : max(1, own.shape[1] - 1)].square().mean(1).sqrt()
        return torch.where(at.whole, found, torch.nan)

    def _forgetting(self, at: AtWidth) -> Tensor:
        at_ends = at.losses[:, list(self.solution.ends)]
        return at_ends[:, -1] - at_ends.diagonal(dim1=1, dim2=2)
