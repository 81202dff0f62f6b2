"""What a study asks of its runs beyond their means."""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from holdfast.config import Config, make_part
from holdfast.records.strict_json import plain
from holdfast.studies.axes import Axis
from holdfast.studies.findings import Findings
from holdfast.studies.plan import Budget, Cell


@runtime_checkable
class Analysis(Protocol):
    """Turns what a study found into what it says.

    A class with options like any other part of a configuration. Three hooks may be added:
    ``check(axes)`` raises `ValueError` where the study has not the axes it needs, and
    ``check_budgets(planned)`` where the cells that have runs to come, each with its `Budget`, spend
    what cannot be compared, both before the first run; ``figures(findings)`` returns matplotlib
    figures by the name of their files.
    """

    def __call__(self, findings: Findings) -> Mapping[str, Any]:
        """What was found, as JSON holds it; the strings under ``text`` are shown as lines.

        Called too of a study that was interrupted, some of whose runs have no row in the table.
        """


def make_analysis(part: str | Config, axes: Sequence[Axis]) -> Analysis:
    """The analysis a configuration names, for a study with these axes.

    Raises:
        ValueError: an unknown name or option, something that cannot be called, or axes that the
            analysis has no use for.
    """
    analysis = make_part("analysis", part)
    if not isinstance(analysis, Analysis):
        raise ValueError(f"analysis {part!r} makes a {type(analysis).__name__}, not a callable")
    check = getattr(analysis, "check", None)
    if check is not None:
        check(axes)
    return analysis


def check_budgets(analysis: Analysis | None, planned: Sequence[tuple[Cell, Budget]]) -> None:
    """Ask an analysis whether cells can be compared, before any of their runs.

    Raises:
        ValueError: they cannot.
    """
    check = getattr(analysis, "check_budgets", None)
    if check is not None:
        check(planned)


def analysed(analysis: Analysis, findings: Findings) -> Findings:
    """The findings with what the analysis says of them.

    One that raises costs no study its runs: its error stands in place of the result.
    """
    try:
        result = plain(dict(analysis(findings)), "analysis")
    except Exception as error:
        said = f"the analysis failed: {type(error).__name__}: {error}"
        result = {"traceback": traceback.format_exc(), "text": [said]}
    return replace(findings, analysis=result)
