"""Datasets by name: found in what is embedded, in folders, and on the hub."""

import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, get_args

from holdfast.data import parquet
from holdfast.data.embedded import digits
from holdfast.data.known import KNOWN
from holdfast.data.split import Dataset
from holdfast.data.text import Encoder

Place = Literal["auto", "embedded", "folder", "hub"]


@dataclass(frozen=True)
class Available:
    """A dataset that `load` can give.

    Args:
        name: to load it by.
        place: ``embedded``, ``folder`` (here), or ``hub`` (fetched when it is first loaded).
        where: the folder, or the path on the hub.
        rows: of each file, where they are known without reading it.
        about: what it is.
    """

    name: str
    place: Place
    where: str
    rows: dict[str, int]
    about: str = ""


def load(name: str = "digits", source: Place = "auto", encode: Encoder | None = None) -> Dataset:
    """A dataset by name.

    Args:
        name: ``digits``, a known dataset (see `available`), the name of a folder in
            ``$HOLDFAST_DATA`` with ``train.parquet`` and ``test.parquet``, or ``owner/dataset``
            on the hub.
        source: where from; ``auto`` takes the first of embedded, folder and hub that has it.
        encode: sentences -> tensor, for datasets of text; `bag_of_words` by default.

    Raises:
        ValueError: the name or the source is unknown, or the files hold something else.
        FileNotFoundError: the dataset is not to be had; the message says where it was looked for
            and how to get it.
        ImportError: the packages of the extra ``data`` are not installed.
    """
    if source not in get_args(Place):
        raise ValueError(f"source must be one of {get_args(Place)}, got {source!r}")
    if source == "embedded" and name != "digits":
        raise ValueError(f"name={name!r} is not embedded; 'digits' is")
    if name == "digits" and source in ("auto", "embedded"):
        if encode is not None:
            raise ValueError("encode is for sentences, but 'digits' holds images")
        return digits()
    root = _root()
    looked: list[str] = []
    if source in ("auto", "folder"):
        if root is None:
            looked.append("HOLDFAST_DATA is not set, so no folder was searched")
        else:
            why = parquet.lacking(root / name)
            if not why:
                return Dataset.from_parquet(root / name, encode=encode, name=name)
            looked.append(f"{root / name}: {why}")
    on_hub = "/" in name or (name in KNOWN and KNOWN[name].hub is not None)
    if not on_hub and name not in KNOWN:
        raise ValueError(_unknown(name, looked))
    if source in ("auto", "hub") and on_hub:
        try:
            return Dataset.from_hub(name, encode=encode)
        except (ConnectionError, ImportError) as error:
            looked.append(str(error))
            raise FileNotFoundError(_missing(name, looked, on_hub)) from error
    raise FileNotFoundError(_missing(name, looked, on_hub))


def available() -> tuple[Available, ...]:
    """The datasets that `load` can give: embedded, in ``$HOLDFAST_DATA``, then on the hub."""
    listed = [Available("digits", "embedded", "scikit-learn", {"train": 1438, "test": 359})]
    root = _root()
    if root is not None and root.is_dir():
        for folder in sorted(p for p in root.iterdir() if not parquet.lacking(p)):
            about = KNOWN[folder.name].about if folder.name in KNOWN else ""
            listed.append(Available(folder.name, "folder", str(folder), _rows(folder), about))
    here = {a.name for a in listed}
    for name, known in KNOWN.items():
        if known.hub is not None and name not in here:
            listed.append(Available(name, "hub", known.hub.path, {}, known.about))
    return tuple(listed)


def _root() -> Path | None:
    named = os.environ.get("HOLDFAST_DATA")
    return Path(named) if named else None


def _rows(folder: Path) -> dict[str, int]:
    try:
        return parquet.rows(folder)
    except (ImportError, OSError, ValueError):
        return {}


def _unknown(name: str, looked: list[str]) -> str:
    choices = ["digits", *KNOWN]
    near = get_close_matches(name, choices, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return (
        f"unknown dataset {name!r}; {hint}Known are {choices}, folders of HOLDFAST_DATA and "
        f"'owner/dataset' on the hub. Looked: {'; '.join(looked) or 'in the list of names'}"
    )


def _missing(name: str, looked: list[str], on_hub: bool) -> str:
    fetch = (
        'With internet access and `pip install "holdfast[data]"` it is fetched from the hub. '
        if on_hub
        else ""
    )
    return (
        f"dataset {name!r} is not to be had. Looked: {'; '.join(looked)}. {fetch}Or put "
        f"train.parquet and test.parquet (hub layout) into a folder {name}/ and set HOLDFAST_DATA "
        "to the folder above it. The dataset 'digits' needs no files"
    )
