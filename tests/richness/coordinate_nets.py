"""Nets that grow in width or depth, and the check of how they move."""

from collections import OrderedDict

import torch
from torch import nn

from holdfast import nets
from holdfast.nets import Learner, SharedHead
from holdfast.richness import coordinate_check, parametrize
from holdfast.richness.activations import OUTPUT

WIDTHS = (64, 128, 256)
LAYERS = ("backbone.linear1", "backbone.linear2", "backbone", OUTPUT)


def plain(width, seed):
    return Learner(
        nets.mlp((1, 8, 8), hidden=(1, 1), width=width, seed=seed), SharedHead(width, range(10))
    )


def drawn(learner, seed):
    """With heads that follow the seed, as those of a run do."""
    generator = torch.Generator().manual_seed(seed)
    nn.init.normal_(learner.heads.linear.weight, generator=generator)
    return learner


def net(parametrization="mup", **options):
    return lambda width, seed: parametrize(
        plain(width, seed), parametrization, seed=seed, **options
    )


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.act, self.linear = nn.ReLU(), nn.Linear(width, width)

    def forward(self, x):
        return x + self.linear(self.act(x))


def deep(depth, seed, **options):
    """A residual net of `depth` linear branches, 128 wide."""
    blocks = nn.Sequential(*(Block(128) for _ in range(depth)))
    layers = [("flat", nn.Flatten()), ("stem", nn.Linear(64, 128)), ("blocks", blocks)]
    learner = Learner(nn.Sequential(OrderedDict(layers)), SharedHead(128, range(10)))
    branches = [f"backbone.blocks.{i}.linear" for i in range(depth)]
    return parametrize(learner, seed=seed, branches=branches, **options)


def check(build, batch, **options):
    options = {"widths": WIDTHS, "lr": 1.0, "steps": 8, **options}
    return coordinate_check(build, x=batch[0], y=batch[1], **options)
