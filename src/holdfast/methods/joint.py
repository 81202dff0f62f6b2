"""Training on all tasks seen so far."""

from collections.abc import Sequence

from holdfast.methods.method import Method


class Joint(Method):
    """Train on the samples of all tasks so far together, at every task anew.

    The upper reference of continual learning: no method that may not keep all samples is expected
    to do better. An epoch of task i runs over the training samples of tasks 0 .. i, shuffled
    together, so that its cost grows with i.

    Each task's training carries on from the weights the task before left behind (cumulative
    training). With the start `Fresh` every task starts from new weights instead, and the row of
    task i is that of a network trained on tasks 0 .. i from scratch: the usual multi-task
    reference.
    """

    def rehearses(self, index: int) -> Sequence[int]:
        """All positions up to `index`."""
        return range(index + 1)
