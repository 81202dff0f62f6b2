"""Options of functions and classes, checked against their signatures."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, get_args, get_type_hints


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
            parameter without default that is missing.
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
    try:
        found = _parser(factory, skip).parse_object(dict(options))
    except ArgumentError as error:
        raise ValueError(f"{what}: {' '.join(str(error).split())}") from error
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
