"""Images as vectors, through pretrained backbones of timm."""

from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from holdfast.data import digests
from holdfast.data.encoding import FeatureEncoder, Precision, evaluating
from holdfast.data.image_encoders import three_channels
from holdfast.data.optional import need


def timm_encoder(
    model: str | nn.Module,
    device: str | None = None,
    batch_size: int = 64,
    *,
    unit_length: bool = False,
    precision: Precision = "float32",
    cache: bool = True,
    progress: bool = True,
) -> FeatureEncoder:
    """A backbone of timm for `encode_dataset`: uint8 images -> pooled features.

    Made by ``timm.create_model(model, pretrained=True, num_classes=0)``, which fetches weights
    that are not here. Size, crop, interpolation, mean and standard deviation are those of its data
    configuration; images are resized as tensors, so pixels differ from timm's own transforms by
    rounding. Grey images get three equal channels.

    Args:
        model: a name timm knows, e.g. ``convnext_tiny.in12k_ft_in1k``, or a model of timm without
            a classifier (``num_classes=0``), which is left in the mode it is in.
        device: of the model; by default ``cuda`` where there is one for a name, and where its
            parameters are for a model.
        batch_size: images at one time.
        unit_length: divide each feature vector by its Euclidean norm.
        precision: of what is kept and given back.
        cache: keep the features, see `FeatureEncoder`.
        progress: show a bar, in a terminal.

    Raises:
        ImportError: the extra ``vision`` is not installed, or cannot be imported.
        ValueError: an argument is out of range, timm cannot make the model, or a model has a
            classifier. When called: images are no uint8.
    """
    timm = need("timm", "encoding images by a model of timm", "vision")
    if isinstance(model, nn.Module):
        made = model
    else:
        try:
            made = timm.create_model(model, pretrained=True, num_classes=0)
        except (RuntimeError, OSError, ValueError) as error:
            raise ValueError(f"timm cannot make the model {model!r}: {error}") from error
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    classes = getattr(made, "num_classes", None)
    if classes != 0:
        raise ValueError(
            f"model must be without a classifier, made with num_classes=0; it has {classes} classes"
        )
    if device is not None:
        made = made.to(device)
    batches = _Timm(made, Preparation.of(timm.data.resolve_model_data_config(made)))
    return FeatureEncoder(batches, "images", batch_size, unit_length, precision, cache, progress)


class Preparation:
    """Resize the shorter side, crop the centre, standardise: what a data configuration says.

    Raises:
        ValueError: an interpolation or a way to crop that is not known.
    """

    def __init__(
        self,
        size: tuple[int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        interpolation: str,
        crop: float,
        mode: str,
    ) -> None:
        if interpolation not in ("bilinear", "bicubic"):
            raise ValueError(
                f"interpolation must be 'bilinear' or 'bicubic', got {interpolation!r}"
            )
        if mode not in ("center", "squash"):
            raise ValueError(f"crop_mode must be 'center' or 'squash', got {mode!r}")
        self.size, self.mean, self.std = size, mean, std
        self.interpolation, self.crop, self.mode = interpolation, crop, mode

    @classmethod
    def of(cls, config: dict[str, Any]) -> "Preparation":
        """From what ``timm.data.resolve_model_data_config`` gives."""
        return cls(
            tuple(config["input_size"][1:]),
            tuple(config["mean"]),
            tuple(config["std"]),
            config["interpolation"],
            float(config["crop_pct"]),
            config.get("crop_mode", "center"),
        )

    def __call__(
        self, images: UInt8[Tensor, "n 3 h w"], device: torch.device
    ) -> Float[Tensor, "n 3 _h _w"]:
        """Images as the backbone takes them, on its device."""
        x = images.to(device).float()
        height, width = x.shape[2:]
        wide = [int(side / self.crop) for side in self.size]
        if self.mode == "center":
            scale = max(wide[0] / height, wide[1] / width)
            wide = [max(w, int(s * scale)) for w, s in zip(wide, (height, width), strict=True)]
        x = functional.interpolate(
            x, wide, mode=self.interpolation, align_corners=False, antialias=True
        )
        top, left = ((w - s + 1) // 2 for w, s in zip(wide, self.size, strict=True))
        x = x[:, :, top : top + self.size[0], left : left + self.size[1]].clamp(0, 255) / 255
        mean = torch.tensor(self.mean, device=device).view(1, -1, 1, 1)
        return (x - mean) / torch.tensor(self.std, device=device).view(1, -1, 1, 1)


class _Timm:
    """A model of timm called with uint8 images."""

    def __init__(self, model: nn.Module, prepare: Preparation) -> None:
        self._model, self._prepare = model, prepare

    def __call__(self, samples: Tensor) -> Tensor:
        device = next(self._model.parameters()).device
        with evaluating(self._model):
            made: Tensor = self._model(self._prepare(three_channels(samples), device))
        return made

    def identity(self) -> str:
        settings = sorted(vars(self._prepare).items())
        return f"timm {digests.of_module(self._model)} {settings}"
