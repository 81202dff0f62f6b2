"""Following the outputs of layers through a network while it runs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Int64
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from holdfast.nets.scaled import ScaledConv1d, ScaledConv2d, ScaledConv3d, ScaledLinear

Ids = Int64[np.ndarray, " channels"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, ScaledConv1d, ScaledConv2d, ScaledConv3d)
_LAYERS = (nn.Linear, ScaledLinear, *_CONVOLUTIONS)
"""Exact types: a subclass may compute otherwise."""
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)

_ENTRY_BY_ENTRY = {
    *("relu", "relu6", "leaky_relu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish"),
    *("softplus", "softsign", "softshrink", "hardshrink", "tanhshrink", "threshold"),
    *("tanh", "sigmoid", "logsigmoid", "hardtanh", "hardswish", "hardsigmoid", "erf", "sin", "cos"),
    *("neg", "abs", "square", "sqrt", "exp", "pow", "clamp", "clamp_min", "clamp_max"),
    *("add", "sub", "rsub", "mul", "div", "contiguous", "clone", "detach"),
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"),
    *("to", "float", "double", "half", "bfloat16"),
}
"""Functions of one tensor that treat its entries alike; with numbers besides."""
_POOLING = {
    f"{kind}_pool{d}d" for kind in ("max", "avg", "adaptive_max", "adaptive_avg") for d in (1, 2, 3)
}
_RESHAPING = {"flatten", "reshape", "view", "squeeze"}
_SKIPS = {"add", "sub", "rsub", "iadd"}


class _Carried(NamedTuple):
    """A tensor whose channels, along `dim`, are units: `ids` says which, -1 for none."""

    ids: Ids
    dim: int


class Met(NamedTuple):
    """A module that units were met at, and which of its columns or entries are which."""

    name: str
    module: nn.Module
    ids: Ids


class UnitTracer(TorchFunctionMode):
    """Runs a network once and notes where the outputs of its layers go.

    The units of the layer called i-th have the numbers `starts[i]` on.

    Args:
        net: to run, in the mode it is in.
        prefix: of the names of its modules.
    """

    def __init__(self, net: nn.Module, prefix: str) -> None:
        super().__init__()
        self.net = net
        self.names: list[str] = []
        self.starts: list[int] = [0]
        self.layers: dict[str, nn.Module] = {}
        self.reads: list[Met] = []
        self.norms: list[Met] = []
        self.refused: dict[str, str] = {}
        self._called: dict[str, int] = {}
        self._carried: dict[int, _Carried] = {}
        self._alive: list[Any] = []
        self._inside = 0
        self._owner: dict[int, str] = {}
        self._paths = {
            module: ".".join(part for part in (prefix, name) if part)
            for name, module in net.named_modules()
        }
        for module, name in self._paths.items():
            weight = module._parameters.get("weight")
            if weight is None:
                continue
            first = self._owner.setdefault(id(weight), name)
            if first != name:
                self.refused[first] = f"it shares its weight with {name}"
                self.refused[name] = f"it shares its weight with {first}"

    def run(self, x: Tensor) -> Any:
        """What the network gives."""
        handles = []
        for module in self._paths:
            if type(module) in _LAYERS or isinstance(module, _NORMS):
                handles.append(module.register_forward_pre_hook(self._enter))
                handles.append(module.register_forward_hook(self._leave, with_kwargs=True))
        try:
            with self:
                return self.net(x)
        finally:
            for handle in handles:
                handle.remove()

    def end(self, out: Any, heads: tuple[str, nn.Module] | None) -> None:
        """Note who reads the output of the network, and refuse what nobody reads, or too many.

        Args:
            out: of the network.
            heads: a module, with its name, that reads it, in the last dimension.
        """
        for tensor in _tensors(out):
            carried = self._carried.get(id(tensor))
            if carried is None:
                continue
            if heads is not None and tensor is out and carried.dim == tensor.ndim - 1:
                self.reads.append(Met(*heads, carried.ids))
            else:
                self._refuse([carried], "its output is an output of the network")
        for name, times in self._called.items():
            if times > 1:
                self.refused.setdefault(name, "it is used more than once in a pass")
        for read in self.reads:
            if read.name in self.refused and self._called.get(read.name, 1) > 1:
                self._refuse_ids(read.ids, f"{read.name}, which reads it, is used more than once")
            elif "shares its weight" in self.refused.get(read.name, ""):
                self._refuse_ids(read.ids, f"{read.name}, which reads it, shares its weight")
        for index, name in enumerate(self.names):
            if all(self.own(read.ids, index) is None for read in self.reads):
                self.refused.setdefault(name, "no layer reads its output")

    def own(self, ids: Ids, index: int) -> Ids | None:
        """The units of the layer called `index`-th among these, counted from 0; `None` if none."""
        own = (ids >= self.starts[index]) & (ids < self.starts[index + 1])
        return np.where(own, ids - self.starts[index], -1) if own.any() else None

    def ordered_refusals(self) -> list[str]:
        """The layers that are refused, in the order they were called in."""
        return [name for name in self.names if name in self.refused]

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the function, and note what it does to units."""
        out = func(*args, **(kwargs or {}))
        if not self._inside:
            self._note(func, args, kwargs or {}, out)
        return out

    def _note(self, func: Any, args: Any, kwargs: Mapping[str, Any], out: Any) -> None:
        if next(_tensors(out), None) is None:
            return  # a question about shape or device
        given = [*_tensors(args), *_tensors(dict(kwargs))]
        for tensor in given:
            if id(tensor) in self._owner:
                # Besides its module's own call.
                name = self._owner[id(tensor)]
                self._called[name] = self._called.get(name, 0) + 2
        carried = [self._carried[id(t)] for t in given if id(t) in self._carried]
        if not carried:
            return
        name = getattr(func, "__name__", str(func)).strip("_")
        follow = self._rule(name, len(given))
        found = follow(name, given, args, kwargs, out) if follow else None
        if found is None:
            to = "is added to another tensor" if name in _SKIPS else f"goes through {name}"
            self._refuse(carried, f"its output {to}")
            for tensor in _tensors(out):  # one that was changed in place
                self._carried.pop(id(tensor), None)
        else:
            self._carry(out, found)

    def _rule(self, name: str, tensors: int) -> Callable[..., _Carried | None] | None:
        if name in ("cat", "concat", "concatenate"):
            return self._cat
        if tensors != 1:
            return None
        if name in _ENTRY_BY_ENTRY:
            return self._entries
        if name in _POOLING or name == "mean":
            return self._pool
        return self._reshape if name in _RESHAPING else None

    def _entries(
        self, name: str, given: list[Tensor], args: Any, kwargs: Any, out: Any
    ) -> _Carried | None:
        carried = self._carried[id(given[0])]
        return carried if isinstance(out, Tensor) and out.shape == given[0].shape else None

    def _pool(
        self, name: str, given: list[Tensor], args: Any, kwargs: Any, out: Any
    ) -> _Carried | None:
        carried = self._carried[id(given[0])]
        if name == "mean":
            over = kwargs.get("dim", args[1] if len(args) > 1 else 0)
            dims = over if isinstance(over, list | tuple) else [over]
            kept = all(d % given[0].ndim > 1 for d in dims)
        else:
            kept = isinstance(out, Tensor) and given[0].ndim > 2
        return carried if carried.dim == 1 and kept else None

    def _reshape(
        self, name: str, given: list[Tensor], args: Any, kwargs: Any, out: Any
    ) -> _Carried | None:
        x = given[0]
        carried = self._carried[id(x)]
        if out.shape == x.shape:
            return carried
        rows, *rest = x.shape
        if carried.dim != 1 or out.shape != (rows, int(np.prod(rest))):
            return None
        return _Carried(np.repeat(carried.ids, int(np.prod(rest[1:]))), 1)

    def _cat(
        self, name: str, given: list[Tensor], args: Any, kwargs: Any, out: Any
    ) -> _Carried | None:
        dim = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else 0)) % out.ndim
        parts = []
        for tensor in given:
            carried = self._carried.get(id(tensor))
            if carried is not None and carried.dim != dim:
                return None
            parts.append(np.full(tensor.shape[dim], -1) if carried is None else carried.ids)
        return _Carried(np.concatenate(parts), dim)

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._inside += 1

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        self._inside -= 1
        if self._inside:
            return
        x = args[0] if args else next(iter(kwargs.values()))
        carried = self._carried.get(id(x))
        if isinstance(module, _NORMS):
            self._pass_norm(module, x, carried, out)
        else:
            self._pass_layer(module, x, carried, out)

    def _pass_norm(self, module: nn.Module, x: Tensor, carried: _Carried | None, out: Any) -> None:
        if carried is None:
            return
        name = self._paths[module]
        of_last = isinstance(module, nn.LayerNorm | nn.RMSNorm)
        over = len(cast(nn.LayerNorm, module).normalized_shape) if of_last else 1
        if over != 1 or carried.dim != (x.ndim - 1 if of_last else 1):
            self._refuse([carried], f"{name} normalises its output over other dimensions too")
            return
        self.norms.append(Met(name, module, carried.ids))
        self._carry(out, carried)

    def _pass_layer(self, module: nn.Module, x: Tensor, carried: _Carried | None, out: Any) -> None:
        name = self._paths[module]
        convolves = type(module) in _CONVOLUTIONS
        if carried is not None:
            if carried.dim != (1 if convolves else x.ndim - 1):
                self._refuse([carried], f"{name} reads its output along another dimension")
            elif convolves and cast(nn.Conv2d, module).groups != 1:
                self._refuse([carried], f"{name} reads its output in groups")
            else:
                self.reads.append(Met(name, module, carried.ids))
        self._called[name] = self._called.get(name, 0) + 1
        if self._called[name] > 1:
            return
        units = out.shape[1 if convolves else -1]
        start = self.starts[-1]
        self.names.append(name)
        self.layers[name] = module
        self.starts.append(start + units)
        self._carry(
            out, _Carried(np.arange(start, start + units), 1 if convolves else out.ndim - 1)
        )

    def _carry(self, out: Tensor, carried: _Carried) -> None:
        self._carried[id(out)] = carried
        # Held, so that no other tensor gets its id.
        self._alive.append(out)

    def _refuse(self, carried: list[_Carried], reason: str) -> None:
        for each in carried:
            self._refuse_ids(each.ids, reason)

    def _refuse_ids(self, ids: Ids, reason: str) -> None:
        for index, name in enumerate(self.names):
            if self.own(ids, index) is not None:
                self.refused.setdefault(name, reason)


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples, mappings and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))
