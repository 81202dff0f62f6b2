"""YAML as configurations mean it: the few types of YAML 1.2, each key once."""

import re
from collections.abc import Hashable
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 (PyYAML's own way)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        scalars = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        names = [key.value for key in scalars]
        for place, name in enumerate(names):
            if name in names[:place]:
                line = scalars[place].start_mark.line + 1
                raise yaml.YAMLError(f"line {line} gives the key {name!r} a second time")
        return super().construct_mapping(node, deep)


_PLAIN = {
    "null": ("~|null|Null|NULL|", "~nN"),
    "bool": ("true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": ("[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "merge": ("<<", "<"),
}
for _name, (_pattern, _starts) in _PLAIN.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), ["", *_starts]
    )


def parse_yaml(text: str) -> Any:
    """What a text in YAML (or JSON) says.

    PyYAML's own loader follows YAML 1.1, to which ``1e-3`` is text, ``on`` and ``no`` are truth
    values and ``1:30`` is ninety, and takes the last of several equal keys.

    Raises:
        ValueError: it is no YAML, or has a key twice; in one line.

    >>> parse_yaml("{lr: 1e-3, hidden: [100, 1e2], name: on, clip: null}")
    {'lr': 0.001, 'hidden': [100, 100.0], 'name': 'on', 'clip': None}
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{where}{error.problem}") from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
