"""The units of a network: which weights make each of them, and which read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from holdfast.nets.heads import GrowingHead, Head, SharedHead, TaskHeads
from holdfast.nets.learner import Learner
from holdfast.nets.modes import evaluation_mode
from holdfast.nets.unit_tracing import UnitTracer
from holdfast.streams.stream import Task


class Reads(NamedTuple):
    """The parameters with which a layer reads: y = multiplier W x + b.

    weight: (outputs, inputs, ...).
    bias: (outputs,), or `None`.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    multiplier: float


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer, or the heads, that the units of another layer go into.

    Args:
        name: of the module.
        module: whose input the units are, or are a part of.
        units: the unit that each column of the input is, -1 for what is none of these.
    """

    name: str
    module: nn.Module
    units: Int64[Tensor, " columns"]

    @property
    def reads(self) -> list[Reads]:
        """Its parameters now, one for each head there is: heads grow, and their parameters change.

        None are there before the first task of `TaskHeads`.
        """
        found = _heads(self.module) if isinstance(self.module, Head) else [self.module]
        return [
            Reads(
                cast(nn.Parameter, layer.weight),
                cast("nn.Parameter | None", layer.bias),
                _multiplier(layer),
            )
            for layer in found
        ]

    def columns(self, chosen: Bool[Tensor, " units"]) -> Bool[Tensor, " columns"]:
        """The columns of its input that these units are."""
        units = self.units.to(chosen.device)
        return chosen[units.clamp(min=0)] & (units >= 0)

    def means(self, x: Tensor) -> Float[Tensor, " columns"]:
        """The mean of each column of an input, over samples and over places or tokens."""
        channels = 1 if _is_convolution(self.module) else x.ndim - 1
        over = [d for d in range(x.ndim) if d != channels]
        return x.detach().float().mean(over) if x.dtype.itemsize < 4 else x.detach().mean(over)


class NormOf(NamedTuple):
    """A norm layer that units pass on their way.

    units: the unit that each of its entries normalises, -1 for what is none of these.
    """

    module: nn.Module
    units: Int64[Tensor, " entries"]


@dataclass(frozen=True, eq=False)
class UnitPath:
    """The units of one layer and where they go.

    A unit is an output of a linear layer, or a channel of a convolution, with all that is done to
    it alone: norm, nonlinearity, dropout, pooling. What leaves the network at a unit are the
    columns of its readers.

    Args:
        name: of the layer.
        layer: `torch.nn.Linear` or a convolution; row i of its weight makes unit i.
        norms: on the way, in order.
        readers: all that read the units.
    """

    name: str
    layer: nn.Module
    norms: tuple[NormOf, ...]
    readers: tuple[Reader, ...]

    @property
    def weight(self) -> nn.Parameter:
        """(units, inputs, ...)."""
        return cast(nn.Parameter, self.layer.weight)

    @property
    def bias(self) -> nn.Parameter | None:
        """(units,)."""
        return cast("nn.Parameter | None", self.layer.bias)

    @property
    def units(self) -> int:
        """How many."""
        return len(self.weight)

    @property
    def is_trained(self) -> bool:
        """Whether neither the layer nor a reader is frozen, now."""
        read = [reads.weight for reader in self.readers for reads in reader.reads]
        return all(weight.requires_grad for weight in (self.weight, *read))


@dataclass(frozen=True, eq=False)
class UnitPaths:
    """All layers of a network whose units are told apart, and why the others are not.

    Args:
        paths: from input to output.
        refused: the reason, by the name of the layer.
    """

    paths: tuple[UnitPath, ...]
    refused: dict[str, str]

    def __iter__(self) -> Iterator[UnitPath]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


@torch.no_grad()
def unit_paths(model: nn.Module, x: Tensor) -> UnitPaths:
    """Which weights make a unit of `model`, and which read it, found by running it once.

    `torch.nn.Linear` and convolutions, and what a parametrization makes of them, have units. Each
    is followed through nonlinearities, dropout, multiplication by numbers, batch, layer and group
    norm, pooling, flattening (a channel becomes one column a place) and concatenation, to the
    layers that read it. The last layer has no reader; of a `Learner` the heads read the features.
    A layer is refused, with the reason, where a unit goes anywhere else: it is added to another
    tensor (a skip connection), multiplied with one, split, transposed or attended with, read by a
    convolution with groups, or given out; where the layer is called twice or shares its weight.

    Layer and group norm tie units together: a change of one changes the statistics that the others
    are normalised with. They are passed all the same.

    Args:
        model: any module, or a `Learner`; the function its operations are looked at in is that of
            evaluation. It is left as it was.
        x: a batch of inputs, of two at the least where batch norm takes the statistics of the
            batch.

    Raises:
        ValueError: a `Learner` whose backbone differs by task.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    >>> found = unit_paths(net, torch.zeros(2, 1, 4, 4))
    >>> [(p.name, r.name, r.units.tolist()) for p in found for r in p.readers]
    [('0', '3', [0, 0, 0, 0, 1, 1, 1, 1])]
    >>> found.refused
    {'3': 'its output is an output of the network'}
    """
    learner = model if isinstance(model, Learner) else None
    if learner is not None and learner.per_task:
        raise ValueError("the backbone of the learner differs by task: its units are not one set")
    net = learner.backbone if learner is not None else model
    tracer = UnitTracer(net, "backbone" if learner is not None else "")
    with evaluation_mode(net):
        out = tracer.run(x)
    heads = learner.heads if learner is not None else None
    known = heads if isinstance(heads, GrowingHead | SharedHead | TaskHeads) else None
    tracer.end(out, None if known is None else ("heads", known))
    return _assembled(tracer)


def sample_inputs(model: nn.Module, task: Task) -> Tensor:
    """A sample of a task, twice, where the model lives: what `unit_paths` looks at it with."""
    x = task.inputs(task.test.x[[0, 0]])
    place = next(model.parameters(), None)
    return x if place is None else x.to(place.device)


def _assembled(tracer: UnitTracer) -> UnitPaths:
    paths = []
    for index, name in enumerate(tracer.names):
        if name in tracer.refused:
            continue
        layer = tracer.layers[name]
        readers = tuple(
            Reader(read.name, read.module, torch.from_numpy(units))
            for read in tracer.reads
            if (units := tracer.own(read.ids, index)) is not None
        )
        norms = tuple(
            NormOf(norm.module, torch.from_numpy(units))
            for norm in tracer.norms
            if (units := tracer.own(norm.ids, index)) is not None
        )
        paths.append(UnitPath(name, layer, norms, readers))
    return UnitPaths(tuple(paths), {n: tracer.refused[n] for n in tracer.ordered_refusals()})


def _heads(heads: Head) -> list[nn.Module]:
    if isinstance(heads, TaskHeads):
        return [cast(SharedHead, head).linear for head in heads.heads.values()]
    return [heads.linear if isinstance(heads, SharedHead) else heads]


def _multiplier(layer: nn.Module) -> float:
    if isinstance(layer, GrowingHead):
        return layer.readout.multiplier
    return float(getattr(layer, "multiplier", 1.0))


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.conv._ConvNd)
