"""The metrics that a study may be asked to show."""

from collections.abc import Sequence

from holdfast.config import Config, make_part
from holdfast.signatures import nearest
from holdfast.studies.table import TIMES, metric_names
from holdfast.training.probing import probe_names


def check_metrics(metrics: Sequence[str]) -> None:
    """Refuse what can be no column of the table; names of probe values have a dot.

    Raises:
        ValueError: naming it, with the nearest known one.
    """
    known = (*metric_names(), *TIMES)
    for metric in metrics:
        if metric not in known and (not isinstance(metric, str) or "." not in metric):
            raise ValueError(
                f"metrics holds {metric!r}, which is none{nearest(str(metric), known)}; "
                f"there are {', '.join(known)}, and values of probes as Probe.key or Probe.key.own"
            )


def check_probed(metrics: Sequence[str], configs: Sequence[Config]) -> None:
    """Refuse values of probes that no run of a study measures, as far as its probes tell.

    Args:
        metrics: as asked for.
        configs: resolved configurations of the runs.

    Raises:
        ValueError: naming the metric, with the nearest that is measured.
    """
    asked = [metric for metric in metrics if "." in metric]
    found: dict[str, Sequence[str] | None] = {}
    for config in configs if asked else ():
        probes = [make_part("probe", part) for part in config["probes"]]
        for name, probe in zip(probe_names(probes), probes, strict=True):
            found[name] = getattr(probe, "columns", None)
    told = [f"{name}.{column}" for name, columns in found.items() for column in columns or ()]
    for metric in asked:
        # Of a probe that does not tell what it measures anything may be asked.
        untold = any(found[n] is None and metric.startswith(f"{n}.") for n in found)
        if metric in told or untold:
            continue
        there = f"they measure {', '.join(told)}" if told else "there are none"
        raise ValueError(
            f"metrics holds {metric!r}, which no probe of the study measures"
            f"{nearest(metric, told)}; {there}; probes are set in base.probes"
        )
