"""Configurations: plain dicts (YAML, JSON) that name the parts of a run."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

from torch import nn

from holdfast.data.catalog import Place, load
from holdfast.data.encoded_dataset import encode_dataset
from holdfast.data.encoding import FeatureEncoder
from holdfast.data.shrink import shrunk
from holdfast.data.split import Dataset
from holdfast.data.standards import Standard, normalized
from holdfast.methods.method import Method
from holdfast.nets.learner import HeadKind, Learner, build_learner
from holdfast.probes.probe import Probe
from holdfast.records.record import Record
from holdfast.richness.options import Richness
from holdfast.richness.parametrize import apply
from holdfast.short_names import PARTS as PARTS
from holdfast.signatures import check_keys as check_keys
from holdfast.signatures import hints, nearest, typed_options
from holdfast.starts.start import Start
from holdfast.streams.orders import task_order
from holdfast.streams.stream import Stream
from holdfast.training.loop import Listener
from holdfast.training.options import Training
from holdfast.training.run import run
from holdfast.yaml_text import parse_yaml

Config = dict[str, Any]

KEYS = (
    "stream", "net", "heads", "richness", "method", "start", "training", "probes", "order", "seed",
)  # fmt: skip
"""The keys of a configuration."""

_GIVEN = {"stream": {"seed"}, "net": {"input_shape", "seed"}}
"""Arguments the run supplies. A `seed` may be set all the same, to hold a part fixed."""

_INNER: dict[str, type] = {"dataset": Dataset, "net": nn.Module, "encoder": FeatureEncoder}
"""Parts within parts, told by the annotation of the argument that takes them."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a run, made from a configuration and ready to go."""

    stream: Stream
    learner: Learner
    method: Method
    start: Start
    training: Training
    probes: tuple[Probe, ...]
    seed: int


def read_config(path: str | Path) -> Config:
    """A configuration from a YAML (or JSON) file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no YAML, or holds no mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no configuration at {path}")
    try:
        config = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} must hold a mapping of keys, got {type(config).__name__}")
    return config


def override(config: Config, key: str, value: Any) -> None:
    """Set a dotted key in place: ``override(config, "training.lr", 0.1)``.

    A part given by its name alone becomes a mapping when one of its options is set. The grid of a
    study has dotted keys itself: ``grid.training.lr`` sets its key ``training.lr``.

    Raises:
        ValueError: the key leads through something that has no keys.
    """
    *path, last = ["grid", key[5:]] if key.startswith("grid.") else key.split(".")
    node = config
    for i, step in enumerate(path):
        below = node.get(step)
        if below is None or isinstance(below, str):
            named = "parametrization" if step == "richness" else "name"
            below = node[step] = {} if below is None else {named: below}
        if not isinstance(below, dict):
            raise ValueError(f"{'.'.join(path[: i + 1])} is {below!r} and has no key {last!r}")
        node = below
    node[last] = value


def resolve(config: Config) -> Config:
    """The whole configuration: every option of every part, defaults filled in, types checked.

    Resolving twice changes nothing, and the result runs to the same record.

    Raises:
        ValueError: an unknown key (with the nearest known one), a wrong type, a missing part.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"config must be a mapping of keys, got {config!r}")
    check_keys("config", config, KEYS)
    for required in ("stream", "net"):
        if required not in config:
            raise ValueError(f"config lacks {required!r}; it needs at least stream and net")
    heads = config.get("heads", "auto")
    if heads not in get_args(HeadKind):
        raise ValueError(f"heads must be one of {get_args(HeadKind)}, got {heads!r}")
    seed = config.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be a non-negative integer, got {seed!r}")
    probes = [] if config.get("probes") is None else config["probes"]
    if not isinstance(probes, list):
        raise ValueError(f"probes must be a list, got {probes!r}")
    training = {} if config.get("training") is None else config["training"]
    order = config.get("order")
    if not (order is None or isinstance(order, str)) and not (
        isinstance(order, (list, tuple)) and all(type(i) is int for i in order)
    ):
        raise ValueError(
            f"order must be a list of task positions, got {order!r}; the letter of a published "
            "order and 'drawn N' are allowed too"
        )
    return {
        "stream": _resolve_part("stream", config["stream"]),
        "net": _resolve_part("net", config["net"]),
        "heads": heads,
        "richness": _resolve_richness(config.get("richness")),
        "method": _resolve_part("method", config.get("method", "finetune")),
        "start": _resolve_part("start", config.get("start", "carry_on")),
        "training": _plain(typed_options("training", Training, training)),
        "probes": [_resolve_part("probe", probe) for probe in probes],
        "order": _plain(order),
        "seed": seed,
    }


