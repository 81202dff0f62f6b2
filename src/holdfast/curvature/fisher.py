"""The diagonal of the Fisher information."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

import holdfast.curvature.rules  # noqa: F401  registers the rules
from holdfast.curvature.closed import Layers
from holdfast.curvature.likelihood import Likelihood, PerSample, directions, residual
from holdfast.curvature.per_sample import Forward, per_sample_squares
from holdfast.curvature.samples import Samples, checked_outputs, forward_of, unpacked

FisherKind = Literal["empirical", "true", "sampled", "weighted", "batch_mean", "batch_mean_scaled"]


def diagonal_fisher(
    model: nn.Module,
    batches: Iterable[Samples],
    *,
    kind: FisherKind = "empirical",
    likelihood: Likelihood | None = None,
    parameters: Iterable[str] | None = None,
    forward: Forward | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Diagonal of the Fisher information of each parameter, a mean over samples.

    With g(x, y) the gradient of -log p(y | x) of one sample,

    - ``empirical``: mean of g(x, y)^2 over the labels given. What EWC means by its Fisher in most
      papers; it is not the Fisher of the model unless the model fits the labels' distribution
      (Kunstner et al., 2019).
    - ``true``: mean of sum_c p(c | x) g(x, c)^2, the exact expectation over the model's own
      labels. For softmax and for squared error it is the diagonal of the generalised Gauss-Newton
      matrix (Martens, 2020).
    - ``sampled``: mean of g(x, y')^2, one y' for each sample drawn from the model; its
      expectation is ``true``.

    and the forms that other libraries call the Fisher of EWC:

    - ``weighted``: mean of p(y | x) g(x, y)^2 over the labels given (Mammoth).
    - ``batch_mean``: mean over batches of (mean of g over the batch)^2 (Avalanche, PyCIL; also
      FACIL and LibContinual, which multiply by the batch size and divide by the number of samples).
      Where the mean gradient vanishes, as at a fitted model, about 1 / batch size of ``empirical``.
    - ``batch_mean_scaled``: the same times the size of each batch, about ``empirical`` at such a
      model (HALRP, Li et al., 2024).

    These two depend on how the samples fall into batches, the others do not. van de Ven (2025)
    compares what the choice does to EWC.

    One backward pass per batch (for ``true`` one over all outputs together) computes gradients
    with respect to layer outputs only; rules for each type of layer (`holdfast.curvature.rule`)
    square them without making per-sample gradients of the weights. Parameters that no rule covers
    (raw ones, tied ones, those of layers called twice or with another dimension before the
    samples) are differentiated sample by sample under `torch.func.vmap`.

    The model is evaluated in evaluation mode, since batch norm would couple the samples of a
    batch, and left as found: mode, `.grad`, hooks, `requires_grad`.

    Args:
        model: whose parameters are asked about.
        batches: `Batch`es, or pairs of inputs (n, ...) and labels (n,) or targets (n, outputs), on
            the model's device. Labels are columns of the model's outputs. Small vectors go fastest
            in batches of about a thousand.
        kind: see above.
        likelihood: ``categorical``, softmax over the outputs, of which those at -inf are
            impossible; or ``gaussian``, unit variance around the outputs, so that
            -log p is half the squared error, class labels being one-hot targets. By default
            ``gaussian`` for float targets.
        parameters: names of parameters; all that require a gradient by default.
        forward: (inputs, task) -> outputs (n, outputs); by default ``model(x, task)`` for a
            `Learner` and ``model(x)`` for others.
        generator: of the draws of ``sampled``, which needs one.

    Returns:
        For each parameter's name a tensor of its shape, zero where the outputs do not depend on it.

    Raises:
        ValueError: an unknown kind, likelihood or parameter, no batches, labels outside the
            outputs, a missing generator, outputs that are no matrix with a row a sample, or batch
            norm without running statistics, which couples the samples even in evaluation mode
            (the two batch forms allow it).

    >>> model = nn.Linear(1, 2, bias=False)
    >>> _ = nn.init.zeros_(model.weight)
    >>> x, y = torch.tensor([[1.0], [2.0]]), torch.tensor([0, 1])
    >>> diagonal_fisher(model, [(x, y)])["weight"].T  # p = 1/2: mean of 1/4 and 4/4
    tensor([[0.6250, 0.6250]])
    """
    _check_options(model, kind, likelihood, generator)
    wanted = _wanted(model, parameters)
    call = forward or forward_of(model)
    layers = Layers(model, call, wanted)
    totals = {id(p): torch.zeros_like(p) for p in wanted.values()}
    parts = 0
    with _evaluating(model, wanted.values()):
        for samples in batches:
            x, y, task = unpacked(samples)
            family = likelihood or ("gaussian" if y.is_floating_point() else "categorical")
            if kind == "weighted" and (family == "gaussian" or y.is_floating_point()):
                raise ValueError(
                    "kind='weighted' needs labels and class probabilities, not targets"
                )
            if kind in get_args(PerSample):
                parts += len(x)
                how = (cast(PerSample, kind), family, generator)
                _add_per_sample(totals, model, layers, (x, y, task), *how)
            else:
                parts += 1
                scale = len(x) if kind == "batch_mean_scaled" else 1
                _add_batch_mean(totals, layers, (x, y, task), family, scale)
    if not parts:
        raise ValueError("batches is empty: the Fisher information needs samples")
    return {name: totals[id(p)] / parts for name, p in wanted.items()}


