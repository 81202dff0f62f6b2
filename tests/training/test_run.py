"""The folder of a run, and what is refused before anything is trained."""

import errno
import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from small_runs import Interrupted, Setup, cut_at_checkpoint, make_learner, make_stream, same
from torch import nn

from holdfast.data.split import Split
from holdfast.methods import EWC, Finetune, Joint, Method, Replay
from holdfast.nets.learner import Learner
from holdfast.records.files import EventLog
from holdfast.records.record import Record
from holdfast.records.strict_json import loads
from holdfast.streams.stream import Stream, Task
from holdfast.training.options import Training
from holdfast.training.run import fingerprint, run


def short(**options: Any) -> Training:
    return Training(**{"epochs": 1, "batch_size": 5, "device": "cpu", **options})


class Untouched(Finetune):
    """Fails as soon as it is asked to train."""

    def begin_task(self, *args: object) -> None:
        raise AssertionError("training started")


def refused(match: str, *, kind: type[Exception] = ValueError, **options: Any) -> None:
    """`run` raises before any training, and leaves torch's generator and the folder alone."""
    out, seeds = options.get("out"), torch.get_rng_state()
    before = sorted(out.rglob("*")) if out is not None and out.is_dir() else None
    stream = options.pop("stream", make_stream())
    learner = options.pop("learner", None) or make_learner(stream)
    options = {"method": Untouched(), "training": short(), **options}
    with pytest.raises(kind, match=match):
        run(stream, learner, **options)
    assert torch.equal(torch.get_rng_state(), seeds)
    if out is not None:
        assert (sorted(out.rglob("*")) if out.is_dir() else None) == before


def test_files_of_a_run(tmp_path: Path) -> None:
    setup = Setup(lambda: EWC(strength=3.0), training={"evaluate_every": 2, "clip": None})
    heard: list[dict[str, Any]] = []
    record, _ = setup.run(tmp_path / "deep" / "out", listener=heard.append)
    out = tmp_path / "deep" / "out"
    assert {p.name for p in out.iterdir()} == {
        "config.yaml", "record.json", "events.jsonl", "checkpoint"
    }  # fmt: skip
    assert [p.name for p in (out / "checkpoint").iterdir()] == ["state.safetensors"]
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config == record.config == json.loads((out / "record.json").read_text())["config"]
    assert config["method"]["strength"] == 3.0
    assert config["training"]["lr"] == 0.05
    assert config["seed"] == 0
    loads((out / "record.json").read_text())  # strict: NaN is refused
    assert Record.load(out).digest() == record.digest()
    events = EventLog.read(out / "events.jsonl")
    assert [loads(line) for line in (out / "events.jsonl").read_text().splitlines()] == events
    assert events == json.loads(json.dumps(heard))
    assert events[0] == {"event": "begin", "tasks": ["t0", "t1", "t2"], "seed": 0}
    assert events[-1] == {"event": "end", "status": "complete"}
    assert record.environment["torch"] == torch.__version__
    ends = [e for e in events if e["event"] == "task_end"]
    assert [e["accuracy"] for e in ends] == [
        [None if v != v else v for v in row] for row in record.accuracy.tolist()
    ]


def test_the_folder_of_a_run_that_goes_on_says_so(tmp_path: Path, quick: None) -> None:
    def look(event: dict[str, Any]) -> None:
        assert Record.load(tmp_path).status == "running"
        assert (tmp_path / "config.yaml").exists()
        assert EventLog.read(tmp_path / "events.jsonl")[-1]["event"] == event["event"]

    Setup().run(tmp_path, listener=look)
    assert Record.load(tmp_path).status == "complete"


