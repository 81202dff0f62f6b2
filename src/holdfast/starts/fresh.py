"""Every task is learned from scratch."""

from typing import Literal, get_args

from torch import nn

from holdfast.nets.learner import Learner
from holdfast.nets.redraw import redraw
from holdfast.starts.start import Start
from holdfast.streams.context import Context

Part = Literal["all", "backbone", "heads"]


class Fresh(Start):
    """New weights before each task, the first included, as `holdfast.nets.redraw` draws them.

    What the learner learned before is gone, running statistics too; only frozen layers are left as
    they are. The heads keep the classes they know and the columns these have. Drawn from the
    run's seed and the position of the task, whatever was drawn before.

    The baseline of every study of plasticity: what a fresh start reaches on the same data.

    Args:
        part: of the learner to draw anew: ``all``, ``backbone`` or ``heads``.

    Raises:
        ValueError: an unknown `part`; from `prepare`, modules whose parameters nothing redraws.
    """

    def __init__(self, part: Part = "all") -> None:
        if part not in get_args(Part):
            raise ValueError(f"part must be one of {get_args(Part)}, got {part!r}")
        self.part = part

    def prepare(self, learner: Learner, context: Context) -> None:
        """Draw the part anew, in place."""
        chosen: dict[str, nn.Module] = {
            "all": learner,
            "backbone": learner.backbone,
            "heads": learner.heads,
        }
        redraw(chosen[self.part], context.seed, "fresh", context.index)
