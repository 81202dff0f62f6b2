"""The coordinate check of a configuration."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from holdfast.config import Config, build, fresh_learner, override, resolve
from holdfast.data.split import Split
from holdfast.nets.learner import Learner
from holdfast.probes.shown import evenly_spaced
from holdfast.richness.coordinates import coordinate_check
from holdfast.richness.drift import Coordinates
from holdfast.richness.rates import rates
from holdfast.training.losses import criterion
from holdfast.training.optimizers import build_optimizer, by_rate, trainable


def check_coordinates(
    config: Config,
    widths: Sequence[int] | None = None,
    *,
    depths: Sequence[int] | None = None,
    samples: int = 64,
    steps: int = 10,
    seeds: Sequence[int] = (0, 1, 2),
    band: float = 0.2,
    raises: bool = True,
) -> Coordinates:
    """`holdfast.richness.coordinate_check` of the net of a configuration, on its first task.

    Nets are made with ``net.width`` or ``net.depth`` set, parametrized and trained as a run of the
    configuration would, with its optimizer, learning rate, momentum and loss but neither schedule
    nor clipping, on one batch of the first task of the stream.

    Args:
        config: of a run; its seed draws the stream.
        widths: two or more; or
        depths: two or more.
        samples: of the batch, evenly spaced among the training samples of the task.
        steps: as in `coordinate_check`, as are `seeds`, `band` and `raises`.
        seeds: of the weights.
        band: a slope counts as 0 within +- this.
        raises: whether to raise on a fault.

    Raises:
        DriftError: see `coordinate_check`.
        TypeError, ValueError: whatever is wrong with the configuration or an argument.
    """
    config = resolve(config)
    parts = build(config)
    training, stream = parts.training, parts.stream
    task, key = stream[0], "net.width" if depths is None else "net.depth"
    split = task.train if isinstance(task.train, Split) else task.test
    chosen = evenly_spaced(len(split.x), samples)

    def build_learner(size: int, seed: int) -> Learner:
        mine = deepcopy(config)
        override(mine, key, size)
        learner = fresh_learner(resolve({**mine, "seed": seed}), stream)
        learner.accommodate(0, task, torch.Generator().manual_seed(seed))
        return learner

    def optimizer(model: nn.Module, lr: float) -> Optimizer:
        factors = rates(model, training.optimizer)
        return build_optimizer(by_rate(trainable(model), factors), training, factors)

    parts.learner.accommodate(0, task)
    return coordinate_check(
        build_learner,
        widths,
        depths=depths,
        x=task.inputs(split.x[chosen]),
        y=parts.learner.columns(split.y[chosen], 0),
        optimizer=optimizer,
        lr=training.lr,
        loss=criterion(training.loss, stream.is_regression),
        forward=_first_task,
        steps=steps,
        seeds=seeds,
        band=band,
        raises=raises,
    )


def _first_task(model: nn.Module, x: Tensor) -> Tensor:
    return model(x, 0)
