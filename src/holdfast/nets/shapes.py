"""The checks that the backbones make of their sizes before any layer is built."""

from collections.abc import Callable, Sequence


def positive(name: str, value: int) -> int:
    """`value`, if it is a positive integer.

    Raises:
        TypeError, ValueError: naming the argument and the value.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be positive, got {value}")
    return value


def probability(name: str, value: float) -> float:
    """`value`, if it can be the rate of a dropout layer.

    Raises:
        ValueError: it lies outside [0, 1).
    """
    if not 0 <= value < 1:
        raise ValueError(f"{name} must lie in [0, 1), got {value}")
    return value


def sizes(name: str, values: Sequence[int]) -> tuple[int, ...]:
    """`values` as a tuple, if all are positive integers.

    Raises:
        TypeError, ValueError: naming the argument and the value.
    """
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise TypeError(f"{name} must be a list of integers, got {values!r}")
    return tuple(positive(f"{name}[{i}]", value) for i, value in enumerate(values))


def image(
    input_shape: Sequence[int], net: str, side: Callable[[int], int]
) -> tuple[int, tuple[int, int]]:
    """Channels of an image net's input, and the height and width of its last feature map.

    Args:
        input_shape: (channels, height, width).
        net: its name, for the error.
        side: height or width of the input -> that of the last feature map.

    Raises:
        TypeError, ValueError: `input_shape` is no image, or too small a one for the pooling.

    >>> image((3, 32, 32), "net", lambda side: side // 4)
    (3, (8, 8))
    """
    shape = sizes("input_shape", input_shape)
    if len(shape) != 3:
        raise ValueError(
            f"input_shape must be (channels, height, width) for {net}, got {tuple(input_shape)}"
        )
    channels, height, width = shape
    smallest = next(s for s in range(1, 1 << 16) if side(s) >= 1)
    if min(height, width) < smallest:
        raise ValueError(
            f"input_shape {shape} is too small for {net}: its pooling needs images of at least "
            f"{smallest} x {smallest}; pad or enlarge them with a transform"
        )
    return channels, (side(height), side(width))
