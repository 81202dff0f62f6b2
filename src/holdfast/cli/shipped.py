"""The studies that come with the package, some of them in several sizes."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from holdfast.signatures import nearest

_FIRST = "cpu"
"""The size that is meant unless another is asked for."""


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


def shipped() -> dict[str, Shipped]:
    """All configurations of the package by name: ``configs/GROUP/NAME.SIZE.yaml``."""
    folder = Path(str(files("holdfast") / "configs"))
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.rglob("*.yaml")):
        place = path.relative_to(folder).as_posix().removesuffix(".yaml")
        name, _, size = place.partition(".")
        found.setdefault(name, {})[size] = path
    return {name: Shipped(name, by_size) for name, by_size in found.items()}
