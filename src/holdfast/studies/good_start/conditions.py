"""The runs of a study by what they have in common, and by their start."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from holdfast.records.record import Record
from holdfast.studies.axes import Field
from holdfast.studies.findings import Findings
from holdfast.studies.richness.curves import settings_text


@dataclass(frozen=True, eq=False)
class Condition:
    """The starts that are compared with each other.

    Args:
        settings: what their runs have in common, by axis; empty where starts alone are varied.
        arms: the records of each start by its label, one a seed.
    """

    settings: Mapping[str, Field]
    arms: Mapping[str, tuple[Record, ...]]

    @property
    def label(self) -> str:
        """The common settings as a short text."""
        return settings_text(self.settings)


def conditions_of(findings: Findings, start: str) -> tuple[Condition, ...]:
    """The conditions of a study, with the runs that have ended and left a record.

    Args:
        findings: of a study, with its folder.
        start: the axis of the starts; all further axes part the conditions.

    Raises:
        ValueError: the findings are of no folder.
        FileNotFoundError: the folder lacks a run of the table.
    """
    table = findings.table
    rest = [axis for axis in findings.axes if axis != start]
    found: dict[tuple[Field, ...], dict[str, list[Record]]] = {}
    for row in range(len(table["seed"])):
        record = findings.record(table["cell"][row], int(table["seed"][row]))
        if record is not None:
            key = tuple(_field(table[axis][row]) for axis in rest)
            arm = found.setdefault(key, {}).setdefault(str(_field(table[start][row])), [])
            arm.append(record)
    return tuple(
        Condition(
            dict(zip(rest, key, strict=True)), {arm: tuple(runs) for arm, runs in arms.items()}
        )
        for key, arms in found.items()
    )


def _field(value: object) -> Field:
    """A cell of the table as it was given."""
    plain = value.item() if isinstance(value, np.generic) else value
    assert isinstance(plain, int | float | str)
    return plain
