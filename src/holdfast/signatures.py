"""Options of functions and classes, checked against their signatures."""

import difflib
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def typed_options(
    what: str, factory: Callable[..., Any], options: Any, skip: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The options of a function or class, checked against its annotations, its defaults filled in.

    Text that stands for a number or a truth value becomes one, as YAML and command lines need it.

    Args:
        what: names the factory in errors.
        factory: function or class.
        options: mapping of its parameters.
        skip: parameters that are no options.

    Raises:
        ValueError: no mapping, an unknown key (with the nearest known one), a wrong type, or a
            parameter without default that is missing, NaN or infinity (which JSON cannot hold).
    """
    from jsonargparse import ArgumentError

    if not isinstance(options, Mapping):
        raise ValueError(f"{what} must be a mapping of options, got {options!r}")
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(factory).parameters.items()
        if name not in skip
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    check_keys(what, options, parameters)
    known = hints(factory)
    for name, value in options.items():
        # The parser takes None for any option that may be left out.
        if value is None and not _allows_none(known.get(name, Any), parameters[name].default):
            raise ValueError(f"{what}.{name} cannot be null; leave it out for its default")
        if not _is_finite(value):
            raise ValueError(f"{what}.{name} must be finite, got {value!r}")
    lacking = [n for n, p in parameters.items() if p.default is p.empty and n not in options]
    if lacking:
        raise ValueError(f"{what} needs {', '.join(map(repr, lacking))}")
    try:
        found = _parser(factory, skip).parse_object(dict(options))
    except ArgumentError as error:
        named = re.search(r'key "(\w+)"', str(error))
        if named is None or named[1] not in options:
            raise ValueError(f"{what}: {' '.join(str(error).split())}") from error
        key, value = named[1], options[named[1]]
        choices = get_args(known[key]) if get_origin(known[key]) is Literal else ()
        raise ValueError(
            f"{what}.{key} must be {in_words(known[key])}, got {value!r}"
            f"{nearest(value, choices) if isinstance(value, str) else ''}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{what} cannot be configured: {error}") from error
    return dict(found.as_dict())


@cache
def _parser(factory: Callable[..., Any], skip: frozenset[str]) -> Any:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    add = parser.add_class_arguments if inspect.isclass(factory) else parser.add_function_arguments
    add(factory, skip=set(skip))
    return parser


def hints(factory: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of the parameters of a function or class."""
    return get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)


_WORDS = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "null"}


def in_words(hint: Any) -> str:
    """What an annotation admits, as a person who writes a configuration says it.

    >>> in_words(int), in_words(float | None), in_words(tuple[float, float])
    ('an integer', 'a number or null', 'a list of 2 numbers')
    >>> in_words(Sequence[int]), in_words(Literal["sgd", "adam"])
    ('a list of integers', "one of 'sgd', 'adam'")
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if origin in (Union, UnionType):
        return " or ".join(map(in_words, inner))
    if origin in (list, tuple, Sequence):
        fixed = origin is tuple and ... not in inner
        kinds = {_WORDS.get(kind, "value") + "s" for kind in inner if kind is not ...}
        count = f"{len(inner)} " if fixed else ""
        return f"a list of {count}{kinds.pop() if len(kinds) == 1 else 'values'}"
    word = _WORDS.get(hint) or inspect.formatannotation(hint)
    return (
        word if hint in (str, bool, type(None)) else f"{'an' if word[0] in 'aeio' else 'a'} {word}"
    )


def _is_finite(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _allows_none(hint: Any, default: Any) -> bool:
    return default is None or hint in (Any, None) or type(None) in get_args(hint)


def check_keys(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse keys that are not known (`ValueError`), naming the nearest known one."""
    known = list(known)
    for key in given:
        if key not in known:
            raise ValueError(
                f"{what} has no key {key!r}{nearest(str(key), known)}; it takes {', '.join(known)}"
            )


def nearest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the known name closest to `name`, or nothing.

    >>> nearest("repaly", ["replay", "ewc"])
    " (did you mean 'replay'?)"
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
