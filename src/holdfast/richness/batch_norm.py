"""BatchNorm replaced by a norm that looks at one sample at a time."""

from torch import nn

_Kind = nn.modules.batchnorm._BatchNorm


def batch_norms(model: nn.Module) -> list[str]:
    """The paths of the BatchNorm layers of a model."""
    return [path for path, module in model.named_modules() if isinstance(module, _Kind)]


def group_norm(model: nn.Module) -> None:
    """Replace every BatchNorm by GroupNorm with one group, in place.

    One group is layer norm over channels and space together; gain and bias start as 1 and 0. What
    a parametrization has told the old layer, and that it is frozen, holds for the new one.
    """
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, _Kind):
                setattr(parent, name, _one_group(child))


def _one_group(old: _Kind) -> nn.GroupNorm:
    new = nn.GroupNorm(1, old.num_features, old.eps, old.affine)
    for name, parameter in old.named_parameters(recurse=False):
        new.get_parameter(name).requires_grad_(parameter.requires_grad)
        new.to(parameter)
    if hasattr(old, "scaling"):
        new.scaling = old.scaling
    return new.train(old.training)
