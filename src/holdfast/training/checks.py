"""What can be known to go wrong before a run starts."""

from collections.abc import Mapping
from numbers import Integral

from torch import nn

from holdfast.data.split import Split
from holdfast.methods.method import Method
from holdfast.nets.heads import GrowingHead, SharedHead, TaskHeads
from holdfast.nets.learner import Learner, feature_width
from holdfast.probes.probe import Probe
from holdfast.starts.start import Start
from holdfast.streams.sources import are_loaded
from holdfast.streams.stream import Stream
from holdfast.training.options import Training

_KINDS: dict[str, tuple[type, str]] = {
    "stream": (Stream, "a Stream, as holdfast.streams.split(...) gives"),
    "learner": (nn.Module, "a Learner or a backbone, as holdfast.nets.mlp(...) gives"),
    "method": (Method, "a Method, such as holdfast.methods.EWC()"),
    "training": (Training, "a Training, such as holdfast.Training(epochs=5)"),
    "start": (Start, "a Start, such as holdfast.starts.CarryOn()"),
    "seed": (Integral, "an integer"),
}


def check_kinds(parts: Mapping[str, object], probes: object) -> None:
    """Refuse arguments of a run that are something else.

    Args:
        parts: stream, learner, method, training, start and seed, by name.
        probes: of the run.

    Raises:
        TypeError: naming the argument, the value and what is allowed.
    """
    for name, value in parts.items():
        kind, allowed = _KINDS[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{name} must be {allowed}; got {value!r}")
    if not isinstance(probes, (list, tuple)):
        raise TypeError(f"probes must be a list of probes, got {probes!r}")
    for probe in probes:
        if not isinstance(probe, Probe) or isinstance(probe, type):
            raise TypeError(
                f"probes must hold probes, such as holdfast.probes.EffectiveRank(); got {probe!r}"
            )


def check_fit(learner: Learner, stream: Stream) -> None:
    """Refuse a learner that cannot learn some task of a stream.

    Raises:
        ValueError: the backbone does not take the stream's samples, its features are not what the
            heads take, the heads lack a class and cannot grow, they tell tasks apart in a
            class-incremental stream, or they are for another kind of target.
    """
    heads = learner.heads
    # Of a backbone that differs by task it is not known whether it has met one.
    width = heads.width if learner.per_task else feature_width(learner.backbone, stream[0])
    if width != heads.width:
        raise ValueError(
            f"learner: its heads take {heads.width} features, its backbone gives {width} for "
            f"samples of shape {stream.input_shape}"
        )
    if stream.is_regression:
        _check_targets(learner, stream)
        return
    if isinstance(heads, TaskHeads) and stream.scenario == "class_incremental":
        raise ValueError(
            "learner: TaskHeads need the task at test time, which a class_incremental stream does "
            "not tell; use GrowingHead or SharedHead"
        )
    if isinstance(heads, SharedHead):
        heads.accommodate(0, stream.classes)  # it refuses what it lacks and changes nothing


def check_batches(learner: Learner, stream: Stream, method: Method, batch_size: int) -> None:
    """Refuse training phases that cannot be cut into batches.

    Raises:
        TypeError: a phase runs over tensors and `DataLoader`s both.
        ValueError: a phase leaves a batch of a single sample, naming its task, and BatchNorm
            would have nothing to normalise over.
    """
    normalised = any(isinstance(module, nn.BatchNorm1d) for module in learner.modules())
    for i, task in enumerate(stream):
        phase = [stream[j] for j in method.rehearses(i)]
        if are_loaded(phase) or not normalised:
            continue
        count = sum(len(met.train) for met in phase if isinstance(met.train, Split))
        if batch_size == 1 or count % batch_size == 1:
            raise ValueError(
                f"training.batch_size {batch_size} leaves one of the {count} samples of task "
                f"{task.name!r} in a batch of its own, which BatchNorm cannot normalise; take "
                "another batch size"
            )


def check_epochs(method: Method, stream: Stream, training: Training) -> None:
    """Refuse numbers of epochs that do not do for a method.

    Raises:
        ValueError: see the method.
    """
    method.check_epochs([training.epochs_of(i, len(stream)) for i in range(len(stream))])


def _check_targets(learner: Learner, stream: Stream) -> None:
    heads, outputs = learner.heads, stream[0].test.y.shape[1]
    if isinstance(heads, (GrowingHead, TaskHeads)):
        raise ValueError(
            f"learner: regression targets need a SharedHead with {outputs} outputs, got "
            f"{type(heads).__name__}"
        )
    if isinstance(heads, SharedHead) and heads.linear.out_features != outputs:
        raise ValueError(
            f"learner: its SharedHead gives {heads.linear.out_features} outputs, the stream has "
            f"{outputs} targets a sample"
        )
