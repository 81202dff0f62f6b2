"""The classifier of a whole model of transformers or timm, and what else says how many classes."""

from collections.abc import Callable
from typing import Any

from torch import nn

Settle = Callable[[int], None]

_CLASSIFIERS = ("ForSequenceClassification", "ForImageClassification")


def layer_of_model(model: nn.Module) -> tuple[nn.Module, Settle] | None:
    """The last layer of a classifier, and how to tell the model its new number of rows.

    Recognised by name, without importing either library. `None` for any other module.

    Raises:
        TypeError: a classifier of these libraries whose last layer is not a single linear one, or
            that is set up for targets that are no classes.
    """
    if any(kind.__name__.endswith(_CLASSIFIERS) for kind in type(model).__mro__):
        return _of_transformers(model)
    if callable(getattr(model, "get_classifier", None)) and hasattr(model, "num_classes"):
        return _of_timm(model)
    return None


def _of_transformers(model: Any) -> tuple[nn.Module, Settle]:
    name, config = type(model).__name__, model.config
    rows, kind = config.num_labels, getattr(config, "problem_type", None)
    if rows == 1 or kind not in (None, "single_label_classification"):
        raise TypeError(
            f"{name} is set up for {kind or 'regression'} ({rows} outputs); a head grows where "
            "each sample has one class"
        )
    base = getattr(model, "base_model_prefix", "")
    found = {
        path: layer
        for path, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
        and layer.out_features == rows
        and path.split(".")[0] != base
    }
    if len(found) != 1:
        raise TypeError(
            f"{name} must have one linear layer with its {rows} labels, found "
            f"{', '.join(found) or 'none'}; give the layer itself as head, and set num_labels of "
            "the model and its config"
        )
    (layer,) = found.values()

    def settle(count: int) -> None:
        names = dict(config.id2label)
        names |= {row: f"LABEL_{row}" for row in range(count) if row not in names}
        config.id2label, config.label2id = names, {text: row for row, text in names.items()}
        if hasattr(model, "num_labels"):
            model.num_labels = count

    return layer, settle


def _of_timm(model: Any) -> tuple[nn.Module, Settle]:
    layer = model.get_classifier()
    if not isinstance(layer, nn.Linear):
        raise TypeError(
            f"get_classifier() of {type(model).__name__} must be a torch.nn.Linear, got "
            f"{type(layer).__name__}"
        )
    rows = layer.out_features
    # Some heads inside the model count the classes too.
    holders = [
        module
        for module in model.modules()
        if getattr(module, "num_classes", None) == rows and layer in set(module.modules())
    ]

    def settle(count: int) -> None:
        for module in holders:
            module.num_classes = count

    return layer, settle