def build(config: Config, beside: Parts | None = None) -> Parts:
    """Make the parts a configuration names; data is loaded, nothing is trained.

    Args:
        config: of the run.
        beside: parts whose stream and learner are taken instead of made, where a configuration
            that differs in the other parts alone is only to be checked.

    Raises:
        ValueError, TypeError: whatever is wrong with it.
    """
    config = resolve(config)
    stream, learner = (beside.stream, beside.learner) if beside else _trained_part(config)
    return Parts(
        stream=stream,
        learner=learner,
        method=make_part("method", config["method"]),
        start=make_part("start", config["start"]),
        training=Training(**typed_options("training", Training, config["training"])),
        probes=tuple(make_part("probe", probe) for probe in config["probes"]),
        seed=config["seed"],
    )


def run_config(
    config: Config,
    out: str | Path | None = None,
    resume: bool = False,
    listener: Listener | None = None,
) -> Record:
    """Run a configuration; `out`, `resume` and `listener` as in `holdfast.run`.

    Raises:
        ValueError, TypeError: whatever is wrong with the configuration, before training.
    """
    config = resolve(config)
    parts = build(config)
    return run(
        parts.stream, parts.learner, parts.method, parts.training,
        start=parts.start, probes=parts.probes, seed=parts.seed,
        out=out, resume=resume, config=config, listener=listener,
    )  # fmt: skip


def resume(out: str | Path, listener: Listener | None = None) -> Record:
    """Go on with the run a folder holds, from its ``config.yaml`` and last checkpoint.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: the run was made of Python objects, not of a configuration: call `holdfast.run`
            with the same objects and ``resume=True``.
    """
    path = Path(out) / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"{out} holds no run: there is no config.yaml in it")
    config = read_config(path)
    if "learner" in config:
        raise ValueError(
            f"the run in {out} was made of Python objects; call holdfast.run with the same ones "
            "and resume=True"
        )
    return run_config(config, out, resume=True, listener=listener)


def fresh_learner(config: Config, stream: Stream) -> Learner:
    """The learner a resolved configuration begins with, made for a stream.

    Raises:
        ValueError, TypeError: the net or the heads do not fit the stream.
    """
    seed: int = config["seed"]
    backbone = make_part("net", config["net"], input_shape=stream.input_shape, seed=seed)
    if config["richness"] is None:
        return build_learner(backbone, stream, config["heads"], seed)
    options = Richness(**typed_options("richness", Richness, config["richness"]))
    learner = build_learner(backbone, stream, config["heads"], seed, options.readout_bias)
    return apply(learner, options, seed)


def _trained_part(config: Config) -> tuple[Stream, Learner]:
    seed: int = config["seed"]
    stream = make_part("stream", config["stream"], seed=seed)
    if config["order"] is not None:
        stream = stream.reordered(task_order(config["order"], len(stream)))
    return stream, fresh_learner(config, stream)


def _resolve_richness(options: Any) -> Config | None:
    """The options of the parametrization, or None for the net as it is made.

    A name alone is that of the parametrization.
    """
    if options is None:
        return None
    given = {"parametrization": options} if isinstance(options, str) else options
    typed = typed_options("richness", Richness, given)
    Richness(**typed)
    resolved: Config = _plain(typed)
    return resolved


def _resolve_part(kind: str, part: Any) -> Config:
    name, options = _named(kind, part)
    factory = _factory(kind, name)
    own, inner, supplied = _sorted_options(kind, factory, options)
    resolved = _plain(typed_options(f"{kind} {name!r}", factory, own, _left_out(kind, factory)))
    kinds = _inner_parts(factory)
    for key, value in inner.items():
        many = isinstance(value, list)
        parts = [_resolve_part(kinds[key], v) for v in (value if many else [value])]
        resolved[key] = parts if many else parts[0]
    return {"name": name, **resolved, **supplied}


