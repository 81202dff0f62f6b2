"""What the theory claims of finite networks, as statements that data can fail to show."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import torch

from benchmarks.verdicts import Verdict
from holdfast.records.intervals import Interval, mean_interval
from holdfast.studies.theory import Predicted
from holdfast.theory import Comparison, Solution
from holdfast.theory.words import shown

RESAMPLES = 10_000
WIDE = 1024
"""From this width on networks should follow the theory."""

All = Mapping[str, Predicted]
Similar = Mapping[float, Comparison]
"""Networks beside the theory by similarity, at one gamma0."""


def approach(found: All, similar: Similar) -> list[Verdict]:
    """Gaps of single networks fall with the width."""
    rows = []
    for name, predicted in found.items():
        for gamma0, comparison in predicted.comparisons.items():
            for what in ("losses", "forgetting"):
                slope = comparison.slope(what)
                half = "-1/2 within" if slope.low <= -0.5 <= slope.high else "-1/2 outside"
                wide = comparison.gap(what)[comparison.finite[-1].width]
                rows.append(
                    Verdict(
                        f"1. the gap of {what} to the theory falls with the width",
                        f"{name}, gamma0 {gamma0:g}",
                        f"exponent of the gap in N, {half}; the gap at "
                        f"{comparison.finite[-1].width}",
                        f"{shown(slope)}; {shown(wide)}",
                        slope.high < 0,
                    )
                )
    return rows


def overlay(found: All, similar: Similar) -> list[Verdict]:
    """The curve of forgetting against gamma0 is that of wide networks."""
    rows = []
    for name, predicted in found.items():
        curve = list(predicted.forgetting().values())
        theory = predicted.forgetting()
        for width in _wide(next(iter(predicted.comparisons.values()))):
            own = {g: f[width] for g, f in predicted.trained_forgetting().items()}
            rows.append(
                _overlaid(
                    f"2. forgetting against gamma0 at width {width} is the theory's", name,
                    [theory[g] for g in own], list(own.values()), max(curve) - min(curve),
                    [_error(predicted.solutions[g]) for g in own],
                )
            )  # fmt: skip
    return rows


def similarity(found: All, similar: Similar) -> list[Verdict]:
    """Similarity moves forgetting, of the theory and of networks, and the best gamma0."""
    theory = [float(c.solution.forgetting[0]) for c in similar.values()]
    trained = [c.forgetting()[WIDE][:, 0].double().numpy() for c in similar.values()]
    rows = [
        _overlaid(
            f"3. forgetting against similarity at width {WIDE} is the theory's", "mnist30",
            theory, trained, max(theory) - min(theory),
            [_error(c.solution) for c in similar.values()],
        )
    ]  # fmt: skip
    for name, predicted in found.items():
        phase = predicted.phase
        if phase is None:
            continue
        forgetting = phase.forgetting[:, :, -1].double().numpy()
        best = int(forgetting.mean(0).argmax())
        ends = [forgetting[:, best] - forgetting[:, end] for end in (0, -1)]
        above = [mean_interval(d, resamples=RESAMPLES) for d in ends]
        rows.append(
            Verdict(
                f"3. at gamma0 {phase.gamma0[-1]:g} forgetting is largest at an intermediate "
                "similarity",
                name,
                "similarity of the maximum; forgetting there above that at both ends",
                f"{phase.similarity[best]:g}; {shown(above[0])}, {shown(above[1])}",
                all(one.low > 0 for one in above),
            )
        )
        places = phase.optimum(resamples=RESAMPLES)
        told = ", ".join(
            f"{s:g}: {_place(p, phase.gamma0)}"
            for s, p in zip(phase.similarity, places, strict=True)
        )
        known = [p for p in places if not np.isnan(p.low)]
        rising = all(a.mean <= b.mean for a, b in pairwise(known))
        rows.append(
            Verdict(
                "3. gamma0* grows with similarity", name,
                "gamma0* by similarity (absolute units)", told,
                bool(known) and rising and known[0].high < known[-1].low,
            )
        )  # fmt: skip
    return rows


def plateau(found: All, similar: Similar) -> list[Verdict]:
    """With a head a task and readouts from 0 lazy nets forget nothing, and the loss is U-shaped."""
    predicted = found["mnist30"]
    theory = list(predicted.forgetting().values())
    solutions = list(predicted.solutions.values())
    average = [float(s.loss_matrix[-1].mean()) for s in solutions]
    least = int(np.argmin(average))
    error = max(float(s.loss_error[-1].max()) for s in solutions if s.loss_error is not None)
    inside = 0 < least < len(average) - 1
    above = min(average[0], average[-1]) - average[least] if inside else 0.0
    return [
        Verdict(
            "4. the lazy end forgets nothing", "mnist30",
            f"forgetting at gamma0 {min(predicted.solutions):g} over the largest",
            f"{theory[0]:.2g} / {max(theory):.2g}", abs(theory[0]) < 0.02 * max(theory),
        ),
        Verdict(
            "4. the average loss at the end is least at an intermediate gamma0", "mnist30",
            "place; by how much both ends lie above; standard error of a loss",
            f"{list(predicted.solutions)[least]:g}; {above:.2g}; {error:.1g}", above > 3 * error,
        ),
    ]  # fmt: skip


CLAIMS: tuple[Callable[[All, Similar], list[Verdict]], ...] = (
    approach, overlay, similarity, plateau,
)  # fmt: skip


def _overlaid(
    claim: str,
    of: str,
    theory: list[float],
    trained: list[np.ndarray],
    reach: float,
    errors: list[float],
) -> Verdict:
    """Means of networks against the theory, relative to the range of its curve."""
    known = [f[np.isfinite(f)] for f in trained]
    means = [mean_interval(f, resamples=RESAMPLES) for f in known]
    noise = [np.hypot(f.std(ddof=1) / len(f) ** 0.5, e) for f, e in zip(known, errors, strict=True)]
    apart = [abs(m.mean - t) for m, t in zip(means, theory, strict=True)]
    sigmas = max(a / n for a, n in zip(apart, noise, strict=True))
    inside = sum(m.low <= t <= m.high for m, t in zip(means, theory, strict=True))
    return Verdict(
        claim, of,
        "largest distance of a mean over networks in ranges of the curve, and in standard errors "
        "of both; intervals of networks that hold the theory",
        f"{max(apart) / reach:.3f}, {sigmas:.1f}; {inside} of {len(theory)}",
        max(apart) / reach <= 0.05,
    )  # fmt: skip


def _error(solution: Solution) -> float:
    """Of the forgetting of the first task, as if the errors of its two losses were independent."""
    if solution.loss_error is None:
        return 0.0
    ends = [solution.ends[0], solution.ends[-1]]
    return float(solution.loss_error[ends, 0].norm())


def _wide(comparison: Comparison) -> list[int]:
    return [at.width for at in comparison.finite if at.width >= WIDE]


def _place(found: Interval, grid: tuple[float, ...]) -> str:
    at_end = torch.isclose(torch.tensor(found.mean), torch.tensor([grid[0], grid[-1]])).any()
    return shown(found) + (" (end of the grid)" if at_end else "")
