"""Packages that Holdfast can do without: imported where they are used, or named with the remedy."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def need(module: str, purpose: str, extra: str = "data") -> Any:
    """The module of an optional package.

    Args:
        module: e.g. ``"pyarrow.parquet"``.
        purpose: what needs it, as the subject of the error's sentence.
        extra: the extra of Holdfast that installs it.

    Raises:
        ImportError: the package is not installed; the message names the extra.

    >>> need("zlib", "compression").__name__
    'zlib'
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f'{purpose} needs the package {package!r}: pip install "holdfast[{extra}]"'
        ) from error


def check(package: str, purpose: str, extra: str = "data") -> None:
    """Whether an optional package is there, without the time it takes to import it.

    Raises:
        ImportError: as `need`.
    """
    if find_spec(package) is None:
        need(package, purpose, extra)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without the bars that transformers draws, even into files, for what it reads."""
    logs = need("transformers.utils.logging", "reading a model of transformers", "transformers")
    shown = logs.is_progress_bar_enabled()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logs.enable_progress_bar()
