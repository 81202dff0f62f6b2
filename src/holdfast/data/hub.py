"""Datasets of the Hugging Face hub, through the package `datasets`."""

import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from holdfast.data import cache, table
from holdfast.data.known import KNOWN, guess
from holdfast.data.optional import need
from holdfast.data.parts import SPLITS, Parts
from holdfast.data.text import Encoder


def read_hub(
    name: str,
    config: str | None = None,
    x: str | None = None,
    y: str | None = None,
    group: str | None = None,
    encode: Encoder | None = None,
) -> Parts:
    """The parts of a hub dataset; see `Dataset.from_hub`."""
    known = KNOWN.get(name)
    if known is not None and known.hub is None:
        raise ValueError(
            f"name={name!r} has no agreed place on the hub; name one as 'owner/dataset', or use "
            f"a folder of parquet files"
        )
    if known is None and "/" not in name:
        on_hub = [n for n, k in KNOWN.items() if k.hub]
        raise ValueError(f"name must be 'owner/dataset' or one of {on_hub}, got {name!r}")
    path = known.hub.path if known and known.hub else name
    chosen = config or (known.hub.config if known and known.hub else None)
    splits = dict(_download(path, chosen))
    if known is not None and known.hub is not None and known.hub.test in splits:
        splits["test"] = splits.pop(known.hub.test)
    missing = [s for s in ("train", "test") if s not in splits]
    if missing:
        raise ValueError(f"{path} on the hub has no split {missing}; it has {list(splits)}")
    splits = {s: splits[s] for s in SPLITS if s in splits}
    if known and known.hub and (x, y, group) == (None, None, None):
        layout = known.hub.layout or known.folder
    else:
        layout = guess(splits["train"].column_names, x, y, group)

    def build() -> Parts:
        tables = {
            s: table.Table(d.with_format("arrow")[:], _names(d), f"{path} ({s})")
            for s, d in splits.items()
        }
        return table.read(tables, layout, encode)

    train = splits["train"]
    files = [Path(f["filename"]) for d in splits.values() for f in d.cache_files]
    text = layout.x in train.column_names and table.holds_text(train.data.schema, layout.x)
    if text or encode is not None or not files:
        return build()
    sizes = {s: len(d) for s, d in splits.items()}
    return cache.remembered(name, cache.key(files, f"{layout} {sizes}"), build)


def _names(dataset: Any) -> dict[str, tuple[str, ...]]:
    return {c: tuple(f.names) for c, f in dataset.features.items() if hasattr(f, "names")}


def _download(path: str, config: str | None) -> Any:
    """All splits of a hub dataset.

    Raises:
        ImportError: `datasets` is not installed.
        ConnectionError: the dataset is neither on this machine nor to be had from the hub.
    """
    datasets = need("datasets", f"loading {path} from the hub")
    endpoint = datasets.config.HF_ENDPOINT
    kept = Path(datasets.config.HF_DATASETS_CACHE)
    # the client tries for half a minute where a look at the address tells at once
    if not any(kept.glob(f"{path.split('/')[0]}___*")) and not _reachable(endpoint):
        raise ConnectionError(
            f"{path} is not in {kept}, and {endpoint} cannot be reached; load it once with "
            "internet access, or use a folder of parquet files"
        )
    try:
        return datasets.load_dataset(path, config)
    except Exception as error:  # the client raises its own kinds and those of three libraries
        raise ConnectionError(f"{path} could not be loaded from {endpoint}: {error}") from error


def _reachable(endpoint: str) -> bool:
    address = urlsplit(endpoint)
    if address.scheme in getproxies():
        return True
    try:
        socket.getaddrinfo(address.hostname, address.port or 443)
    except OSError:
        return False
    return True
