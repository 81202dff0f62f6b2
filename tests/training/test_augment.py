"""Random flips and shifts of a batch, against one image at a time."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from holdfast import Training, run
from holdfast.data.split import Split
from holdfast.nets import mlp
from holdfast.streams import Stream, Task
from holdfast.training.augment import check_augment, flip_shift


def candidates(image: Tensor, shift: int) -> list[Tensor]:
    """Every image that may come of one, written out pixel by pixel."""
    _, height, width = image.shape
    found = []
    for mirrored in (False, True):
        for down in range(-shift, shift + 1):
            for right in range(-shift, shift + 1):
                made = torch.zeros_like(image)
                for i in range(height):
                    for j in range(width):
                        a, b = i + down, j + right
                        if 0 <= a < height and 0 <= b < width:
                            made[:, i, j] = image[:, a, b]
                found.append(made.flip(-1) if mirrored else made)
    return found


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_each_image_is_a_flip_and_a_shift_of_its_own(shift: int) -> None:
    x = 1 + torch.arange(2 * 3 * 5.0).view(1, 2, 3, 5).expand(400, -1, -1, -1)
    made = flip_shift(x, torch.Generator().manual_seed(0), shift)
    allowed = candidates(x[0], shift)
    counts = [int((made == one).flatten(1).all(1).sum()) for one in allowed]
    assert sum(counts) == len(x)
    expected = len(x) / len(allowed)
    assert min(counts) > expected - 5 * expected**0.5
    assert max(counts) < expected + 5 * expected**0.5


def test_draws_from_the_generator_alone() -> None:
    x = torch.rand(6, 1, 6, 6)
    before = torch.get_rng_state()
    one, other = (flip_shift(x, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, flip_shift(x, torch.Generator().manual_seed(4)))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_that_was_cut_draws_as_the_whole_one(tmp_path: Path) -> None:
    x = torch.rand(12, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    split = Split(x, torch.arange(12) % 3)
    stream = Stream([Task("a", split, split)], "domain_incremental")

    def halt(event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            raise KeyboardInterrupt

    options = {"epochs": 2, "batch_size": 5, "checkpoint_minutes": 0.0, "device": "cpu"}
    training = Training(augment="flip_shift", **options)
    whole = run(stream, mlp((1, 6, 6), (4,)), training=training)
    with pytest.raises(KeyboardInterrupt):
        run(stream, mlp((1, 6, 6), (4,)), training=training, out=tmp_path / "r", listener=halt)
    cut = run(stream, mlp((1, 6, 6), (4,)), training=training, out=tmp_path / "r", resume=True)
    assert cut.digest() == whole.digest()
    plain = run(stream, mlp((1, 6, 6), (4,)), training=Training(**options))
    assert plain.digest() != whole.digest()


def test_needs_images() -> None:
    check_augment("none", (3,))
    check_augment("flip_shift", (1, 5, 5))
    for shape in ((12,), (1, 4, 8)):
        with pytest.raises(ValueError, match=r"'flip_shift' needs images .* more than 4 pixels"):
            check_augment("flip_shift", shape)
    split = Split(torch.zeros(4, 3), torch.tensor([0, 1, 0, 1]))
    stream = Stream([Task("a", split, split)], "domain_incremental")
    with pytest.raises(ValueError, match=r"training.augment 'flip_shift' needs images"):
        run(stream, mlp((3,), (4,)), training=Training(augment="flip_shift"))
