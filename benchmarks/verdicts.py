"""What became of claims: a table of it, and the files that scripts that reproduce leave."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast.records.files import write_atomic
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


def write_verdicts(
    folder: Path, work: str, found: Sequence[Verdict], rest: Sequence[str], **more: object
) -> None:
    """Print and write ``summary.md``, a row a claim above the rest, and write ``findings.json``.

    Args:
        folder: for both.
        work: the line of work, for the format of the findings.
        found: of all claims.
        rest: lines of Markdown.
        more: what else the findings hold.
    """
    text = "\n".join([*_table(found), *rest]) + "\n"
    write_atomic(folder / "summary.md", text)
    kept = {"format": f"holdfast {work} claims", **more, "claims": [asdict(v) for v in found]}
    write_atomic(folder / "findings.json", json.dumps(kept, indent=1) + "\n")
    print(text)


def _table(found: Sequence[Verdict]) -> list[str]:
    head = ["claim", "asked of", "measured", "value [95 % interval]", ""]
    rows = [
        [v.claim, v.of, v.measured, v.value, "shown" if v.shown else "not shown"] for v in found
    ]
    return table_text([head, *rows], "markdown").splitlines()
