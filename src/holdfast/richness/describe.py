"""A parametrized model as a table: width, multiplier, start and rate of each parameter."""

from torch import nn

from holdfast.nets.heads import Head
from holdfast.nets.scaled import Role, Scaling
from holdfast.richness.rates import is_parametrized, multiplier_of, rate, scaling_of


def describe(model: nn.Module) -> str:
    """One line a parameter: its role, fan-in, multiplier, start and rates, over eta_0.

    Raises:
        ValueError: the model is not parametrized.

    >>> from holdfast.richness import parametrize
    >>> model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 3))
    >>> print(describe(parametrize(model, gamma0=0.5)))
    mup, width 64 = 1 x base, gamma 0.5, residual branches not scaled
    parameter  role     fan-in  multiplier  start   SGD rate  Adam rate
    0.weight   input    16      0.25        N(0,1)  0.25      0.5
    0.bias     vector   -       1           0       0.25      0.5
    2.weight   readout  64      0.25        0       0.25      0.5
    2.bias     offset   -       1           0       1         1
    """
    if not is_parametrized(model):
        raise ValueError("model is not parametrized; call holdfast.richness.parametrize first")
    rows = [["parameter", "role", "fan-in", "multiplier", "start", "SGD rate", "Adam rate"]]
    scale, first = 1.0, None
    for path, module in model.named_modules():
        scaling = scaling_of(module)
        if scaling is None:
            continue
        first = first or scaling
        scale = min(scale, scaling.branch)
        names = [name for name, _ in module.named_parameters(recurse=False)]
        # Heads that have no rows yet are told of by the rows to come.
        if isinstance(module, Head) and next(module.parameters(), None) is None:
            names = ["(new heads)"]
        at = f"{path}." if path else ""
        rows += [_row(at + name, name, module, scaling) for name in names]
    assert first is not None
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    branches = f"x {scale:.4g}" if scale < 1 else "not scaled"
    logits = {vars(m)["logit_factor"] for m in model.modules() if "logit_factor" in vars(m)}
    head = (
        f"{first.parametrization}, width {_number(first.ratio * first.base)} = "
        f"{_number(first.ratio)} x base, gamma {_number(first.gamma)}, residual branches {branches}"
    )
    if logits:
        head += f", attention logits x {', '.join(map(_number, sorted(logits)))}"
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    return "\n".join([head, *lines])


def _row(path: str, name: str, module: nn.Module, scaling: Scaling) -> list[str]:
    role: Role = scaling.roles.get(name, "readout")
    matrix = role not in ("vector", "offset")
    if scaling.std is None:
        start = "as the layer"
    else:
        start = "0" if not matrix or not scaling.std else f"N(0,{_number(scaling.std**2)})"
    return [
        path,
        role,
        str(scaling.fan_in) if matrix and scaling.fan_in else "-",
        _number(multiplier_of(module)) if matrix else "1",
        start,
        _number(rate(scaling, role, "sgd")),
        _number(rate(scaling, role, "adam")),
    ]


def _number(value: float) -> str:
    return f"{value:.4g}"
