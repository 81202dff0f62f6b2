"""Images as vectors, through pretrained backbones of transformers."""

from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from holdfast.data import digests, model_folders
from holdfast.data.encoding import FeatureEncoder, Precision, evaluating
from holdfast.data.optional import check, need, quiet_transformers

Output = Literal["auto", "pooled", "first", "mean"]


def image_encoder(
    model: str | Path,
    device: str | None = None,
    batch_size: int = 64,
    *,
    output: Output = "auto",
    unit_length: bool = False,
    precision: Precision = "float32",
    cache: bool = True,
    progress: bool = True,
    revision: str | None = None,
) -> FeatureEncoder:
    """A backbone of transformers for `encode_dataset`: uint8 images -> features.

    The model is what ``AutoModel`` makes of the folder, without a classifier; size, crop, mean and
    standard deviation are those of its image processor. Grey images get three equal channels. The
    model is loaded only for features that are not kept already.

    Args:
        model: a folder, or ``owner/model`` on the hub.
        device: of the model; by default ``cuda`` where there is one.
        batch_size: images at one time.
        output: ``pooled``, what the model has for it; the ``first`` of its vectors (a class
            token); or their ``mean`` over all places. ``auto`` takes what is pooled where the
            folder holds all weights for that, else the first of a sequence and the mean of a map.
        unit_length: divide each feature vector by its Euclidean norm.
        precision: of what is kept and given back.
        cache: keep the features, see `FeatureEncoder`.
        progress: show a bar, in a terminal.
        revision: of a model on the hub.

    Raises:
        FileNotFoundError: the model is neither on this machine nor to be fetched.
        ImportError: the extra ``transformers`` is not installed.
        ValueError: an argument is out of range, or the folder lacks a configuration of the model
            or of the image processor. When called: weights are missing, or images are no uint8.
    """
    check("transformers", "encoding images", "transformers")
    if output not in get_args(Output):
        raise ValueError(f"output must be one of {get_args(Output)}, got {output!r}")
    folder = model_folders.find(model, revision, "transformers")
    for file, what in (("config.json", "model"), ("preprocessor_config.json", "image processor")):
        if not (folder / file).is_file():
            raise ValueError(f"{folder} holds no {what} of transformers: there is no {file}")
    batches = _Backbone(folder, output, device)
    return FeatureEncoder(batches, "images", batch_size, unit_length, precision, cache, progress)


class _Backbone:
    """A model and its image processor, read from their folder when they are first called."""

    def __init__(self, folder: Path, output: Output, device: str | None) -> None:
        self._folder, self._output = folder, output
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._read: tuple[nn.Module, Any, bool] | None = None

    def __call__(self, samples: Tensor) -> Float[Tensor, "n width"]:
        if self._read is None:
            self._read = _read(self._folder, self._device)
        model, processor, has_pooled = self._read
        made = processor(
            images=list(three_channels(samples).cpu()),
            input_data_format="channels_first",
            return_tensors="pt",
        )
        with evaluating(model):
            out = model(pixel_values=made["pixel_values"].to(self._device))
        return _vectors(out, self._output, has_pooled, type(model).__name__)

    def identity(self) -> str:
        return f"images {digests.of_folder(self._folder)} {self._output}"


def three_channels(images: Tensor) -> UInt8[Tensor, "n 3 height width"]:
    """Images in colour, grey ones with three equal channels.

    Raises:
        ValueError: `images` are no uint8 (n, 1 or 3, height, width), so their range is not known.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            "a pretrained backbone takes uint8 images of 1 or 3 channels, (n, channels, height, "
            f"width); got shape {tuple(images.shape)} of {images.dtype}"
        )
    return images.expand(-1, 3, -1, -1)


def _vectors(out: Any, output: Output, has_pooled: bool, name: str) -> Tensor:
    states: Tensor = out.last_hidden_state
    pooled = getattr(out, "pooler_output", None)
    if output == "pooled" and not (has_pooled and pooled is not None):
        raise ValueError(
            f"output='pooled', but {name} pools nothing or lacks the weights for it; take 'first' "
            "or 'mean'"
        )
    if output == "first" and states.ndim != 3:
        raise ValueError(
            f"output='first', but {name} gives a map of shape {tuple(states.shape[1:])}, which has "
            "no first vector; take 'pooled' or 'mean'"
        )
    if output in ("auto", "pooled") and has_pooled and pooled is not None:
        return pooled.flatten(1)
    if states.ndim == 4:
        return states.mean((2, 3))
    return states.mean(1) if output == "mean" else states[:, 0]


def _read(folder: Path, device: str) -> tuple[nn.Module, Any, bool]:
    package = need("transformers", "encoding images", "transformers")
    try:
        with quiet_transformers():
            processor = package.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            model, found = package.AutoModel.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{folder} holds no model that transformers can read: {error}") from error
    missing = sorted(found["missing_keys"])
    # a checkpoint made with a classifier may lack the pooler that AutoModel adds
    beyond = [key for key in missing if "pooler" not in key.split(".")]
    if beyond:
        raise ValueError(f"{folder} lacks weights of {type(model).__name__}: {beyond[:5]}")
    return model.to(device), processor, not missing
