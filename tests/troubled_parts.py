"""Parts of runs that trouble users, named by import path."""

from typing import Literal

import torch

from holdfast.data.split import Dataset
from holdfast.methods.method import Method
from holdfast.nets.learner import Learner
from holdfast.streams.context import Context

IN_THE_WAY = True
"""Whether `Interrupts` interrupts."""


class Interrupts(Method):
    """The user presses Ctrl-C when the second task begins."""

    def begin_task(self, learner: Learner, context: Context) -> None:
        if context.index == 1 and IN_THE_WAY:
            raise KeyboardInterrupt


def points(
    classes: int = 4, tested: int = 4, last: Literal["0", "nan", "inf"] = "0", sides: int = 2
) -> Dataset:
    """Samples of `classes` classes, of which the test split has the first `tested`.

    Args:
        classes: of the train split.
        tested: of the test split.
        last: both numbers of the last training sample.
        sides: length of a test sample; training samples have two numbers.
    """
    x = torch.arange(24.0).reshape(12, 2)
    x[-1] = float(last)
    y = torch.arange(12)
    return Dataset.from_arrays(x, y % classes, torch.zeros(12, sides), y % tested)
