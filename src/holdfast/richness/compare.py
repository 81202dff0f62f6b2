"""Two models that should be one model at two widths."""

import math
from collections.abc import Iterator

from torch import nn

from holdfast.nets.heads import Head
from holdfast.nets.scaled import Role, Scaling
from holdfast.richness.logits import head_widths
from holdfast.richness.rates import is_parametrized, scaled_parameters, scaling_of
from holdfast.richness.validate import Problem

_Row = tuple[Scaling, Role]


def compare_widths(narrow: nn.Module, wide: nn.Module) -> list[Problem]:
    """Where two parametrized models do not scale together.

    What is found at one width (a rate, a gamma_0) holds at another where the models differ in
    their width alone: the sums of each layer have as many terms as before (those of an input) or
    more by the one factor by which the width grew; the same base width, gamma_0 and branches; heads
    of attention that are more and not wider, or `base_head_dim`.

    Args:
        narrow: parametrized.
        wide: likewise.

    Returns:
        The problems, none where all is well.

    Raises:
        ValueError: one of them is not parametrized, or `wide` is not the wider.

    >>> from holdfast.richness import parametrize
    >>> def net(width, hidden):
    ...     return parametrize(nn.Sequential(nn.Linear(8, hidden), nn.Linear(hidden, width),
    ...                                      nn.Linear(width, 3)))
    >>> compare_widths(net(32, 32), net(64, 64))
    []
    >>> (problem,) = compare_widths(net(32, 32), net(64, 48))
    >>> print(problem.where, problem.what.partition(":")[0])
    1.weight is a sum of 32 and 48 terms, where the width grew by 2
    """
    for name, model in (("narrow", narrow), ("wide", wide)):
        if not is_parametrized(model):
            raise ValueError(f"{name} is not parametrized; call holdfast.richness.parametrize")
    ours, theirs = _first(narrow), _first(wide)
    growth = theirs.ratio * theirs.base / (ours.ratio * ours.base)
    if growth < 1 or math.isclose(growth, 1):
        raise ValueError(
            f"wide must be wider than narrow, got widths {theirs.ratio * theirs.base:.6g} and "
            f"{ours.ratio * ours.base:.6g}"
        )
    return [
        *_settings(ours, theirs),
        *_parameters(_rows(narrow), _rows(wide), growth),
        *_heads(narrow, wide),
    ]


def _first(model: nn.Module) -> Scaling:
    return next(s for s in map(scaling_of, model.modules()) if s is not None)


def _rows(model: nn.Module) -> dict[str, _Row]:
    rows: dict[str, _Row] = {
        name: (scaling, role)
        for name, _, scaling, role in scaled_parameters(model)
        if scaling is not None and role is not None
    }
    for path, module in model.named_modules():
        scaling = scaling_of(module)
        # Heads that have no rows yet.
        if isinstance(module, Head) and scaling and next(module.parameters(), None) is None:
            rows[path] = (scaling, "readout")
    return rows


def _settings(narrow: Scaling, wide: Scaling) -> Iterator[Problem]:
    for name, (ours, theirs), why in (
        (
            "parametrization",
            (narrow.parametrization, wide.parametrization),
            "each has rates of its own",
        ),
        (
            "base_width",
            (str(narrow.base), str(wide.base)),
            "gamma_0 is counted in its units, and rates from it",
        ),
        (
            "gamma0",
            (f"{_gamma0(narrow):.6g}", f"{_gamma0(wide):.6g}"),
            "it sets how far features move",
        ),
    ):
        if ours != theirs:
            yield Problem(name, f"is {ours} and {theirs}: {why}", "Give both models the same")


def _gamma0(scaling: Scaling) -> float:
    mup = scaling.parametrization == "mup"
    return scaling.gamma / (math.sqrt(scaling.ratio) if mup else 1.0)


def _parameters(narrow: dict[str, _Row], wide: dict[str, _Row], growth: float) -> Iterator[Problem]:
    for name in [*narrow, *(name for name in wide if name not in narrow)]:
        if name not in narrow or name not in wide:
            which = "narrow" if name in narrow else "wide"
            yield Problem(
                name,
                f"is a parameter of the {which} model alone: they are different nets, of other "
                "depth or kind",
                "Build both alike but for the width",
            )
            continue
        found = _sum(name, narrow[name], wide[name], growth)
        if found is not None:
            yield found


def _sum(name: str, narrow: _Row, wide: _Row, growth: float) -> Problem | None:
    (ours, role), (theirs, _) = narrow, wide
    if role in ("vector", "offset") or ours.fan_in is None or theirs.fan_in is None:
        return None
    if not math.isclose(ours.branch, theirs.branch):
        return Problem(
            name,
            f"is in branches multiplied by {ours.branch:.4g} and {theirs.branch:.4g}",
            "Build both with one number of residual branches",
        )
    factor = theirs.fan_in / ours.fan_in
    grew = (
        f"is a sum of {ours.fan_in} and {theirs.fan_in} terms, where the width grew by {growth:.4g}"
    )
    if role == "input" and math.isclose(factor, growth):
        return Problem(
            name,
            f"{grew}: it counts as an input, whose fan-in stays, and moves too fast in wide nets "
            "with Adam",
            "Leave it out of inputs=, which names the layers that see data",
        )
    if role == "hidden" and factor == 1:
        return Problem(
            name,
            f"{grew}: it counts as hidden, and with Adam moves less in wide nets, though its sums "
            "do not grow",
            "Name it in inputs=, beside the layers that see data, or let its rule say grows=False",
        )
    expected = 1.0 if role == "input" else growth
    if math.isclose(factor, expected):
        return None
    return Problem(
        name,
        f"{grew}: its output has another part of the net's width behind it than the rest",
        "Make all hidden layers wider by one factor",
    )


def _heads(narrow: nn.Module, wide: nn.Module) -> Iterator[Problem]:
    ours, theirs = head_widths(narrow), head_widths(wide)
    for path in ours:
        if path not in theirs or ours[path] == theirs[path]:
            continue
        if "logit_factor" not in vars(wide.get_submodule(path)):
            yield Problem(
                path,
                f"has attention heads of width {ours[path]} and {theirs[path]}: training aligns "
                "queries with keys, so that logits grow with the width of a head",
                f"Give both models base_head_dim, such as {ours[path]}; or make heads more and "
                "not wider",
            )
