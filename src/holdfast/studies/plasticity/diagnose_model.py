"""A person's own model as a learner, and the check that its builder is a function of a seed."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from holdfast.nets.heads import Head, TaskIds
from holdfast.nets.learner import Learner, feature_width
from holdfast.streams.stream import Stream, Task
from holdfast.training.checks import check_fit

Builder = Callable[[int], nn.Module]
"""seed -> a new model whose weights are a function of the seed."""


class Logits(Head):
    """No head at all: what the model gives are the logits, a column a class 0, 1, 2 ...

    Args:
        outputs: of the model.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.width = outputs

    def accommodate(
        self, index: int, classes: Sequence[int], generator: torch.Generator | None = None
    ) -> None:
        """Nothing to do; refuses labels that are no column."""
        if max(classes) >= self.width:
            raise ValueError(
                f"the model gives {self.width} outputs, but there are labels up to {max(classes)}; "
                "labels must be its columns, 0, 1, 2 ..."
            )

    def knows(self, index: int, classes: Sequence[int]) -> bool:
        """Whether all are columns."""
        return max(classes) < self.width

    def columns(self, y: Tensor, index: int) -> Tensor:
        """The labels."""
        return y

    def labels(self, columns: Tensor, index: int | None = None) -> Tensor:
        """The columns."""
        return columns

    def forward(self, features: Tensor, task: TaskIds = None) -> Tensor:
        """Nothing is done."""
        return features


def built(build: Builder, seed: int, task: Task) -> Learner:
    """The model of a seed as a learner; torch's global generators are left as they were.

    Raises:
        TypeError: the builder gives no module.
        ValueError: it does not take the samples, or has too few outputs.
    """
    with torch.random.fork_rng():
        model = build(seed)
    if not isinstance(model, nn.Module):
        raise TypeError(f"build({seed}) must give an nn.Module, got {type(model).__name__}")
    if isinstance(model, Learner):
        return model
    try:
        width = feature_width(model, task)
    except ValueError as error:
        raise ValueError(
            f"build({seed}) must give a model with logits (n, classes): {error}"
        ) from error
    learner = Learner(model, Logits(width))
    learner.heads.accommodate(0, task.classes)
    return learner


def check_builder(build: Builder, seeds: Sequence[int], stream: Stream) -> None:
    """Refuse a builder that is no function of its seed, or makes no model for the data.

    It is called twice with the first seed, with torch's global generator in another state, and
    once with another seed. NumPy's and Python's own generators are not guarded against.

    Raises:
        TypeError: it is not callable, or gives no module.
        ValueError: the same seed gives other weights, another seed the same ones, or the same
            object comes twice.
    """
    if not callable(build) or isinstance(build, nn.Module):
        what = type(build).__name__ if isinstance(build, nn.Module) else repr(build)
        raise TypeError(f"build must be a function of a seed that gives a model, got {what}")
    first, other = seeds[0], seeds[1] if len(seeds) > 1 else seeds[0] + 1
    models = [built(build, first, stream[-1])]
    check_fit(models[0], stream)
    with torch.random.fork_rng(devices=[]):
        torch.rand(1)
        models.append(built(build, first, stream[-1]))
    own = {id(p) for p in models[0].parameters()}
    if own & {id(p) for p in models[1].parameters()}:
        raise ValueError("build must make a new model at each call; it gave the same one twice")
    if not _alike(models[0], models[1]):
        raise ValueError(
            f"build is no function of its seed: build({first}) gave other weights the second time; "
            "call torch.manual_seed(seed) before the model is made"
        )
    if _alike(models[0], built(build, other, stream[-1])):
        raise ValueError(
            f"build is no function of its seed: build({first}) and build({other}) gave the same "
            "weights; call torch.manual_seed(seed) before the model is made"
        )


def with_weights(learner: Learner, trained: nn.Module) -> Learner:
    """A learner with the weights and buffers of a trained model, which is left alone.

    Raises:
        ValueError: the two are not built alike, naming what differs.
    """
    target: nn.Module = learner
    if not isinstance(trained, Learner):
        target = learner.backbone
    held, given = target.state_dict(), trained.state_dict()
    odd = [name for name in {**held, **given} if not _same_shape(held, given, name)]
    if odd:
        raise ValueError(
            f"model is not built as build(seed) builds it: they differ in {', '.join(odd[:5])}"
        )
    target.load_state_dict(given)
    return learner


def _same_shape(a: dict[str, Tensor], b: dict[str, Tensor], name: str) -> bool:
    return name in a and name in b and a[name].shape == b[name].shape


def _alike(a: nn.Module, b: nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )
