"""A run's learner comes back from its folder as it was in memory, without its data."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from small_runs import Interrupted, Setup, make_learner, make_stream, same, tensors

import small_parts
from holdfast import load_learner
from holdfast.config import build, resolve, run_config
from holdfast.data import catalog
from holdfast.methods import DERpp, Method, SingleTask
from holdfast.nets import mlp
from holdfast.nets.learner import Learner
from holdfast.richness import parametrize
from holdfast.streams.outline import hollow, outline
from holdfast.streams.stream import Stream
from holdfast.training.run import run

Config = dict[str, Any]

DIGITS = {"name": "digits", "per_class": 4}
CLOUDS: Config = {"stream": "small_parts:clouds", "net": {"name": "mlp", "width": 4}}
IMAGES: Config = {
    "stream": {"name": "split", "dataset": DIGITS, "tasks": 2},
    "net": {"name": "cnn", "channels": [3], "hidden": [5], "norm": "batch", "dropout": 0.2},
}
PIXELS: Config = {
    "stream": {"name": "permuted", "dataset": DIGITS, "tasks": 2},
    "net": {"name": "mlp", "width": 4},
}
TARGETS: Config = {"stream": {"name": "teacher_student", "samples": 20}, "net": "small_parts:tiny"}
RUNS: dict[str, Config] = {
    "per_task": CLOUDS,
    "growing": IMAGES | {"heads": "growing", "seed": 5},
    "shared": IMAGES | {"heads": "shared"},
    "domain": PIXELS,
    "regression": TARGETS,
    "order": CLOUDS | {"order": [1, 0]},
    "own_parts": CLOUDS | {"net": {"name": "small_parts:tiny", "seed": 3}, "start": "fresh"},
    "single_task": IMAGES | {"heads": "per_task", "method": "single_task"}
    | {"stream": IMAGES["stream"] | {"scenario": "task_incremental"}},
    "single_task_shared": PIXELS | {"method": "single_task"},
    "lwf": PIXELS | {"method": "lwf"},
    "replay": IMAGES | {"method": {"name": "replay", "memory": 8}},
    "ewc": CLOUDS | {"method": "ewc"},
    "mup": PIXELS | {"richness": {"parametrization": "mup", "gamma0": 0.5, "readout_std": 1}},
    "ntp_per_task": CLOUDS | {"richness": "ntp"},
}  # fmt: skip


def trained(config: Config, out: Path) -> tuple[Learner, Stream]:
    """A run and the learner it leaves in memory."""
    config = resolve(config | {"training": {"epochs": 1, "batch_size": 8}})
    parts = build(config)
    run(
        parts.stream, parts.learner, parts.method, parts.training,
        start=parts.start, seed=parts.seed, out=out, config=config,
    )  # fmt: skip
    return parts.learner, parts.stream


def alike(loaded: Learner, learner: Learner, stream: Stream, tasks: int) -> None:
    """Both predict the same of the first tasks and are trained alike in what is to come."""
    learner = copy.deepcopy(learner).eval()
    for index, task in enumerate(stream[:tasks]):
        x = task.inputs(task.test.x)
        assert torch.equal(loaded(x, index), learner(x, index))
        assert torch.equal(loaded.features(x, index), learner.features(x, index))
        if not stream.is_regression:
            assert torch.equal(loaded.predict(x, index), learner.predict(x, index))
    assert same(tensors(loaded), tensors(learner))
    free = [{n: p.requires_grad for n, p in m.named_parameters()} for m in (loaded, learner)]
    assert free[0] == free[1]


@pytest.mark.parametrize("name", RUNS)
def test_it_predicts_as_in_memory_without_the_data(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner, stream = trained(RUNS[name], tmp_path)

    def gone(*_: Any, **__: Any) -> None:
        raise AssertionError("the data were read")

    monkeypatch.setattr(small_parts, "clouds", gone)
    monkeypatch.setattr(catalog, "digits", gone)
    before = torch.get_rng_state()
    loaded = load_learner(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in loaded.modules())
    alike(loaded, learner, stream, len(stream))


def test_neither_stream_nor_start_nor_probes_need_be_there(tmp_path: Path) -> None:
    """Nor other files than the checkpoint."""
    config = resolve(CLOUDS | {"training": {"epochs": 1}})
    parts = build(config)
    for part, value in (("stream", "gone:stream"), ("start", "gone:Start")):
        config[part] = {"name": value}
    config["probes"] = [{"name": "gone:Probe"}]
    run(parts.stream, parts.learner, training=parts.training, out=tmp_path, config=config)
    for path in tmp_path.iterdir():
        if path.is_file():
            path.unlink()
    alike(load_learner(str(tmp_path)), parts.learner, parts.stream, 2)


OBJECTS: dict[str, Setup] = {
    "growing": Setup(net="noisy"),
    "shared": Setup(heads="shared", net="scaled"),
    "per_task": Setup(lambda: DERpp(memory=6), "task_incremental", net="noisy"),
    "regression": Setup(scenario="domain_incremental", stream={"regression": True}),
    "single_task": Setup(SingleTask, "task_incremental", net="noisy"),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_of_python_objects_it_takes_the_same_untrained(name: str, tmp_path: Path) -> None:
    setup = OBJECTS[name]
    _, learner = setup.run(tmp_path)
    stream = make_stream(setup.scenario, **setup.stream)
    fresh = make_learner(stream, setup.heads, setup.net, seed=9)
    method = SingleTask() if name == "single_task" else None
    loaded = load_learner(tmp_path, fresh, method)
    assert loaded is fresh
    alike(loaded, learner, stream, 3)


@pytest.mark.parametrize("heads", ["auto", "shared"])
def test_of_python_objects_a_bare_backbone_will_do(heads: Any, tmp_path: Path) -> None:
    stream = make_stream()
    backbone = mlp((5,), hidden=(4,))
    run(stream, backbone, heads=heads, out=tmp_path)
    loaded = load_learner(tmp_path, mlp((5,), hidden=(4,), seed=1), heads=heads)
    assert same(tensors(loaded.backbone), tensors(backbone))


def test_a_run_cut_short_has_its_last_checkpoint(tmp_path: Path) -> None:
    config = resolve(IMAGES | {"heads": "growing", "training": {"epochs": 1}})
    parts, kept = build(config), []

    def cut(event: dict[str, Any]) -> None:
        if event["event"] == "task_end":
            kept.append(copy.deepcopy(parts.learner))
        if event["event"] == "epoch" and event["task"] == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(parts.stream, parts.learner, training=parts.training, out=tmp_path, config=config,
            listener=cut)  # fmt: skip
    loaded = load_learner(tmp_path)
    alike(loaded, kept[0], parts.stream, 1)
    assert loaded.heads.known.tolist() == list(parts.stream[0].classes)


def test_a_run_cut_short_within_a_task_knows_that_task(tmp_path: Path) -> None:
    config = resolve(CLOUDS | {"training": {"epochs": 2, "checkpoint_minutes": 0.0}})

    def cut(event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            raise Interrupted

    with pytest.raises(Interrupted):
        run_config(config, tmp_path, listener=cut)
    loaded = load_learner(tmp_path)
    assert loaded.heads.tasks == [0]


def test_a_run_that_diverged_has_what_came_before(tmp_path: Path) -> None:
    config = CLOUDS | {"method": "small_parts:Explodes", "training": {"epochs": 1}}
    assert run_config(config, tmp_path).status == "diverged"
    loaded = load_learner(tmp_path)
    assert loaded.heads.tasks == [0]
    assert all(bool(p.isfinite().all()) for p in loaded.parameters())


class TestRefuses:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        run_config(CLOUDS | {"training": {"epochs": 1}}, tmp_path / "run")
        return tmp_path / "run"

    @pytest.fixture
    def objects(self, tmp_path: Path) -> Path:
        Setup(SingleTask, "task_incremental").run(tmp_path / "objects")
        return tmp_path / "objects"

    def test_what_holds_no_run(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="gone holds no run: there is no checkpoint"):
            load_learner(tmp_path / "gone")
        shutil.rmtree(folder / "checkpoint")
        with pytest.raises(FileNotFoundError, match=r"run has no checkpoint yet.*holdfast.resume"):
            load_learner(folder)
        (tmp_path / "study.yaml").write_text("base: {}")
        with pytest.raises(FileNotFoundError, match=r"holds a study; .* in .*runs"):
            load_learner(tmp_path)

    def test_a_damaged_checkpoint(self, folder: Path) -> None:
        path = folder / "checkpoint" / "state.safetensors"
        whole = bytearray(path.read_bytes())
        path.write_bytes(whole[:-5])
        with pytest.raises(ValueError, match="is truncated or no checkpoint"):
            load_learner(folder)
        whole[-5] ^= 1
        path.write_bytes(whole)
        with pytest.raises(ValueError, match="is damaged"):
            load_learner(folder)

    def test_a_run_of_python_objects_without_them(self, objects: Path) -> None:
        with pytest.raises(ValueError, match=r"made of Python objects.*learner=\.\.\."):
            load_learner(objects)

    def test_another_learner_or_method(self, objects: Path) -> None:
        stream = make_stream("task_incremental")
        with pytest.raises(ValueError, match=r"learner is not the one the run.*config"):
            load_learner(objects, make_learner(stream, net="noisy"))
        with pytest.raises(ValueError, match=r"if the run's method, .*SingleTask, changes the"):
            load_learner(objects, make_learner(stream))
        with pytest.raises(
            ValueError, match=r"method is a .*DERpp, that of the run was a .*Single"
        ):
            load_learner(objects, make_learner(stream), DERpp(memory=4))

    def test_another_parametrization(self, tmp_path: Path) -> None:
        """Its tensors would fit, but the multipliers differ: those of a new head's rows alone."""
        stream = make_stream("task_incremental")

        def made(heads: Any, gamma0: float) -> Learner:
            return parametrize(make_learner(stream, heads), gamma0=gamma0, readout_std=1)

        for heads in ("shared", "growing", "per_task"):
            learner, out = made(heads, 0.5), tmp_path / heads
            run(stream, learner, out=out)
            alike(load_learner(out, made(heads, 0.5)), learner, stream, 3)
            with pytest.raises(ValueError, match="learner is not the one the run began with"):
                load_learner(out, made(heads, 0.25))

    def test_objects_for_a_run_of_a_configuration(self, folder: Path) -> None:
        for given in ({"learner": mlp((3,), width=4)}, {"method": Method()}):
            with pytest.raises(ValueError, match=r"came from a configuration.*leave them out"):
                load_learner(folder, **given)


@pytest.mark.parametrize(
    "make",
    [
        make_stream,
        lambda: make_stream("domain_incremental", regression=True),
        lambda: make_stream("task_incremental", fed="loader"),
        lambda: build(IMAGES).stream,
    ],
)
def test_an_outline_is_all_a_learner_needs_of_a_stream(make: Callable[[], Stream]) -> None:
    stream = make()
    kept = outline(stream)
    assert yaml.safe_load(yaml.safe_dump(kept)) == kept
    again = hollow(kept)
    assert outline(again) == kept
    assert again.scenario == stream.scenario
    assert again.classes == stream.classes
    assert again.input_shape == stream.input_shape
