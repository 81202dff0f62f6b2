"""Samples through an encoder: in batches, once, with what came out kept on disk."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.data import digests, feature_cache

Precision = Literal["float32", "float16"]
Samples = Literal["sentences", "images"]


@runtime_checkable
class Identified(Protocol):
    """An encoder whose features can be kept, since it can say what they depend on.

    Called with a list of sentences, or (n, ...) samples as a dataset holds them, it gives
    (n, width) floats.
    """

    def __call__(self, samples: list[str] | Tensor) -> Tensor:
        """The features of a batch."""
        ...

    def identity(self) -> str:
        """What the features depend on besides the samples, in one word.

        Equal for two encoders only where their features are. Asked for before the first batch, so
        an encoder that reads its weights late need not have read them.
        """
        ...


@dataclass(frozen=True)
class FeatureEncoder:
    """An encoder with all that its features depend on: samples -> (n, width), on the CPU.

    Features that are kept lie under a digest of the samples, the encoder, `batch_size`,
    `unit_length` and `precision`. Not of the device: features made on another machine differ by
    rounding and are taken as they are.

    Args:
        batches: called with a batch of samples, without gradients, for (n, width) floats.
        samples: what it encodes: ``sentences``, or ``images`` (n, channels, height, width).
        batch_size: samples at one time.
        unit_length: divide each feature vector by its Euclidean norm; zero vectors stay.
        precision: ``float16`` takes half the room; features beyond 65,504 are refused then.
        cache: keep the features on disk. Needs `batches` to be `Identified`.
        progress: show a bar, in a terminal.

    Raises:
        TypeError: `batches` cannot say what it is though `cache` is set.
        ValueError: an argument is out of range.
    """

    batches: Callable[..., Tensor]
    samples: Samples = "images"
    batch_size: int = 64
    unit_length: bool = False
    precision: Precision = "float32"
    cache: bool = True
    progress: bool = True

    def __post_init__(self) -> None:
        size = self.batch_size
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"batch_size must be a positive integer, got {size!r}")
        for name, choices in (("precision", Precision), ("samples", Samples)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"{name} must be one of {get_args(choices)}, got {getattr(self, name)!r}"
                )
        if self.cache and not isinstance(self.batches, Identified):
            raise TypeError(
                "cache=True needs an encoder that can say what it is: "
                f"{type(self.batches).__name__} has no method identity(); give it one, or pass "
                "cache=False"
            )

    def __call__(self, samples: Sequence[str] | Tensor, name: str = "") -> Float[Tensor, "n width"]:
        """The features of samples.

        Args:
            samples: sentences, or (n, ...) tensors of any type.
            name: of the samples, in the bar and in errors.

        Raises:
            TypeError: the encoder gives no floats.
            ValueError: there are no samples, or the encoder gives another number of rows, no
                vectors, NaN or infinity. What was made of earlier chunks is kept.
        """
        name = name or self.samples
        if len(samples) == 0:
            raise ValueError(f"{name}: there are no samples to encode")

        def make(start: int, stop: int) -> Tensor:
            firsts = range(start, stop, self.batch_size)
            return torch.cat(
                [self._batch(samples[i : min(i + self.batch_size, stop)], i, name) for i in firsts]
            )

        with _bar(name, len(samples), self.progress) as done:
            if self.cache and isinstance(self.batches, Identified):
                if isinstance(samples, Tensor):
                    data = digests.of_tensor(samples)
                else:
                    data = digests.of_texts(samples)
                options = f"{self.batch_size} {self.unit_length} {self.precision}"
                key = feature_cache.key(data, self.batches.identity(), options)
                return feature_cache.remembered(key, len(samples), make, name, done)
            chunks = []
            for start, stop in feature_cache.chunks(len(samples)):
                chunks.append(make(start, stop))
                done(stop - start)
            return torch.cat(chunks)

    def _batch(self, batch: Sequence[str] | Tensor, first: int, name: str) -> Tensor:
        where = f"{name}, samples from {first}"
        with torch.no_grad():
            made = self.batches(batch if isinstance(batch, Tensor) else list(batch))
        if not isinstance(made, Tensor) or not made.is_floating_point():
            kind = made.dtype if isinstance(made, Tensor) else type(made).__name__
            raise TypeError(f"{where}: an encoder must return a tensor of floats, got {kind}")
        if made.ndim != 2 or len(made) != len(batch):
            raise ValueError(
                f"{where}: an encoder must return one vector a sample, ({len(batch)}, width); got "
                f"shape {tuple(made.shape)}"
            )
        features = made.detach().cpu()
        if self.unit_length:
            features = features.double()  # in which no norm of floats under- or overflows
            norms = features.norm(dim=1, keepdim=True)
            features = features / norms.where(norms > 0, 1)
        features = features.to(getattr(torch, self.precision))
        finite = torch.isfinite(features).all(dim=1)
        if not bool(finite.all()):
            beyond = " or beyond the range of float16" if self.precision == "float16" else ""
            raise ValueError(
                f"{name}: the features of sample {first + int((~finite).nonzero()[0])} are NaN or "
                f"infinite{beyond}"
            )
        return features


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in eval mode; the mode of each of its layers is restored afterwards."""
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode


@contextmanager
def _bar(name: str, total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    if not (shown and sys.stderr.isatty()):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeColumn

    text = TextColumn("encoding {task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=total)
        yield lambda rows: bar.advance(task, rows)
