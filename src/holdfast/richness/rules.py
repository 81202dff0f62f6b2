"""The rules of torch's layers, and of the residual blocks of `holdfast.nets`."""

import math

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from holdfast.nets.residual import Branch
from holdfast.nets.resnet import BasicBlock
from holdfast.nets.scaled import (
    ScaledConv1d,
    ScaledConv2d,
    ScaledConv3d,
    ScaledEmbedding,
    ScaledLinear,
    ScaledProjection,
)
from holdfast.richness.registry import Branches, Matrix, Vectors, branch_rule, layer_rule


@layer_rule(nn.Linear, NonDynamicallyQuantizableLinear, ScaledLinear, ScaledProjection)
def linear(layer: nn.Linear) -> Matrix:
    """A sum over the inputs."""
    return Matrix(layer.in_features, layer.out_features)


@layer_rule(nn.Conv1d, nn.Conv2d, nn.Conv3d, ScaledConv1d, ScaledConv2d, ScaledConv3d)
def convolution(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> Matrix:
    """A sum over the channels of the group, at every place of the kernel.

    Where each channel is a group, a wider net has more groups; else their number is taken to stay.
    """
    fan_in = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
    depthwise = layer.groups == layer.in_channels > 1
    return Matrix(fan_in, layer.out_channels, grows=not depthwise)


@layer_rule(nn.Embedding, ScaledEmbedding)
def embedding(layer: nn.Embedding) -> Matrix:
    """A choice of a row."""
    return Matrix(None, layer.embedding_dim)


@layer_rule(
    nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.PReLU
)
def vectors(layer: nn.Module) -> Vectors:
    """Gains and biases."""
    return Vectors()


@branch_rule(BasicBlock)
def basic_block(block: BasicBlock) -> Branches:
    """Two convolutions with their norms; the shortcut is no branch."""
    return Branches(("norm2",), ("conv1", "norm1", "conv2", "norm2"))


@branch_rule(Branch)
def branch(block: Branch) -> Branches:
    """One convolution; the block scales its branch itself."""
    return Branches(("norm",))
