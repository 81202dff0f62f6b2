"""BatchNorm replaced by a norm that looks at one sample at a time."""

from torch import nn


def group_norm(model: nn.Module) -> None:
    """Replace every BatchNorm by GroupNorm with one group, in place.

    One group is layer norm over channels and space together; gain and bias start as 1 and 0.
    """
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                norm = nn.GroupNorm(1, child.num_features, child.eps, child.affine)
                weight = child.weight if child.affine else None
                setattr(parent, name, norm if weight is None else norm.to(weight))
