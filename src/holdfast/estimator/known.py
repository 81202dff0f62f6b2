"""What a linear classifier knows: statistics and labels, and the rows that follow from them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Shaped

from holdfast.estimator.closed_form import ClosedForm, Solution
from holdfast.estimator.labels import Labels
from holdfast.starts.arriving import LARGEST
from holdfast.starts.statistics import FeatureStatistics

_ROWS = 4096
"""Rows of a sparse matrix made dense at a time."""


class Known:
    """Statistics of the samples met, whose class numbers are the codes of their labels.

    The rows are solved for when asked, and kept until samples come or other rows are asked for.

    Args:
        statistics: filled in place.
        labels: of the samples, and others that are to have a row.
    """

    def __init__(self, statistics: FeatureStatistics, labels: Labels) -> None:
        self.statistics, self.labels = statistics, labels
        self._solution: Solution | None = None

    def learn(
        self,
        x: Any,
        y: Shaped[np.ndarray, " n"],
        classes: Shaped[np.ndarray, " k"] | None = None,
    ) -> None:
        """Take samples in, or nothing at all.

        Args:
            x: (n, d), finite; an array, or a sparse one by rows.
            y: their labels.
            classes: labels to know; if given, those of `y` must be known or among them.

        Raises:
            ValueError: labels of another kind or unknown, another width, numbers too large.
        """
        labels = self.labels.joined_by(y if classes is None else classes)
        codes = torch.from_numpy(labels.codes(y))
        begin = 0
        for rows in _dense(x):
            self.statistics.update(rows, codes[begin : begin + len(rows)])
            begin += len(rows)
        self.labels, self._solution = labels, None

    def forget(self, x: Any, y: Shaped[np.ndarray, " n"]) -> None:
        """Take samples out, or nothing at all.

        Raises:
            ValueError: labels never met, or samples that cannot have been among those met.
        """
        strangers = np.setdiff1d(y, self.labels.arrived)
        if len(strangers):
            raise ValueError(
                f"y holds labels {strangers[:5].tolist()} that were never learned; known are "
                f"{self.labels.ascending.tolist()}"
            )
        rows = torch.cat(list(_dense(x)))
        self.statistics.remove(rows, torch.from_numpy(self.labels.codes(y)))
        self._solution = None

    def merged(self, other: "Known") -> "Known":
        """What both know, on the device of this one; a new object.

        Raises:
            ValueError: the labels or the statistics are of different kinds.
        """
        labels = self.labels.joined_by(other.labels.arrived)
        code = labels.codes(other.labels.arrived).tolist()
        state = other.statistics.state_dict()
        state["classes"] = [code[c] for c in state["classes"]]
        state["apart"] = {str(code[int(c)]): gram for c, gram in state["apart"].items()}
        theirs = FeatureStatistics.from_state(state, self.statistics.device)
        return Known(self.statistics.merge(theirs), labels)

    def solution(self, form: ClosedForm) -> Solution:
        """What the statistics give by this form.

        Raises:
            ValueError: there are no samples any more, or none that the form can be solved from.
        """
        if self._solution is None or self._solution.form != form:
            self._solution = form.solve(self.statistics, self._ordered())
        return self._solution

    def rows(self, form: ClosedForm) -> Float64[np.ndarray, "labels inputs"]:
        """(labels, d+1), one row for each label in ascending order, the intercept last.

        A label without samples has what its least squares are, a row of 0; or, where the form is
        ``lda``, the intercept log 0.

        Raises:
            ValueError: as `solution`.
        """
        solution = self.solution(form)
        rows = np.zeros((len(self.labels), self.statistics.width + 1))
        rows[:, -1] = -np.inf if form.head == "lda" else 0.0
        rows[np.isin(self.labels.order, self._ordered())] = solution.rows.cpu().numpy()
        return rows

    def _ordered(self) -> list[int]:
        """The classes with samples, their labels ascending: nothing depends on who came first."""
        there = set(self.statistics.classes)
        return [c for c in self.labels.order.tolist() if c in there]

    def state_dict(self) -> dict[str, Any]:
        """Tensors and JSON values that `restored` makes the same of."""
        return {"statistics": self.statistics.state_dict(), "labels": self.labels.state_dict()}

    @classmethod
    def restored(cls, state: dict[str, Any], device: torch.device | str) -> "Known":
        """The inverse of `state_dict`.

        Raises:
            KeyError, ValueError: the state is damaged.
        """
        statistics = FeatureStatistics.from_state(state["statistics"], device)
        return cls(statistics, Labels.restored(state["labels"]))


def _dense(x: Any) -> Iterator[torch.Tensor]:
    """All rows at once where they are dense already, else some at a time."""
    if isinstance(x, np.ndarray):
        yield torch.from_numpy(x if x.flags.writeable else x.copy())
        return
    # Looked at as a whole before the first rows are taken in: all of them, or none.
    if x.nnz and float(np.abs(x.data).max()) > LARGEST:
        raise ValueError(f"X holds numbers beyond {LARGEST:g}, too large to be squared; rescale it")
    for begin in range(0, x.shape[0], _ROWS):
        yield torch.from_numpy(x[begin : begin + _ROWS].toarray())
