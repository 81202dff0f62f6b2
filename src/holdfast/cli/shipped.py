"""The studies and predictions that come with the package, some of them in several sizes."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from textwrap import fill

from holdfast.records.strict_json import dumps
from holdfast.signatures import nearest

_FIRST = "cpu"
"""The size that is meant unless another is asked for."""

_OWN = ("theory", "diagnose")
"""Commands whose configurations lie in a group of their name, which is not said with theirs."""


@dataclass(frozen=True)
class Shipped:
    """A configuration of the package.

    Args:
        name: ``demo``, or with the folder it lies in, ``richness/width``.
        files: by size; the size of one that comes in a single one is empty.
    """

    name: str
    files: dict[str, Path]

    @property
    def sizes(self) -> tuple[str, ...]:
        """Its sizes, the one that is meant by default first; none where there is no choice."""
        named = [size for size in self.files if size]
        return tuple(sorted(named, key=lambda size: (size != _FIRST, size)))

    @property
    def about(self) -> str:
        """The comment that the file of the default size begins with."""
        lines = []
        for line in self.file(None).read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                break
            lines.append(line.lstrip("# "))
        return " ".join(lines)

    def file(self, size: str | None) -> Path:
        """The file of a size; None is the default.

        Raises:
            ValueError: there is no such size.
        """
        if size is None:
            return self.files[self.sizes[0] if self.sizes else ""]
        if not self.sizes:
            raise ValueError(f"{self.name} comes in one size; leave --size out")
        if size not in self.sizes:
            raise ValueError(
                f"{self.name} has no size {size!r}{nearest(size, self.sizes)}; "
                f"it comes in {', '.join(self.sizes)}"
            )
        return self.files[size]


def shipped(command: str = "study") -> dict[str, Shipped]:
    """The configurations for a command by name: ``configs/GROUP/NAME.SIZE.yaml``.

    Those of `_OWN` lie in a group of the command's name; the others are studies.
    """
    folder = Path(str(files("holdfast") / "configs"))
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.rglob("*.yaml")):
        place = path.relative_to(folder).as_posix().removesuffix(".yaml")
        group = place.partition("/")[0]
        if group != command and (command in _OWN or group in _OWN):
            continue
        own = f"{command}/" if command in _OWN else ""
        name, _, size = place.removeprefix(own).partition(".")
        found.setdefault(name, {})[size] = path
    return {name: Shipped(name, by_size) for name, by_size in found.items()}


def list_shipped(command: str, json: bool) -> int:
    """Print the configurations for a command: names, sizes, and what they are about."""
    found = shipped(command).values()
    if json:
        print(dumps([{"name": s.name, "sizes": s.sizes, "about": s.about} for s in found]))
        return 0
    for one in found:
        sizes = f" ({', '.join(one.sizes)})" if one.sizes else ""
        print(f"{one.name}{sizes}")
        if one.about:
            print(fill(one.about, 96, initial_indent=" " * 4, subsequent_indent=" " * 4))
    return 0
