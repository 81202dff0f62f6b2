"""The figures of a study's analysis."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from holdfast.reports.collapse import collapse_figure
from holdfast.reports.gamma import Mark, gamma_figure
from holdfast.reports.onset import onset_figure
from holdfast.reports.orders import course_figure, fan_figure
from holdfast.reports.plasticity import gap_figure, last_phase_figure, losses_figure
from holdfast.studies.analysis import Analysis
from holdfast.studies.findings import Findings
from holdfast.studies.good_start import StartAnalysis
from holdfast.studies.order_robustness import OrderAnalysis, Robustness
from holdfast.studies.plasticity import (
    ArmMeasures,
    PlasticityAnalysis,
    loss_courses,
    phase_courses,
)
from holdfast.studies.richness.analysis import GammaAnalysis
from holdfast.studies.richness.curves import GammaCurve


def analysis_figures(analysis: Analysis, findings: Findings) -> dict[str, Figure]:
    """The figures of an analysis, by a name for their files; none where it makes none."""
    if isinstance(analysis, GammaAnalysis):
        return _gamma_figures(analysis, findings)
    if isinstance(analysis, StartAnalysis):
        return _start_figures(analysis, findings)
    if isinstance(analysis, OrderAnalysis):
        return _order_figures(analysis, findings)
    if isinstance(analysis, PlasticityAnalysis):
        return _plasticity_figures(analysis, findings)
    own = getattr(analysis, "figures", None)
    return {} if own is None else dict(own(findings))


def _start_figures(analysis: StartAnalysis, findings: Findings) -> dict[str, Figure]:
    """Of each condition loss and accuracy after the switch, if there are evaluations in common."""
    figures = {}
    for condition in analysis.conditions(findings):
        courses = analysis.courses(condition)
        if courses:
            figures[f"onset {condition.label}".strip()] = onset_figure(courses, condition.label)
    return figures


def _order_figures(analysis: OrderAnalysis, findings: Findings) -> dict[str, Figure]:
    """Final accuracies and their course over orders, a panel a method, if any was measured."""
    found = analysis.measured(findings).items()
    measured = {label: method for label, method in found if isinstance(method, Robustness)}
    if not measured:
        return {}
    return {"orders": fan_figure(measured), "courses by order": course_figure(measured)}


def _plasticity_figures(analysis: PlasticityAnalysis, findings: Findings) -> dict[str, Figure]:
    """Gaps to each reference, and of each condition the last phase or the losses over tasks."""
    figures, conditions = {}, analysis.conditions(findings)
    if "generalisation" in analysis.measures:
        found = {c.label or "all runs": analysis.measured(c) for c in conditions}
        for reference in analysis.references:
            gaps = {
                label: {
                    name: arm.gaps[reference]
                    for name, arm in arms.items()
                    if isinstance(arm, ArmMeasures) and reference in arm.gaps
                }
                for label, arms in found.items()
            }
            if any(gaps.values()):
                figures[f"gap to {reference}"] = gap_figure(gaps, reference)
        for condition in conditions:
            phases = phase_courses(condition.arms)
            if phases:
                name = f"last phase {condition.label}".strip()
                figures[name] = last_phase_figure(phases, analysis.last, condition.label)
    for condition in conditions if "trainability" in analysis.measures else ():
        losses = loss_courses(condition.arms)
        if losses:
            name = f"losses {condition.label}".strip()
            figures[name] = losses_figure(losses, condition.label)
    return figures


def _gamma_figures(analysis: GammaAnalysis, findings: Findings) -> dict[str, Figure]:
    """Of each group its metrics against gamma0, and its curves before and after a rescaling."""
    asked = dict.fromkeys((*analysis.metrics, *analysis.draw))
    metrics = [metric for metric in asked if metric in findings.table]
    figures = {}
    by_metric = [analysis.groups(findings, metric) for metric in metrics]
    for groups in zip(*by_metric, strict=True):
        panels = {m: group.curves for m, group in zip(metrics, groups, strict=True)}
        marks = {analysis.error: {"optimum": _optima(analysis, panels[analysis.error])}}
        if analysis.forgetting is not None:
            marks[analysis.forgetting] = _transitions(analysis, panels[analysis.forgetting])
        label = groups[0].label
        figures[f"{analysis.x} {label}"] = gamma_figure(analysis.x, panels, marks, label)
        tried = analysis.collapses(groups[0])
        exponents = tried.get("rescaled", tried.get("fitted"))
        for metric in analysis.metrics if exponents and len(groups[0].curves) > 1 else ():
            figures[f"collapse {metric} {label}"] = collapse_figure(
                analysis.x, metric, panels[metric], exponents or {}, label
            )
    return figures


def _optima(analysis: GammaAnalysis, curves: Sequence[GammaCurve]) -> list[Mark]:
    found = [analysis.optimum(curve) for curve in curves]
    return [(best.gamma0, best.interior) for best in found]


def _transitions(analysis: GammaAnalysis, curves: Sequence[GammaCurve]) -> dict[str, list[Mark]]:
    found = [analysis.transitions(curve) for curve in curves]
    return {name: [(one[name].gamma0, True) for one in found] for name in found[0]}