def test_nothing_is_written_without_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    monkeypatch.chdir(tmp_path)
    Setup().run(checkpoint_minutes=0.0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_a_run(tmp_path: Path, quick: None) -> None:
    Setup().run(tmp_path)
    refused("out .* holds a run already; .*resume=True.* another folder", out=tmp_path)
    (tmp_path / "record.json").unlink()
    refused("out .* holds a run already", out=tmp_path)


def test_a_folder_with_other_things_is_taken(tmp_path: Path, quick: None) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    Setup().run(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    refused("out must be a folder, .* is a file", out=path)
    refused("out must be a folder, .* is a file", out=path, resume=True)
    assert path.read_text() == "mine"


def test_resume_needs_a_folder() -> None:
    refused("resume needs out", resume=True)


@pytest.mark.parametrize("gone", [None, "checkpoint/state.safetensors"])
def test_another_run_is_not_resumed(gone: str | None, tmp_path: Path, quick: None) -> None:
    setup = Setup(lambda: Replay(memory=10))
    setup.run(tmp_path)
    if gone:
        (tmp_path / gone).unlink()
    held = (tmp_path / "record.json").read_bytes()
    for other, differs in (
        (Setup(lambda: Replay(memory=11)), "method"),
        (Setup(setup.method, training={"lr": 0.01}), "training"),
        (Setup(setup.method, net="noisy"), "learner"),
        (Setup(setup.method, "task_incremental"), "stream, learner"),
    ):
        with pytest.raises(ValueError, match=rf"holds another run: .* differs .* in {differs};"):
            other.run(tmp_path, resume=True)
    with pytest.raises(ValueError, match=r"holds another run: .* in seed; give another folder"):
        setup.run(tmp_path, seed=1, resume=True)
    assert (tmp_path / "record.json").read_bytes() == held


def test_other_data_of_one_shape_is_another_run(tmp_path: Path, quick: None) -> None:
    stream = make_stream()
    run(stream, make_learner(stream), training=short(), out=tmp_path)
    first = stream[0]
    assert isinstance(first.train, Split)
    moved = Task(first.name, Split(first.train.x + 1, first.train.y), first.test)
    other = Stream([moved, *stream.tasks[1:]], stream.scenario, stream.name)
    with pytest.raises(ValueError, match=r"holds another run: .* in data;"):
        run(other, make_learner(stream), training=short(), out=tmp_path, resume=True)


@pytest.mark.parametrize("described", [True, False])
def test_a_trained_learner_is_no_start(
    described: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    stream = make_stream("task_incremental")
    learner = make_learner(stream)
    config = None if described else {"name": "mine"}
    with pytest.raises(Interrupted), cut_at_checkpoint(monkeypatch, 1):
        run(stream, learner, training=short(), out=tmp_path, config=config)
    learner.accommodate(2, stream[2])
    match = "in learner; .*as they were" if described else "learner is not the one the run began"
    with pytest.raises(ValueError, match=match):
        run(stream, learner, training=short(), out=tmp_path, config=config, resume=True)


def test_a_lost_checkpoint_is_made_again(tmp_path: Path, quick: None) -> None:
    record, _ = Setup().run(tmp_path)
    (tmp_path / "checkpoint" / "state.safetensors").unlink()
    again, _ = Setup().run(tmp_path, resume=True)
    assert again.digest() == record.digest()
    assert (tmp_path / "checkpoint" / "state.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"junk", None])
def test_damaged_checkpoints_are_refused(
    content: bytes | None, tmp_path: Path, quick: None
) -> None:
    Setup().run(tmp_path)
    path = tmp_path / "checkpoint" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with pytest.raises(ValueError, match=r"state\.safetensors is truncated or no checkpoint"):
        Setup().run(tmp_path, resume=True)


def test_events_of_another_file_are_refused(tmp_path: Path, quick: None) -> None:
    Setup().run(tmp_path)
    (tmp_path / "events.jsonl").write_text('{"event": "begin"}\n')
    with pytest.raises(
        ValueError, match=r"events\.jsonl .* not the file the checkpoint was written"
    ):
        Setup().run(tmp_path, resume=True)


def test_what_changes_no_result_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    setup = Setup()
    record, _ = setup.run()
    for number, change in enumerate(({"device": "cpu"}, {"checkpoint_minutes": 0.0})):
        out = tmp_path / str(number)
        with pytest.raises(Interrupted), cut_at_checkpoint(monkeypatch, 2):
            setup.run(out)
        assert setup.run(out, resume=True, **change)[0].digest() == record.digest()


def test_a_config_of_one_s_own(tmp_path: Path, quick: None) -> None:
    config = {"stream": {"name": "x"}, "sizes": (1, 2), "training": None, "shared": [[0], [0]]}
    record, _ = Setup().run(tmp_path, config=config)
    wanted = {**config, "sizes": [1, 2]}
    assert record.config == wanted
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == wanted
    assert config["sizes"] == (1, 2)
    again, _ = Setup().run(tmp_path, config=config, resume=True)
    assert again.digest() == record.digest()
    with pytest.raises(ValueError, match=r"holds another run: .* in sizes;"):
        Setup().run(tmp_path, config={**config, "sizes": [1, 3]}, resume=True)


@pytest.mark.parametrize("config", [{"a": {1, 2}}, {"a": float("nan")}, {"a": torch.ones(1)}])
def test_a_config_must_be_json(config: dict[str, Any], tmp_path: Path) -> None:
    refused("config must hold JSON values alone", config=config, out=tmp_path)


def test_fingerprints() -> None:
    config = {"training": {"lr": 0.1, "device": "cpu", "checkpoint_minutes": 5.0}, "seed": 0}
    base = fingerprint(config)
    assert fingerprint(json.loads(json.dumps(config))) == base
    assert fingerprint(dict(reversed(config.items()))) == base
    free = {**config, "training": {"lr": 0.1, "device": "cuda", "checkpoint_minutes": 0.0}}
    assert fingerprint(free) == base
    assert fingerprint({**config, "seed": 1}) != base
    assert fingerprint({**config, "training": {"lr": 0.2}}) != base
    assert fingerprint({**config, "training": "fast"}) != base


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    refused(
        r"training\.device 'cuda:7' is not there", training=short(device="cuda:7"), out=tmp_path
    )


def test_bfloat16_on_the_cpu() -> None:
    refused(r"training\.precision 'bfloat16' runs on CUDA", training=short(precision="bfloat16"))


def test_validation_that_is_not_there(tmp_path: Path) -> None:
    refused(
        r"training\.evaluate_on is 'validation' but task 't0' has none",
        training=short(evaluate_on="validation"), out=tmp_path,
    )  # fmt: skip


def test_cross_entropy_of_targets() -> None:
    refused(
        r"training\.loss must be mse",
        stream=make_stream("domain_incremental", regression=True),
        training=short(loss="cross_entropy"),
    )


def test_what_a_method_refuses(tmp_path: Path) -> None:
    class Refuses(Method):
        def check(self, learner: Learner, stream: Stream) -> None:
            raise ValueError("cannot serve this stream")

    refused("cannot serve this stream", method=Refuses(), out=tmp_path)


def test_a_net_that_does_not_fit() -> None:
    refused("the net does not take inputs of shape", learner=nn.Linear(3, 2))


@pytest.mark.parametrize("seed", [-1, -(2**40)])
def test_seeds_are_not_negative(seed: int) -> None:
    refused(f"seed must be a non-negative integer, got {seed}", seed=seed)


def test_mixed_sources_are_refused(tmp_path: Path) -> None:
    a, b = make_stream("domain_incremental"), make_stream("domain_incremental", fed="loader")
    stream = Stream([a[0], b[1]], "domain_incremental")
    refused("fed by a DataLoader", kind=TypeError, stream=stream, method=Joint(), out=tmp_path)


class Full:
    """A disk that is full from some write on."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str, writes: int) -> None:
        self.name, self.left = name, writes
        self.replace = os.replace
        patch.setattr(os, "replace", self)

    def __call__(self, source: Any, target: Any) -> None:
        if Path(target).name == self.name:
            if self.left == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
            self.left -= 1
        self.replace(source, target)


@pytest.mark.parametrize(
    ("name", "writes"),
    [
        ("config.yaml", 0),
        ("record.json", 0),
        ("record.json", 1),
        *[("state.safetensors", k) for k in range(4)],
    ],
)
def test_a_full_disk(
    name: str, writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """The run stops with the error, and goes on when there is room."""
    setup = Setup(lambda: Replay(memory=10), net="noisy")
    whole, learner = setup.run()
    with monkeypatch.context() as patch:
        Full(patch, name, writes)
        with pytest.raises(OSError, match="No space left on device") as caught:
            setup.run(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert name in str(caught.value)
    assert not list(tmp_path.rglob("*.tmp"))
    record, again = setup.run(tmp_path, resume=True)
    assert record.digest() == whole.digest() == Record.load(tmp_path).digest()
    assert same(learner.state_dict(), again.state_dict())


def test_a_disk_that_fills_up_under_the_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    setup, left = Setup(), [7]
    append = EventLog.append

    def full(self: EventLog, kind: str, /, **fields: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        append(self, kind, **fields)

    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "append", full)
        with pytest.raises(OSError, match="No space left"):
            setup.run(tmp_path)
    assert setup.run(tmp_path, resume=True)[0].digest() == setup.run()[0].digest()


def test_the_environment_is_that_of_the_device(
    monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    asked = []
    module = import_module("holdfast.training.run")
    monkeypatch.setattr(module, "environment", lambda device: asked.append(device) or {})
    run(make_stream(), make_learner(make_stream()), training=short())
    assert asked == [torch.device("cpu")]


def test_options_of_later_versions_keep_the_identity_of_runs() -> None:
    before = {"stream": {"dataset": {"name": "digits"}}, "training": {"epochs": 1}}
    after = {
        "stream": {"dataset": {"name": "digits", "normalize": "auto"}},
        "training": {
            "epochs": 1, "freeze_backbone": "never", "freeze_old_rows": False,
            "evaluate_start": False,
        },
    }  # fmt: skip
    assert fingerprint(after) == fingerprint(before)
    for name, value in (("freeze_backbone", "always"), ("evaluate_start", True)):
        changed = {**after, "training": {**after["training"], name: value}}
        assert fingerprint(changed) != fingerprint(before)


@pytest.mark.parametrize("name", ["lenet", "resnet18"])
def test_norms_that_nets_always_had_keep_the_identity_of_runs(name: str) -> None:
    before = {"net": {"name": name, "seed": 1}}
    assert fingerprint({"net": {**before["net"], "norm": "batch"}}) == fingerprint(before)
    assert fingerprint({"net": {**before["net"], "norm": "layer"}}) != fingerprint(before)
    mlp = {"net": {"name": "mlp"}}  # which had the option from the first
    assert fingerprint({"net": {**mlp["net"], "norm": "batch"}}) != fingerprint(mlp)
