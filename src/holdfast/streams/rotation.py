"""Tasks that see the images of one dataset turned by different angles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from holdfast.data.split import Dataset
from holdfast.streams.stream import Scenario, Stream
from holdfast.streams.views import views


@dataclass(frozen=True)
class Rotate:
    """Images turned counter-clockwise about their centre, their size kept.

    Quarter turns of square images and half turns of all are exact; other angles interpolate
    bilinearly, with 0 outside the image.

    Args:
        angle: in degrees.
    """

    angle: float

    def __call__(self, x: Tensor) -> Tensor:
        """Turn a float batch (n, ..., height, width), on its own device."""
        height, width = x.shape[-2:]
        quarters, rest = divmod(self.angle, 90.0)
        if rest == 0 and (height == width or quarters % 2 == 0):
            return x.rot90(int(quarters), (-2, -1))
        cos, sin = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        # Rows of the map from a pixel of the result to the pixel it comes from, in coordinates
        # that run from -1 to 1 along each side.
        back = [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]
        theta = torch.tensor([back], device=x.device, dtype=x.dtype)
        grid = functional.affine_grid(theta, [1, 1, height, width], align_corners=False)
        # All images as channels of one: the weights of the interpolation are computed once.
        turned = functional.grid_sample(
            x.reshape(1, -1, height, width), grid, padding_mode="zeros", align_corners=False
        )
        return turned.view(x.shape)


def rotated(
    dataset: Dataset,
    tasks: int = 5,
    max_angle: float = 180.0,
    angles: Sequence[float] | None = None,
    scenario: Scenario = "domain_incremental",
    validation: float = 0.0,
    seed: int = 0,
) -> Stream:
    """One dataset whose images are turned by another angle in each task.

    The angle of task i is i max_angle / (tasks - 1), or the i-th of `angles`. Images are turned in
    their raw values, so that what comes in from outside is their 0, then normalised.

    Args:
        dataset: of images (n, ..., height, width).
        tasks: number of tasks.
        max_angle: of the last task, in degrees counter-clockwise; the first is not turned.
        angles: one for each task, in place of `tasks` and `max_angle`.
        scenario: ``domain_incremental``, or ``task_incremental`` for a head a task.
        validation: fraction of the training samples held out, see `hold_out`.
        seed: of what is held out.

    Raises:
        ValueError: samples that are no images, no tasks, an angle given twice or not finite, or a
            class-incremental scenario.
    """
    if len(dataset.input_shape) < 2:
        raise ValueError(
            f"rotated needs images, samples of {dataset.name!r} have shape {dataset.input_shape}"
        )
    if tasks < 1:
        raise ValueError(f"tasks must be a positive integer, got {tasks}")
    if angles is None:
        angles = [i * max_angle / max(tasks - 1, 1) for i in range(tasks)]
    if not angles or len(set(angles)) < len(angles) or not all(map(math.isfinite, angles)):
        raise ValueError(f"angles must be finite and all different, got {list(angles)}")
    transforms = {f"{angle:g} degrees": Rotate(float(angle)) for angle in angles}
    return views(dataset, transforms, scenario, False, validation, seed)
