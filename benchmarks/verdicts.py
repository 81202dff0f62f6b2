"""What became of a claim, and a table of it, for all scripts that reproduce a line of work."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.studies.text import table_text


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Args:
        claim: the statement.
        of: the runs, data or prediction that it was asked of.
        measured: what was measured.
        value: it, with its interval.
        shown: whether it is shown.
    """

    claim: str
    of: str
    measured: str
    value: str
    shown: bool


def verdict_lines(found: Sequence[Verdict]) -> list[str]:
    """A table in Markdown, a row a claim."""
    head = ["claim", "asked of", "measured", "value [95 % interval]", ""]
    rows = [
        [v.claim, v.of, v.measured, v.value, "shown" if v.shown else "not shown"] for v in found
    ]
    return table_text([head, *rows], "markdown").splitlines()