def make_part(kind: str, part: str | Config, **given: Any) -> Any:
    """Make one part of a run.

    Args:
        kind: ``dataset``, ``encoder``, ``stream``, ``net``, ``method``, ``start`` or ``probe``.
        part: its short name or import path, or a mapping of that ``name`` and options.
        given: what a run supplies, such as ``input_shape`` and ``seed`` of a net; passed on where
            the part takes it.

    Raises:
        ValueError, TypeError: whatever is wrong with the name or an option.
    """
    name, options = _named(kind, part)
    factory = _factory(kind, name)
    own, inner, supplied = _sorted_options(kind, factory, options)
    typed = typed_options(f"{kind} {name!r}", factory, own, _left_out(kind, factory))
    kinds = _inner_parts(factory)
    for key, value in inner.items():
        many = isinstance(value, list)
        passed = given if kinds[key] == "net" else {}
        made = [make_part(kinds[key], v, **passed) for v in (value if many else [value])]
        typed[key] = made if many else made[0]
    takes = inspect.signature(factory).parameters
    return factory(**typed, **{**{k: v for k, v in given.items() if k in takes}, **supplied})


def _sorted_options(
    kind: str, factory: Callable[..., Any], options: Config
) -> tuple[Config, Config, Config]:
    """The options a person sets on a part: its own, the parts in it, and a seed held fixed."""
    kinds, takes = _inner_parts(factory), inspect.signature(factory).parameters
    missing = [
        key for key in kinds if key not in options and takes[key].default is inspect.Parameter.empty
    ]
    inner = {
        key: options[key]
        for key in kinds
        if key in options and not (options[key] is None and takes[key].default is None)
    }
    for key in missing:
        if key != "dataset":
            what = "datasets" if kinds[key] == "dataset" else kinds[key]
            raise ValueError(f"{kind} needs {key!r}: the {what} it is made of")
        inner[key] = "digits"
    seed = options.get("seed")
    supplied = {}
    if "seed" in _GIVEN.get(kind, ()) and seed is not None:
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ValueError(f"{kind}.seed must be a non-negative integer, got {seed!r}")
        supplied["seed"] = seed
    taken = {*kinds, *(("seed",) if "seed" in _GIVEN.get(kind, ()) else ())}
    return {k: v for k, v in options.items() if k not in taken}, inner, supplied


def _left_out(kind: str, factory: Callable[..., Any]) -> frozenset[str]:
    return frozenset({*_inner_parts(factory), *_GIVEN.get(kind, ())})


def _named(kind: str, part: Any) -> tuple[str, Config]:
    if isinstance(part, str):
        # no import path holds a slash: a folder, or OWNER/MODEL on the hub
        is_model = kind == "encoder" and "/" in part
        return ("sentences", {"model": part}) if is_model else (part, {})
    if isinstance(part, Mapping) and isinstance(part.get("name"), str):
        return part["name"], {k: v for k, v in part.items() if k != "name"}
    raise ValueError(f"{kind} must be a name or a mapping with a name and options, got {part!r}")


def _factory(kind: str, name: str) -> Callable[..., Any]:
    """The function or class a short name or an import path stands for."""
    # Of the hub's names, OWNER/DATASET, some have dots.
    if kind == "dataset" and ("/" in name or not {":", "."} & set(name)):
        return _dataset(name)
    path = PARTS[kind].get(name, name)
    module, _, attribute = path.partition(":") if ":" in path else path.rpartition(".")
    if not module:
        raise ValueError(
            f"{kind} {name!r} is unknown{nearest(name, PARTS[kind])}; "
            f"known are {', '.join(PARTS[kind])}, or an import path such as package.module:Name"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{kind} {name!r} cannot be imported: {error}") from error
    if not callable(found):
        raise ValueError(f"{kind} {name!r} is no function or class")
    return found


@cache
def _dataset(name: str) -> Callable[..., Dataset]:
    def dataset(
        source: Place = "auto",
        per_class: int | None = None,
        fraction: float | None = None,
        subset_seed: int = 0,
        shrink: int = 1,
        normalize: Standard = "auto",
        encode: FeatureEncoder | None = None,
    ) -> Dataset:
        reads = encode if encode is not None and encode.samples == "sentences" else None
        data = normalized(shrunk(load(name, source, reads), shrink), normalize)
        if per_class is not None or fraction is not None:
            data = data.subset(per_class=per_class, fraction=fraction, seed=subset_seed)
        return data if encode is None or encode is reads else encode_dataset(data, encode)

    return dataset


def _plain(value: Any) -> Any:
    """Tuples as lists, as YAML and JSON have them."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _inner_parts(factory: Callable[..., Any]) -> dict[str, str]:
    """The parameters that take another part (or several), and the kind of each."""
    found = {}
    for name, hint in hints(factory).items():
        for kind, made in _INNER.items():
            # what may be text as well is an option, such as the name of a model
            if name != "return" and made in (hint, *get_args(hint)) and str not in get_args(hint):
                found[name] = kind
    return found
