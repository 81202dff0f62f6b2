"""A base and all its tasks in one file."""

import copy
from pathlib import Path

from torch import nn

from holdfast.methods.halrp.packed_state import Contents, pack_state, read_state
from holdfast.records.files import write_atomic

FORMAT = "holdfast-halrp-packed-1"


def packed(model: nn.Module) -> Contents:
    """The file of a model.

    Args:
        model: an `Adapted`, or a learner with one; any other module is stored as it is.
    """
    return pack_state(model.state_dict(), FORMAT)


def save_packed(model: nn.Module, path: str | Path) -> Path:
    """Write a base and all its tasks to one file, which `load_packed` reads bit for bit.

    The file is whole, or as it was before. What it takes is what `sizes` counts.

    Args:
        model: an `Adapted`, or a learner with one.
        path: of the file.

    Raises:
        OSError: it could not be written.
    """
    write_atomic(Path(path), packed(model).content)
    return Path(path)


def load_packed(model: nn.Module, path: str | Path) -> None:
    """Read what `save_packed` wrote into a model adapted alike: base, tasks and heads.

    Args:
        model: made and adapted as the one that was saved; the tasks it has are replaced.
        path: of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut short, damaged, or holds something else; or the model is another one.
    """
    state = read_state(Path(path), FORMAT, "packed tasks")
    try:
        # A copy first: what does not fit would be found when half of it is loaded.
        copy.deepcopy(model).load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} holds another model than the one given: {error}") from error
    model.load_state_dict(state)
