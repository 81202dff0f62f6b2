"""One run: a learner meets a stream, and a record comes of it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
import yaml
from torch import nn

from holdfast.data.split import Split
from holdfast.methods.method import Method
from holdfast.nets.learner import HeadKind, Learner, build_learner
from holdfast.probes.probe import Probe
from holdfast.records.environment import environment
from holdfast.records.files import write_atomic
from holdfast.records.record import Record
from holdfast.records.strict_json import plain
from holdfast.seeds import seeded
from holdfast.starts.start import Start
from holdfast.streams.stream import Stream, Task
from holdfast.training.checkpoint import FILE, Tree, load_checkpoint
from holdfast.training.checks import check_batches, check_epochs, check_fit, check_kinds
from holdfast.training.loop import Listener, Loop
from holdfast.training.options import Training


def run(
    stream: Stream,
    learner: Learner | nn.Module,
    method: Method | None = None,
    training: Training | None = None,
    *,
    start: Start | None = None,
    heads: HeadKind = "auto",
    probes: Sequence[Probe] = (),
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    config: dict[str, Any] | None = None,
    listener: Listener | None = None,
) -> Record:
    """Train a learner on every task of a stream in turn.

    The same arguments and seed give the same record, bit for bit, on the same machine's CPU; so
    does a run that was killed and resumed. Torch's global generators are left as they were.

    Args:
        stream: the tasks.
        learner: a `Learner`, or a backbone (n, ...) -> (n, width) that is given `heads` fit for
            the stream. Trained in place.
        method: what protects earlier tasks; `None` is plain finetuning.
        training: how each task is trained.
        start: where training on a task begins; `None` carries on from the task before.
        heads: for a bare backbone, see `build_learner`.
        probes: measured after each task on each task seen.
        seed: of everything drawn in the run.
        out: folder for ``config.yaml``, ``record.json``, ``events.jsonl`` and checkpoints.
        resume: continue the run that `out` holds (a complete one gives its record and trained
            learner at once), or start it if there is none.
        config: what to keep as the run's configuration; by default a description of the parts.
            On resume it must be that of the interrupted run.
        listener: called with each event, a dict, as it happens.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: a part does not fit another, the device is not there, or `out` holds another
            run or a damaged checkpoint; all before training starts. Divergence raises nothing:
            the record's status says so, with the step.
    """
    method = Method() if method is None else method
    start = Start() if start is None else start
    training = Training() if training is None else training
    parts = {"stream": stream, "learner": learner, "method": method, "training": training}
    check_kinds({**parts, "start": start, "seed": seed}, probes)
    seed, device = int(seed), training.place()
    if resume and out is None:
        raise ValueError("resume needs out: the folder of the run to continue")
    if not isinstance(learner, Learner):
        learner = build_learner(learner, stream, heads, seed)
    check_fit(learner, stream)
    check_batches(learner, stream, method, training.batch_size)
    check_epochs(method, stream, training)
    if config is None:
        config = _describe(stream, learner, method, training, start, probes, seed)
        if out is not None:
            config["data"] = [_digest(task) for task in stream]
    identity = fingerprint(config)
    folder = None if out is None else Path(out)
    state = None if folder is None else _claim(folder, resume, config, identity)
    config = json.loads(json.dumps(config))
    names = [task.name for task in stream]
    record = Record.empty(names, stream.scenario, seed, config, environment(device))
    with seeded(seed, "torch"):
        loop = Loop(
            stream, learner, method, start, training, probes, seed, record, folder, identity,
            listener,
        )  # fmt: skip
        try:
            if state is not None:
                loop.restore(state)
            elif folder is not None:
                write_atomic(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
                record.save(folder)
            record = loop.run()
        finally:
            loop.close()
    if folder is not None:
        record.save(folder)
    return record


def _claim(folder: Path, resume: bool, config: dict[str, Any], identity: str) -> Tree | None:
    """The checkpoint to go on from, after making sure that the folder is ours to write to."""
    path = folder / FILE
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out must be a folder, {folder} is a file")
    if (folder / "study.yaml").exists():
        raise ValueError(f"out {folder} holds a study; give the run a folder of its own")
    recorded = (folder / "record.json").exists()
    if (recorded or path.parent.exists()) and not resume:
        raise ValueError(
            f"out {folder} holds a run already; go on with it (`holdfast resume {folder}`, or "
            "resume=True), look at it (`holdfast show`), or give another folder"
        )
    state = load_checkpoint(path) if path.exists() else None
    if state is not None and state.get("fingerprint") != identity:
        raise _another_run(folder, state.get("record", {}).get("config"), config)
    if state is None and recorded:
        held = Record.load(folder).config
        if fingerprint(held) != identity:
            raise _another_run(folder, held, config)
    return state


def _another_run(folder: Path, held: Any, given: dict[str, Any]) -> ValueError:
    held = held if isinstance(held, dict) else {}
    given = json.loads(json.dumps(given))
    differ = [key for key in {**held, **given} if held.get(key) != given.get(key)]
    return ValueError(
        f"out {folder} holds another run: its configuration differs from the one given in "
        f"{', '.join(differ)}; give another folder, or the parts as they were when it began"
    )


def fingerprint(config: dict[str, Any]) -> str:
    """SHA-256 of a configuration, leaving out what changes no result on one machine.

    Raises:
        ValueError: it holds something that is no JSON value.
    """
    kept, training = _without_added(config), config.get("training")
    if isinstance(training, dict):
        free = ("device", "checkpoint_minutes")
        kept["training"] = {k: v for k, v in kept["training"].items() if k not in free}
    try:
        text = json.dumps(kept, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"config must hold JSON values alone: {error}") from error
    return hashlib.sha256(text.encode()).hexdigest()


_ADDED = {
    "freeze_backbone": "never",
    "freeze_old_rows": False,
    "evaluate_start": False,
    "normalize": "auto",
    "pretraining_epochs": None,
    "rms_decay": 0.99,
    "augment": "none",
    "label_noise": 0.0,
}
"""Options there were not always, with the values that change nothing: left out of fingerprints, so
that runs begun before there were any are known again."""

_ADDED_TO = {
    "lenet": {"activation": "relu", "norm": "batch"},
    "resnet18": {"norm": "batch"},
}
"""The same, of parts that share the name of the option with others, by the name of the part."""


def _without_added(config: Any) -> Any:
    if isinstance(config, dict):
        added = _ADDED | _ADDED_TO.get(str(config.get("name")), {})
        return {k: _without_added(v) for k, v in config.items() if added.get(k, config) != v}
    return [_without_added(v) for v in config] if isinstance(config, list) else config


def _describe(
    stream: Stream,
    learner: Learner,
    method: Method,
    training: Training,
    start: Start,
    probes: Sequence[Probe],
    seed: int,
) -> dict[str, Any]:
    """A configuration for parts that were made in Python: enough to tell runs apart."""
    parts: dict[str, Any] = {
        "stream": repr(stream).splitlines(),
        "learner": repr(learner).splitlines(),
        "method": _part(method),
        "start": _part(start),
        "probes": [_part(probe) for probe in probes],
        "training": asdict(training),
        "seed": seed,
    }
    described: dict[str, Any] = plain(parts, "config")
    return described


def _digest(task: Task) -> str:
    """A checksum of a task's labels and first samples, to tell data of one shape apart."""
    found = 0
    for split in (task.train, task.validation, task.test):
        if isinstance(split, Split):
            for values in (split.x[:16], split.y):
                bits = values.detach().cpu().contiguous().flatten().view(torch.uint8)
                found = crc32(bits.numpy().tobytes(), found)
    return f"{found:08x}"


def _part(part: object) -> dict[str, Any]:
    """Class and plain option values of a method, start or probe."""
    plain = (bool, int, float, str, type(None))
    options = {k: v for k, v in vars(part).items() if isinstance(v, plain) and k[0] != "_"}
    return {"class": f"{type(part).__module__}:{type(part).__qualname__}", **options}
