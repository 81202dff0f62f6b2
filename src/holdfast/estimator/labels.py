"""Class labels of any kind, numbered as they arrive."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped

_KINDS = {"b": "booleans", "i": "numbers", "u": "numbers", "f": "numbers"}


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels met so far.

    Args:
        arrived: in the order of their arrival; the position of a label is its code, which is how
            the learner knows it. Labels that arrive together are sorted among themselves.
    """

    arrived: Shaped[np.ndarray, " k"] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.arrived)

    @property
    def order(self) -> Int64[np.ndarray, " k"]:
        """The code of each label, the labels ascending."""
        return np.argsort(self.arrived, kind="stable")

    @property
    def ascending(self) -> Shaped[np.ndarray, " k"]:
        """The labels, ascending."""
        return self.arrived[self.order]

    def joined_by(self, labels: Shaped[np.ndarray, " n"]) -> "Labels":
        """These labels and those not yet among them.

        Raises:
            ValueError: the new labels are of another kind: numbers, booleans or strings.
        """
        labels = np.unique(labels)
        if len(self) == 0:
            return Labels(labels)
        known, given = (_KINDS.get(a.dtype.kind, "strings") for a in (self.arrived, labels))
        if known != given:
            raise ValueError(
                f"y holds {given} ({labels[:3].tolist()} ...), the labels known are {known} "
                f"({self.arrived[:3].tolist()} ...); give labels of one kind in all calls"
            )
        if self.arrived.dtype.kind in "iu" and labels.dtype.kind == "f":
            labels = labels.astype(self.arrived.dtype)
        new = labels[~np.isin(labels, self.arrived)]
        return Labels(np.concatenate([self.arrived, new])) if len(new) else self

    def codes(self, y: Shaped[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """The code of each label.

        Raises:
            ValueError: a label that is not known.
        """
        strangers = np.setdiff1d(y, self.arrived)
        if len(strangers):
            raise ValueError(
                f"y holds labels {strangers[:5].tolist()} that are neither known nor in classes, "
                f"{self.ascending.tolist()} together; leave classes out to admit any label"
            )
        return self.order[np.searchsorted(self.ascending, y)]

    def state_dict(self) -> dict[str, Any]:
        """The labels as JSON has them, and their type."""
        return {"dtype": self.arrived.dtype.str, "arrived": self.arrived.tolist()}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Labels":
        """The inverse of `state_dict`."""
        return cls(np.array(state["arrived"], dtype=np.dtype(state["dtype"])))
