"""Nets, methods and starts in the forms a person may give them in."""

from collections.abc import Mapping
from typing import Any, TypeVar

from holdfast.config import make_part

Made = TypeVar("Made")


def part(kind: str, given: Any, of: type[Made], **supplied: Any) -> Made:
    """`given` itself, or the part it names.

    Args:
        kind: ``net``, ``method`` or ``start``.
        given: an object of the type `of`; a short name or import path; or a mapping of that
            ``name`` and options.
        of: the type the part must have.
        supplied: what the part is told besides its options.

    Raises:
        TypeError: `given` has none of these forms, or what it names makes something else.
        ValueError: the name is unknown, or an option does not fit.
    """
    if isinstance(given, of):
        return given
    if not isinstance(given, (str, Mapping)):
        raise TypeError(
            f"{kind} must be a name, a mapping of a name and options, or a {of.__name__}; "
            f"got {given!r}"
        )
    made = make_part(kind, given if isinstance(given, str) else dict(given), **supplied)
    if not isinstance(made, of):
        raise TypeError(f"{kind} {given!r} makes a {type(made).__name__}, no {of.__name__}")
    return made
