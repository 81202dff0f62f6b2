"""Linear heads of any kind, read and written as rows [W, b] of the function they compute."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from holdfast.nets.heads import GrowingHead, SharedHead, TaskHeads
from holdfast.nets.learner import Learner
from holdfast.nets.scaled import Readout, ScaledLinear
from holdfast.starts.arriving import class_numbers
from holdfast.starts.model_heads import layer_of_model

SUPPORTED = (
    "torch.nn.Linear; GrowingHead, SharedHead, TaskHeads (with task=) or a Learner of holdfast; "
    "a *ForSequenceClassification or *ForImageClassification model of transformers; a timm model "
    "whose get_classifier() is a torch.nn.Linear"
)


class Replacement(NamedTuple):
    """A parameter that growth put in the place of another.

    Args:
        before: the parameter that was there.
        after: the one that is there now; `before` itself where no rows were added.
        fresh: the rows of `after` whose values are new, and whose optimizer state must be too.
    """

    before: nn.Parameter
    after: nn.Parameter
    fresh: tuple[int, ...]


@dataclass(frozen=True)
class LinearHead:
    """A layer y = m W h + b with a label for each of its rows.

    Args:
        layer: the module whose parameters ``weight`` (C, d) and ``bias`` (C,), or `None`, it is.
        labels: the class of each row, `None` for a spare one.
        named: the class each row is reserved for, where the head names its rows itself.
        numbered: whether a label is the number of its row, as where nothing else was said.
        readout: how its rows start and count; m is its multiplier.
        settle: called once the parameters are in place, with the labels of all rows: brings all
            that depends on their number up to date.
    """

    layer: nn.Module
    labels: tuple[int | None, ...]
    named: tuple[int, ...] | None
    numbered: bool
    readout: Readout
    settle: Callable[[tuple[int | None, ...]], None]

    @property
    def weight(self) -> nn.Parameter:
        """The raw weight (C, d)."""
        found = self.layer.weight
        assert isinstance(found, nn.Parameter)
        return found

    @property
    def bias(self) -> nn.Parameter | None:
        """The bias (C,), if it has one."""
        found = self.layer.bias
        assert found is None or isinstance(found, nn.Parameter)
        return found

    @property
    def width(self) -> int:
        """Number d of features."""
        return int(self.weight.shape[1])

    def rows(self) -> Float64[Tensor, "rows inputs"]:
        """The function of each row, [m w, b] (C, d+1); without a bias the last column is 0."""
        weight = self.weight.detach().double() * self.readout.multiplier
        bias = weight.new_zeros(len(weight)) if self.bias is None else self.bias.detach().double()
        return torch.cat([weight, bias.unsqueeze(1)], 1)

    def held(self, functions: Float64[Tensor, "some inputs"]) -> Float64[Tensor, "some inputs"]:
        """The same functions after rounding to the type of the parameters."""
        factor = torch.ones_like(functions[:1])
        factor[:, :-1] = self.readout.multiplier
        return (functions / factor).to(self.weight.dtype).double() * factor

    def draw(self, rows: int, generator: torch.Generator) -> Float64[Tensor, "rows inputs"]:
        """Functions of new rows as the head itself draws them, by default as `torch.nn.Linear`."""
        weight, bias = self.readout.draw(rows, self.width, generator)
        bias = bias if self.bias is not None else torch.zeros_like(bias)
        drawn = torch.cat([weight * self.readout.multiplier, bias.unsqueeze(1)], 1)
        return drawn.double().to(self.weight.device)

    def places(self, new: Sequence[int]) -> tuple[int, ...]:
        """The row that each new class gets: its own where rows are named or numbered, else spare
        rows from the first on, then rows behind the last.

        Raises:
            ValueError: labels below 0, repeated, none, or among those of the head; new labels that
                are not the numbers of the next rows, where labels are row numbers.
        """
        if not new or len(set(new)) != len(new) or min(new) < 0:
            raise ValueError(
                f"new_classes must be one or more different labels >= 0, got {list(new)}"
            )
        known = sorted(set(new) & {label for label in self.labels if label is not None})
        if known:
            raise ValueError(
                f"the head already has classes {known[:5]}; if these rows are spare, say so: "
                "classes=[label of each row, None for a spare one]"
            )
        if self.numbered:
            first = len(self.labels)
            if set(new) != set(range(first, first + len(new))):
                raise ValueError(
                    f"new_classes must be {_span(first, len(new))}, the numbers of the next rows, "
                    f"got {list(new)}; other labels need classes=, the label of each row there is"
                )
            return tuple(new)
        reserved = {} if self.named is None else {c: i for i, c in enumerate(self.named)}
        spare = [i for i, c in enumerate(self.labels) if c is None and self.named is None]
        behind = sum(1 for c in new if c not in reserved) - len(spare)
        spare += range(len(self.labels), len(self.labels) + max(behind, 0))
        free = iter(spare)
        return tuple(reserved[c] if c in reserved else next(free) for c in new)

    def write(
        self, functions: dict[int, Float64[Tensor, " inputs"]], labels: dict[int, int]
    ) -> tuple[Replacement, ...]:
        """Set rows, adding those behind the last; all other rows keep their bits.

        The layer stays the same module. Where rows are added its parameters are replaced by larger
        ones of the same type, device and ``requires_grad``; gradients are not carried over.

        Args:
            functions: [m w, b] (d+1,) of each row to be set, by its number.
            labels: the class of each row that gets one.
        """
        count = max([len(self.labels), *(row + 1 for row in functions)])
        places = torch.tensor(sorted(functions), dtype=torch.int64)
        wanted = torch.stack([functions[int(row)] for row in places])
        raw = {"weight": (self.weight, wanted[:, :-1] / self.readout.multiplier)}
        if self.bias is not None:
            raw["bias"] = (self.bias, wanted[:, -1])
        full = {name: _with_rows(old, places, new, count) for name, (old, new) in raw.items()}
        fresh = tuple(places.tolist())
        replaced = []
        for name, (old, _) in raw.items():
            if count == len(self.labels):
                old.data.copy_(full[name])
                replaced.append(Replacement(old, old, fresh))
            else:
                new = nn.Parameter(full[name], requires_grad=old.requires_grad)
                setattr(self.layer, name, new)
                replaced.append(Replacement(old, new, fresh))
        if isinstance(self.layer, nn.Linear):
            self.layer.out_features = count
        all_labels = [*self.labels, *(None for _ in range(count - len(self.labels)))]
        for row, label in labels.items():
            all_labels[row] = label
        self.settle(tuple(all_labels))
        return tuple(replaced)


def linear_head(
    head: nn.Module, classes: Sequence[int | None] | None = None, task: int | None = None
) -> LinearHead:
    """The linear layer of a head or model, with the class of each row.

    Args:
        head: see `grow_head`.
        classes: the label of each row, `None` or -1 for a spare one; `None`: what the head itself
            says, or else the number of the row.
        task: position of the task whose head it is, for `TaskHeads`.

    Raises:
        TypeError: no linear layer, or one of a form that cannot be grown, naming what can.
        ValueError: `classes` that do not fit the rows, or `task` missing or not asked for.
    """
    if isinstance(head, Learner):
        inside = linear_head(head.heads, classes, task)
        _check_untied(head, inside.layer)
        return inside
    if isinstance(head, TaskHeads):
        return _of_task(head, classes, task)
    if task is not None:
        raise ValueError(f"task is for TaskHeads; {type(head).__name__} is the same for all tasks")
    if isinstance(head, GrowingHead):
        _check_parameters(head)
        return _checked(head, classes, _known(head), head.readout, lambda new: _relabel(head, new))
    if isinstance(head, SharedHead):
        if len(head.known) == 0:
            raise TypeError("this SharedHead gives regression outputs, which stand for no classes")
        layer = _checked_layer(head.linear)
        readout = _readout(layer)
        return _checked(layer, classes, _known(head), readout, lambda new: _relabel(head, new))
    if isinstance(head, nn.Linear):
        layer = _checked_layer(head)
        return _checked(layer, classes, None, _readout(layer), lambda new: None)
    found = layer_of_model(head)
    if found is None:
        raise TypeError(f"head must be one of: {SUPPORTED}; got {_name(head)}")
    layer, settle = found
    layer = _checked_layer(layer)
    _check_untied(head, layer)
    return _checked(layer, classes, None, _readout(layer), lambda new: settle(len(new)))


def _of_task(
    heads: TaskHeads, classes: Sequence[int | None] | None, task: int | None
) -> LinearHead:
    if task is None:
        raise ValueError(f"task must name the head of TaskHeads, those of {heads.tasks} are there")
    if task in heads.tasks:
        own = heads.heads[str(task)]
        assert isinstance(own, SharedHead)
        return linear_head(own, classes)
    raise ValueError(
        f"task {task} has no head yet, heads are there for {heads.tasks}; make it with "
        f"accommodate({task}, classes), then set its rows with classes=[None, ...]"
    )


def _checked(
    layer: nn.Module,
    classes: Sequence[int | None] | None,
    named: tuple[int, ...] | None,
    readout: Readout,
    settle: Callable[[tuple[int | None, ...]], None],
) -> LinearHead:
    rows = len(layer.weight)  # type: ignore[arg-type]
    own = named if named is not None else tuple(range(rows))
    if classes is None:
        return LinearHead(layer, own, named, named is None, readout, settle)
    numbers = class_numbers([-1 if c is None else c for c in classes], "classes")
    labels = tuple(None if c == -1 else c for c in numbers)
    held = [c for c in labels if c is not None]
    if len(labels) != rows:
        raise ValueError(
            f"classes must name the label of each of the {rows} rows, None for a spare one; got "
            f"{len(labels)}: which rows are spare would be a guess"
        )
    if len(set(held)) != len(held) or any(c < 0 for c in held):
        raise ValueError(f"classes must be different labels >= 0, None or -1; got {list(classes)}")
    if named is not None and any(c not in (None, n) for c, n in zip(labels, named, strict=True)):
        raise ValueError(
            f"classes must agree with the head's own {list(named)}, or be None for a spare row; "
            f"got {list(classes)}"
        )
    return LinearHead(layer, labels, named, False, readout, settle)


def _checked_layer(layer: nn.Module) -> nn.Module:
    if type(layer).forward not in (nn.Linear.forward, ScaledLinear.forward):
        raise TypeError(
            f"head must be one of: {SUPPORTED}; got {_name(layer)}, which computes otherwise"
        )
    _check_parameters(layer)
    return layer


def _check_parameters(layer: nn.Module) -> None:
    for name in ("weight", "bias"):
        parameter = getattr(layer, name)
        if parameter is not layer._parameters.get(name):
            raise TypeError(
                f"the {name} of this {_name(layer)} is computed from other parameters, so its rows "
                "cannot be set; remove the parametrization "
                "(torch.nn.utils.parametrize.remove_parametrizations), grow, register it again"
            )
        if parameter is not None and is_lazy(parameter):
            raise TypeError(f"this {_name(layer)} has no {name} yet; pass a batch through it first")
        if parameter is not None and (not parameter.is_floating_point() or parameter.is_meta):
            raise TypeError(
                f"the {name} of this {_name(layer)} holds no floats to read: {parameter.dtype} on "
                f"{parameter.device}"
            )


def _check_untied(model: nn.Module, layer: nn.Module) -> None:
    """Another module that has the same parameter would keep the old one."""
    for path, module in model.named_modules():
        for name, parameter in module._parameters.items():
            mine = any(parameter is own for own in layer._parameters.values())
            if parameter is not None and mine and module is not layer:
                raise TypeError(
                    f"the head shares its parameter with {path}.{name}, which would not grow with "
                    "it; give the head a weight of its own"
                )


def _readout(layer: nn.Module) -> Readout:
    if isinstance(layer, ScaledLinear):
        return Readout(layer.multiplier, layer.scaling.std, layer.scaling)
    return Readout()


def _known(head: GrowingHead | SharedHead) -> tuple[int, ...]:
    return tuple(head.known.tolist())


def _relabel(head: GrowingHead | SharedHead, labels: tuple[int | None, ...]) -> None:
    """Spare rows go by the label they are reserved for."""
    old = _known(head)
    own = [old[i] if c is None else c for i, c in enumerate(labels)]
    head.known = torch.tensor(own).to(head.known)


def _with_rows(old: Tensor, places: Tensor, new: Tensor, count: int) -> Tensor:
    """A copy with `count` rows, those at `places` new and the others bit for bit."""
    full = old.detach().new_zeros(count, *old.shape[1:])
    full[: len(old)] = old.detach()
    full[places.to(full.device)] = new.to(full)
    return full


def _name(module: nn.Module) -> str:
    kind = type(module)
    return f"{kind.__module__}.{kind.__qualname__}"


def _span(first: int, count: int) -> str:
    return f"{first}" if count == 1 else f"{first} to {first + count - 1}"