_Triple = tuple[Tensor, Tensor, int | Tensor | None]


def _add_per_sample(
    totals: dict[int, Tensor],
    model: nn.Module,
    layers: Layers,
    samples: _Triple,
    kind: PerSample,
    likelihood: Likelihood,
    generator: torch.Generator | None,
) -> None:
    x, y, task = samples
    run = layers.run(x, task)
    logits = checked_outputs(run.outputs, x).detach()
    for c in directions(kind, likelihood, logits, y, generator, run.at_a_time):
        found = run.squares(c)
        rest = {layers.names[key]: p for key, p in run.used.items() if key not in found}
        if rest:
            others = per_sample_squares(model, layers.forward, rest, x, task, c)
            found |= {id(p): others[name] for name, p in rest.items()}
        for key, value in found.items():
            totals[key] += value


def _add_batch_mean(
    totals: dict[int, Tensor],
    layers: Layers,
    samples: _Triple,
    likelihood: Likelihood,
    scale: int,
) -> None:
    x, y, task = samples
    outputs = checked_outputs(layers.forward(x, task), x)
    c = residual(likelihood, outputs.detach(), y) / len(x)
    if not outputs.requires_grad:
        return
    gradients = torch.autograd.grad(outputs, list(layers.wanted.values()), c, allow_unused=True)
    for key, g in zip(layers.wanted, gradients, strict=True):
        if g is not None:
            totals[key] += scale * g.square()


@contextmanager
def _evaluating(model: nn.Module, wanted: Iterable[nn.Parameter]) -> Iterator[None]:
    training = {module: module.training for module in model.modules()}
    frozen = [p for p in wanted if not p.requires_grad]
    model.eval()
    for p in frozen:
        p.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for module, mode in training.items():
            module.training = mode
        for p in frozen:
            p.requires_grad_(False)


def _wanted(model: nn.Module, parameters: Iterable[str] | None) -> dict[str, nn.Parameter]:
    if parameters is None:
        wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not wanted:
            raise ValueError(
                "no parameter of the model requires a gradient; name some in parameters="
            )
        return wanted
    named = dict(model.named_parameters(remove_duplicate=False))
    names = [parameters] if isinstance(parameters, str) else list(parameters)
    for name in names:
        if name not in named:
            near = get_close_matches(name, named, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"parameters names {name!r}, which the model does not have{hint}")
    return {name: named[name] for name in names}


def _check_options(
    model: nn.Module,
    kind: str,
    likelihood: str | None,
    generator: torch.Generator | None,
) -> None:
    if kind not in get_args(FisherKind):
        raise ValueError(f"kind must be one of {', '.join(get_args(FisherKind))}; got {kind!r}")
    if likelihood not in (None, *get_args(Likelihood)):
        raise ValueError(f"likelihood must be categorical or gaussian, got {likelihood!r}")
    if kind == "sampled" and generator is None:
        raise ValueError("generator must be given for kind='sampled', which draws labels")
    for name, module in model.named_modules():
        if not isinstance(module, nn.modules.batchnorm._BatchNorm) or kind.startswith("batch"):
            continue
        if module.running_mean is None:
            raise ValueError(
                f"{name!r} is a batch norm without running statistics: the samples of a batch "
                f"have no gradients of their own; use track_running_stats=True, or a batch form of "
                "the Fisher (kind='batch_mean')"
            )
