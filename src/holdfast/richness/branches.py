"""Residual branches: how many there are, what is in them, and their common factor."""

import math
from dataclasses import dataclass

from torch import nn

from holdfast.nets.residual import Branch
from holdfast.richness.options import Richness
from holdfast.richness.registry import find_branches
from holdfast.richness.within import ScaleOutput
from holdfast.signatures import nearest


@dataclass(frozen=True)
class Branched:
    """The residual branches of a model.

    Args:
        ends: paths of the modules whose outputs are added to the residual stream.
        inside: paths of modules all of whose parameters are in a branch.
        scale: of the branches; 1 where they are not scaled.
    """

    ends: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    scale: float = 1.0

    def factor(self, path: str) -> float:
        """`scale` for a module in a branch, else 1."""
        within = any(path == own or path.startswith(f"{own}.") for own in self.inside)
        return self.scale if within else 1.0


def survey_branches(model: nn.Module, options: Richness) -> Branched:
    """The branches that are named, else those of all blocks whose types have a rule.

    Standard parametrization and weights that keep their function leave their scale alone.

    Raises:
        ValueError: a name that is no module of the model.
    """
    ends: list[str] = []
    inside: list[str] = []
    if options.branches is not None:
        modules = dict(model.named_modules())
        for name in options.branches:
            if name not in modules:
                raise ValueError(
                    f"branches names {name!r}, which is no module of the model"
                    f"{nearest(name, modules)}"
                )
        ends, inside = list(options.branches), list(options.branches)
    else:
        for path, block in model.named_modules():
            found = find_branches(block)
            if found is not None:
                at = f"{path}." if path else ""
                ends += [at + end for end in found.ends]
                inside += [at + own for own in found.inside] or [path]
    scale = 1.0
    if _as_they_are(options):
        factors = {block.scale for block in model.modules() if isinstance(block, Branch)}
        scale = factors.pop() if len(factors) == 1 else 1.0
    elif options.depth_scaling and ends:
        scale = 1 / math.sqrt(len(ends))
    return Branched(tuple(ends), tuple(inside), scale)


def scale_branches(model: nn.Module, branched: Branched, options: Richness) -> None:
    """Multiply the output of every branch by `branched.scale`, where that is to be changed."""
    if _as_they_are(options):
        return
    own: set[nn.Module] = set()
    for block in model.modules():
        if isinstance(block, Branch):
            # It has a factor of its own, in whose place this one goes.
            block.scale = branched.scale
            own.update(block.modules())
    for path in branched.ends:
        end = model.get_submodule(path)
        if end not in own and branched.scale != 1.0:
            end.register_forward_hook(ScaleOutput(branched.scale))


def _as_they_are(options: Richness) -> bool:
    return options.parametrization == "sp" or options.weights == "keep"
