"""Shows the doctests in docstrings as Python code, where Markdown would take ``>>>`` for quotes."""

import re
from typing import Any

from griffe import Docstring, Extension, Object

_DOCTEST = re.compile(r"^>>> (?:.+\n?)+", re.MULTILINE)


class Doctests(Extension):
    """Puts a fence around each block of lines that starts with ``>>>``."""

    def on_instance(self, *, obj: Object, **kwargs: Any) -> None:
        """Called once an object is loaded."""
        if isinstance(obj.docstring, Docstring):
            obj.docstring.value = _DOCTEST.sub(_fenced, obj.docstring.value)


def _fenced(match: re.Match[str]) -> str:
    return f"```python\n{match[0].rstrip()}\n```\n"
