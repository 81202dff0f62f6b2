"""A dataset of features in place of a dataset of images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.data import digests
from holdfast.data.encoding import FeatureEncoder, Identified, Precision, evaluating
from holdfast.data.normalize import AS_FLOATS, Normalize
from holdfast.data.parts import SPLITS
from holdfast.data.split import Dataset


def encode_dataset(
    dataset: Dataset,
    encoder: nn.Module | FeatureEncoder | Callable[[Tensor], Tensor],
    *,
    batch_size: int | None = None,
    device: str | torch.device | None = None,
    unit_length: bool | None = None,
    precision: Precision | None = None,
    cache: bool | None = None,
    progress: bool | None = None,
) -> Dataset:
    """The dataset with features in place of its samples, in every split.

    The encoder sees each sample once, in eval mode and without gradients. Features are kept on
    disk under a digest of the samples, the encoder and the options (see `FeatureEncoder`), and
    read from there next time; what is broken off goes on where it was. Labels, names and groups
    stay. Features of ``float16`` become float32 as batches are made of them.

    Args:
        dataset: of images or vectors. Sentences are encoded as they are read, by ``encode=`` of
            `load`.
        encoder: what `image_encoder` and `timm_encoder` give; a module of your own, such as the
            backbone of a learner, which takes what ``dataset.normalize`` makes of samples and
            gives (n, width); or any function of raw samples.
        batch_size: samples at one time; that of the encoder where it has one, else 64. So are
            the other defaults: False, ``float32``, True and True.
        device: where a module encodes, after which it goes back; where it is by default.
        unit_length: divide each feature vector by its Euclidean norm.
        precision: ``float32`` or ``float16``, of the features.
        cache: keep the features.
        progress: show a bar, in a terminal.

    Raises:
        TypeError: a learner (its backbone is meant), an encoder of sentences, or one that cannot
            say what it is though its features are to be kept.
        ValueError: an option out of range, or features that are no finite vectors.

    >>> from holdfast.data.embedded import digits
    >>> encode_dataset(digits(), nn.Flatten(), cache=False)
    Dataset('digits', 10 classes, train 1438, test 359, sample (64,))
    """
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "unit_length": unit_length,
        "precision": precision,
        "cache": cache,
        "progress": progress,
    }
    given = {name: value for name, value in options.items() if value is not None}
    made = _encoder(encoder, dataset.normalize, given)
    if device is not None and not isinstance(encoder, nn.Module):
        raise ValueError(f"device={str(device)!r} is for modules; an encoder is made with its own")
    with _on(encoder, device):
        splits = {
            name: replace(split, x=made(split.x, f"{dataset.name} ({name})"))
            for name in SPLITS
            if (split := getattr(dataset, name)) is not None
        }
    return replace(dataset, **splits, normalize=AS_FLOATS if made.precision == "float16" else None)


class _Module:
    """A module called with standardised samples, on its device."""

    def __init__(self, module: nn.Module, normalize: Normalize | None) -> None:
        self._module, self._normalize = module, normalize

    def __call__(self, samples: Tensor) -> Tensor:
        held = next(chain(self._module.parameters(), self._module.buffers()), samples)
        x = samples.to(held.device)
        with evaluating(self._module):
            made: Tensor = self._module(self._normalize(x) if self._normalize else x)
        return made

    def identity(self) -> str:
        return f"module {digests.of_module(self._module)} {self._normalize!r}"


def _encoder(
    encoder: Callable[..., Tensor], normalize: Normalize | None, options: dict[str, Any]
) -> FeatureEncoder:
    if isinstance(encoder, FeatureEncoder):
        if encoder.samples == "sentences":
            raise TypeError(
                "encoder takes sentences, which a dataset no longer holds; give it where they are "
                "read: load(name, encode=encoder)"
            )
        return replace(encoder, **options)
    if isinstance(encoder, nn.Module) and not isinstance(encoder, Identified):
        if hasattr(encoder, "backbone") and hasattr(encoder, "heads"):
            raise TypeError(
                f"encoder is a {type(encoder).__name__}, which gives logits; give its backbone"
            )
        if getattr(encoder, "per_task", False):
            raise TypeError(
                f"encoder is a {type(encoder).__name__} that computes another function for each "
                "task, so a sample has no one feature vector"
            )
        return FeatureEncoder(_Module(encoder, normalize), **options)
    return FeatureEncoder(encoder, **options)


@contextmanager
def _on(encoder: object, device: str | torch.device | None) -> Iterator[None]:
    """A module on another device for a while."""
    if device is None or not isinstance(encoder, nn.Module):
        yield
        return
    homes = {t.device for t in chain(encoder.parameters(), encoder.buffers())}
    if len(homes) > 1:
        raise ValueError(
            f"device={str(device)!r}, but the module lies on {sorted(map(str, homes))}"
        )
    encoder.to(device)
    try:
        yield
    finally:
        for home in homes:
            encoder.to(home)
