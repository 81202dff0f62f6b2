"""Figures as files."""

from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from holdfast.records.files import write_atomic
from holdfast.reports.style import house_style

_METADATA = {
    # None leaves the entry out: the same figure gives the same file on any day.
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": "Holdfast"},
}


def save_figure(figure: Figure, path: str | Path) -> list[Path]:
    """Write a figure aside and rename it; the same figure gives the same bytes.

    Args:
        figure: as the functions of this room make.
        path: ending in ``.png`` or ``.svg``; both are written when it has no ending.

    Returns:
        The files written.

    Raises:
        ValueError: another ending.
        OSError: it could not be written; a figure of before is untouched.
    """
    path = Path(path)
    if path.suffix and path.suffix not in _METADATA:
        raise ValueError(
            f"path must end in {' or '.join(_METADATA)}, or have no ending for both; got {path}"
        )
    endings = [path.suffix] if path.suffix else list(_METADATA)
    written = []
    for ending in endings:
        buffer = BytesIO()
        with house_style():
            figure.savefig(buffer, format=ending[1:], metadata=_METADATA[ending])
        target = path.with_suffix(ending)
        write_atomic(target, buffer.getvalue())
        written.append(target)
    return written
