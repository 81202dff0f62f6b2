"""How strong the ridge should be."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float64
from torch import Tensor

from holdfast.starts.moments import Moments
from holdfast.starts.ridge import BiasForm
from holdfast.starts.sample import NotAmongError, Sample
from holdfast.starts.spectrum import Spectrum
from holdfast.starts.temperature import fit_scale

Criterion = Literal["auto", "gcv", "loo", "held_out"]
Loss = Literal["cross_entropy", "mse"]
Finish = Callable[[Tensor, Tensor], Tensor]

DECADES = (-12, 1)
PER_DECADE = 4
REFINED = (1 / 4, 1 / 16)
ALIKE = 1e-3


@dataclass(frozen=True)
class RidgeChoice:
    """The ridge of least estimated error, and the curve it was chosen from.

    Args:
        ridge: lambda, on the scale of means.
        criterion: what was estimated, ``auto`` resolved.
        ridges: every lambda tried, ascending.
        values: the estimate at each.
        at_edge: whether it is the first or the last of those tried.
    """

    ridge: float
    criterion: str
    ridges: Float64[Tensor, " tried"]
    values: Float64[Tensor, " tried"]
    at_edge: bool


def choose_ridge(
    moments: Moments,
    criterion: Criterion = "auto",
    *,
    bias: BiasForm = "penalised",
    sample: Sample | None = None,
    loss: Loss = "mse",
    finish: Finish | None = None,
    held_out: float = 0.2,
    generator: torch.Generator | None = None,
) -> RidgeChoice:
    """The lambda of the least estimated error of `solve_ridge`.

    One eigendecomposition serves every lambda: four a decade from 1e-12 to 10 times the largest
    eigenvalue, then twice more finely around the lowest point.

    ``gcv``, from the moments alone (Golub, Heath & Wahba, 1979), N samples, df the trace of the hat
    matrix:

        [sum_i w_i |y_i - W h~_i|^2] / (1 - df/N)^2

    ``loo``: leave-one-out over the sample, without fitting again, h_ii the leverage:

        sum_i w_i |(y_i - W h~_i) / (1 - h_ii)|^2 / sum_i w_i

    Leaving i out, the others keep their weights. ``held_out``: a part of each class of the sample
    is taken out of the moments, and the solution of the rest scored on it; by squared error, or by
    cross-entropy of what `finish` makes of the solution, since squared error does not know the
    scale at which scores enter a softmax. Such scores are of few samples, and flat where the ridge
    is too small to matter: the largest lambda within a thousandth of the lowest score is taken.

    ``auto``: ``held_out`` where it is told what a solution becomes (`finish`), for cross-entropy,
    and the sample has two of each class and can be taken out; ``gcv`` otherwise.

    Args:
        moments: means over samples.
        criterion: ``auto``, ``gcv``, ``loo`` or ``held_out``.
        bias: the form of the bias that will be solved for.
        sample: samples that are in the moments; ``loo`` and ``held_out`` need them.
        loss: what ``held_out`` scores.
        finish: for cross-entropy, from rows (C, d+1) and the Gram matrix of the rest to the rows
            whose logits are scored; `None`: the rows times the scale that suits the part held out.
        held_out: share of each class that ``held_out`` takes, at least one sample of a class that
            has two.
        generator: that ``held_out`` draws from; `None`: one of seed 0.

    Raises:
        ValueError: an unknown criterion or loss, a sample that is missing, or that cannot be in the
            moments, or has nothing to hold out.
    """
    if criterion not in get_args(Criterion):
        raise ValueError(f"criterion must be one of {get_args(Criterion)}, got {criterion!r}")
    if loss not in get_args(Loss):
        raise ValueError(f"loss must be one of {get_args(Loss)}, got {loss!r}")
    if criterion == "auto":
        if finish is not None and loss == "cross_entropy" and sample is not None:
            with suppress(NotAmongError):
                if _covers(sample):
                    return _by_held_out(moments, bias, sample, loss, finish, held_out, generator)
        criterion = "gcv"
    if criterion == "gcv":
        spectrum = Spectrum.of(moments, bias)
        return _lowest(spectrum.gcv, spectrum, "gcv")
    if sample is None:
        raise ValueError(
            f"the criterion {criterion!r} needs samples; give some of those in the moments, or "
            "choose by 'gcv'"
        )
    if criterion == "loo":
        spectrum = Spectrum.of(moments, bias)
        return _lowest(_loo(spectrum, sample), spectrum, "loo")
    return _by_held_out(moments, bias, sample, loss, finish, held_out, generator)


def _covers(sample: Sample) -> bool:
    """Whether the sample has two of each class, one to stay and one to hold out."""
    return bool(torch.bincount(sample.columns, minlength=sample.classes).min() >= 2)


def _loo(spectrum: Spectrum, sample: Sample) -> Callable[[Tensor], Tensor]:
    projected = spectrum.project(sample.features)
    y = sample.targets()

    def errors(ridges: Tensor) -> Tensor:
        found = []
        for ridge in ridges.tolist():
            left = y - spectrum.scores(projected, ridge)
            out = 1 - sample.weights * spectrum.leverages(projected, ridge)
            squares = (left / out.unsqueeze(1)).square().sum(1)
            found.append((sample.weights * squares).sum() / sample.weights.sum())
        return torch.stack(found)

    return errors


def _by_held_out(
    moments: Moments,
    bias: BiasForm,
    sample: Sample,
    loss: Loss,
    finish: Finish | None,
    held_out: float,
    generator: torch.Generator | None,
) -> RidgeChoice:
    _, scored = sample.split(held_out, generator)
    rest = scored.removed_from(moments)
    spectrum = Spectrum.of(rest, bias)
    return _lowest(_held_out(spectrum, rest, scored, loss, finish), spectrum, "held_out")


def _held_out(
    spectrum: Spectrum, rest: Moments, scored: Sample, loss: Loss, finish: Finish | None
) -> Callable[[Tensor], Tensor]:
    inputs = torch.cat([scored.features, torch.ones_like(scored.features[:, :1])], 1)
    share = scored.weights / scored.weights.sum()

    def error(ridge: float) -> Tensor:
        rows = spectrum.rows(ridge)
        if loss == "mse":
            return share @ (inputs @ rows.T - scored.targets()).square().sum(1)
        if finish is None:
            scores = inputs @ rows.T
            logits = fit_scale(scores, scored.columns) * scores
        else:
            logits = inputs @ finish(rows, rest.gram).T
        each = torch.nn.functional.cross_entropy(logits, scored.columns, reduction="none")
        return share @ each

    return lambda ridges: torch.stack([error(ridge) for ridge in ridges.tolist()])


def _lowest(
    error: Callable[[Tensor], Tensor], spectrum: Spectrum, criterion: Criterion
) -> RidgeChoice:
    largest = spectrum.values.max().clamp_min(torch.finfo(torch.float64).tiny)
    rounding = 10 * len(spectrum.values) * torch.finfo(torch.float64).eps
    low = max(10.0 ** DECADES[0], rounding)
    count = (DECADES[1] - DECADES[0]) * PER_DECADE + 1
    start = torch.tensor(low, dtype=torch.float64).log10().item()
    places = torch.linspace(start, DECADES[1], count, dtype=torch.float64)
    values = error(largest.cpu() * 10**places).cpu()
    for fraction in REFINED:
        step = fraction / PER_DECADE
        around = places[values.argmin()] + step * torch.tensor([-3.0, -2, -1, 1, 2, 3])
        around = around[(around >= start) & (around <= DECADES[1])].double()
        places = torch.cat([places, around])
        values = torch.cat([values, error(largest.cpu() * 10**around).cpu()])
        order = places.argsort()
        places, values = places[order], values[order]
    best = int(values.argmin())
    if criterion == "held_out":
        best = int((values <= (1 + ALIKE) * values[best]).nonzero()[-1])
    ridges = largest.cpu() * 10**places
    return RidgeChoice(float(ridges[best]), criterion, ridges, values, best in (0, len(values) - 1))
