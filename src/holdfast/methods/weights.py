"""The weight matrices of a model, and what is known of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from holdfast.methods.halrp.swap import is_norm
from holdfast.nets.heads import GrowingHead
from holdfast.richness.rates import multiplier_of
from holdfast.richness.registry import Matrix, describe_layer


@dataclass(frozen=True)
class Weight:
    """A trainable weight, w = multiplier * parameter, and the biases beside it.

    Args:
        name: of the parameter in the model.
        layer: path of the layer that holds it.
        parameter: (outputs, inputs), or (outputs, inputs, ...) of a convolution; GPT-2 has linear
            layers the other way round.
        biases: the layer's other trainable parameters.
        fan_in: number of terms in the sum behind one output.
        multiplier: of a layer that was parametrized (`holdfast.richness`); else 1.
    """

    name: str
    layer: str
    parameter: nn.Parameter
    biases: tuple[nn.Parameter, ...]
    fan_in: int
    multiplier: float


def weights(model: nn.Module, skip: Sequence[str] = ()) -> list[Weight]:
    """The trainable weight matrices of a model, each once, in the order of its modules.

    What a layer holds is told by its rule (`holdfast.richness.layer_rule`), which there is for the
    linear layers, convolutions and attention of torch and of the models of `transformers` that
    `holdfast.nets` makes. Norm layers, learned tokens and tables of rows (`torch.nn.Embedding`) are
    no sums over inputs and left out, and so is what is frozen.

    Args:
        model: any module.
        skip: paths of modules that are left out with all they hold.

    Raises:
        ValueError: a layer with trainable parameters and no rule, named; or a name in `skip` that
            is no module of the model.

    >>> [(w.name, w.fan_in) for w in weights(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)))]
    [('0.weight', 3)]
    """
    modules = dict(model.named_modules())
    for name in skip:
        if name not in modules:
            raise ValueError(
                f"skip names {name!r}, which is no module of the model; it has "
                f"{', '.join(n for n in modules if n and '.' not in n)}, and what is in them"
            )
    found, seen = [], set[int]()
    for path, layer in modules.items():
        own = {
            name: parameter
            for name, parameter in layer.named_parameters(recurse=False)
            if parameter.requires_grad and parameter.numel() and id(parameter) not in seen
        }
        if not own or any(f"{path}.".startswith(f"{name}.") for name in skip):
            continue
        seen.update(map(id, own.values()))
        described = _described(path, layer)
        if described is None or described.fan_in is None or described.weight not in own:
            continue
        weight = own.pop(described.weight)
        found.append(
            Weight(
                name=f"{path}.{described.weight}" if path else described.weight,
                layer=path,
                parameter=weight,
                biases=tuple(own.values()),
                fan_in=described.fan_in,
                multiplier=multiplier_of(layer),
            )
        )
    return found


def _described(path: str, layer: nn.Module) -> Matrix | None:
    """What the layer's weight is, or `None` of a layer that has none."""
    if isinstance(layer, GrowingHead):
        return Matrix(layer.width, len(layer.known))
    if is_norm(layer):
        return None
    description = describe_layer(layer)
    if description is None:
        kind = type(layer)
        raise ValueError(
            f"{path or 'the model'} is a {kind.__module__}.{kind.__qualname__}, whose parameters "
            f"are not known to be weights or norms: tell with holdfast.richness.layer_rule, or "
            "freeze it"
        )
    return description if isinstance(description, Matrix) else None
