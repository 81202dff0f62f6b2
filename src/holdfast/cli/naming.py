"""Names for files."""

from collections.abc import Iterable


def slug(text: str) -> str:
    """A name for files.

    >>> slug("method=ewc(strength=10), lr=0.1")
    'method-ewc-strength-10---lr-0-1'
    """
    return "".join(c if c.isalnum() or c in "_" else "-" for c in text).strip("-")[:60] or "unnamed"


def slugs(texts: Iterable[str]) -> list[str]:
    """Names for files, each once.

    >>> slugs(["a b", "a-b", "c"])
    ['a-b', 'a-b-2', 'c']
    """
    made: list[str] = []
    for text in texts:
        base, number = slug(text), 2
        name = base
        while name in made:
            name, number = f"{base}-{number}", number + 1
        made.append(name)
    return made
