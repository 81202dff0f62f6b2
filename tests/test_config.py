import copy
from typing import Any

import pytest
import torch
import yaml

import small_parts
from holdfast.config import (
    PARTS,
    build,
    make_part,
    override,
    read_config,
    resolve,
    resume,
    run_config,
)
from holdfast.data.split import Dataset
from holdfast.methods.method import Method
from holdfast.probes.probe import Probe
from holdfast.starts.start import Start
from holdfast.training.run import fingerprint

Config = dict[str, Any]


def small() -> Config:
    return {
        "stream": {"name": "small_parts:clouds", "rows": 12},
        "net": "small_parts:tiny",
        "method": {"name": "small_parts:Shrink", "strength": 0.5},
        "training": {"epochs": 1, "batch_size": 4},
        "seed": 3,
    }


def changed(key: str, value: Any) -> Config:
    config = small()
    override(config, key, value)
    return config


def test_resolve_fills_every_option_in() -> None:
    resolved = resolve({"stream": "small_parts:clouds", "net": "small_parts:tiny"})
    assert resolved["stream"] == {
        "name": "small_parts:clouds", "tasks": 2, "rows": 20, "scenario": "task_incremental",
    }  # fmt: skip
    assert resolved["net"] == {"name": "small_parts:tiny", "width": 4}
    assert resolved["training"]["epochs"] == 5
    assert resolved["training"]["betas"] == [0.9, 0.999]
    assert (resolved["heads"], resolved["order"], resolved["seed"]) == ("auto", None, 0)
    assert resolved["probes"] == []


def test_resolving_twice_changes_nothing_and_leaves_the_config_alone() -> None:
    config = small() | {
        "stream": {"name": "small_parts:halves", "extra": "small_parts:points", "seed": 1},
        "order": (1, 0),
        "net": {"name": "small_parts:tiny", "seed": 7},
    }
    before = copy.deepcopy(config)
    once = resolve(config)
    assert config == before
    assert resolve(once) == once
    assert yaml.safe_load(yaml.safe_dump(once)) == once
    assert once["stream"]["dataset"]["name"] == "digits"
    assert once["stream"]["extra"] == {"name": "small_parts:points", "rows": 12, "classes": 4}
    assert (once["net"]["seed"], once["stream"]["seed"], once["order"]) == (7, 1, [1, 0])


def test_numbers_of_one_value_resolve_alike() -> None:
    as_float, as_int = changed("training.lr", 1.0), changed("training.lr", 1)
    # YAML 1.1 reads 1e0 as a string.
    as_text = changed("training.lr", yaml.safe_load("1e0"))
    prints = {fingerprint(resolve(config)) for config in (as_float, as_int, as_text)}
    assert len(prints) == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("methd", "x", "config has no key 'methd' .did you mean 'method'"),
        ("method.strenght", 1, "method 'small_parts:Shrink' has no key 'strenght'.*'strength'"),
        ("training.epoch", 1, "training has no key 'epoch'.*'epochs'"),
        ("net.input_shape", [3], "net 'small_parts:tiny' has no key 'input_shape'.*takes width"),
        ("method.strength", "strong", "Shrink'.strength must be a number, got 'strong'"),
        ("method.count", 1.5, "count must be an integer, got 1.5"),
        ("method.count", True, "count must be an integer, got True"),
        ("method.powers", ["a"], "powers must be a list of integers, got .'a'."),
        ("method.strength", None, "strength cannot be null"),
        ("training.lr", None, "training.lr cannot be null"),
        ("training.lr", float("nan"), "training.lr must be finite, got nan"),
        ("training.betas", [0.9, float("inf")], "training.betas must be finite"),
        ("training.loss", "hinge", "training.loss must be one of 'auto', .*, got 'hinge'"),
        ("training.optimizer", "sdg", "got 'sdg' .did you mean 'sgd'"),
        ("training", [1], "training must be a mapping of options, got .1."),
        ("training", [], "training must be a mapping of options, got .."),
        ("probes", False, "probes must be a list, got False"),
        ("stream.scenario", "open", "scenario"),
        ("stream.seed", -1, "stream.seed must be a non-negative integer, got -1"),
        ("stream.seed", 1.0, "stream.seed must be a non-negative integer, got 1.0"),
        ("seed", -1, "seed must be a non-negative integer, got -1"),
        ("seed", True, "seed must be a non-negative integer, got True"),
        ("heads", "many", "heads must be one of .*got 'many'"),
        ("order", 5, "order must be a list of task positions, got 5"),
        ("order", [0, "A"], "order must be a list of task positions, got .0, .A.."),
        ("probes", "effective_rank", "probes must be a list, got 'effective_rank'"),
        ("net", 5, "net must be a name or a mapping with a name and options, got 5"),
        ("net", {"width": 4}, "net must be a name or a mapping with a name"),
        ("method", "repaly", "method 'repaly' is unknown .did you mean 'replay'.*import path"),
        ("method", "small_parts:Shrnk", "method 'small_parts:Shrnk' cannot be imported"),
        ("method", "no_such_module:Thing", "cannot be imported: No module named"),
        ("method", "small_parts:os", "method 'small_parts:os' is no function or class"),
        ("method", "small_parts:Needy", "method 'small_parts:Needy' needs 'memory'"),
        ("stream", "small_parts:together", "stream needs 'datasets'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_name(key: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(changed(key, value))


@pytest.mark.parametrize("part", ["stream", "net"])
def test_a_missing_part_is_named(part: str) -> None:
    config = small()
    del config[part]
    with pytest.raises(ValueError, match=f"config lacks '{part}'"):
        resolve(config)


def test_values_out_of_range_are_refused_when_the_parts_are_made() -> None:
    with pytest.raises(ValueError, match=r"training.lr must be a positive number; got -1"):
        build(changed("training.lr", -1))
    with pytest.raises(ValueError, match=r"'digit'.*did you mean 'digits'"):
        build(small() | {"stream": {"name": "split", "dataset": "digit"}})
    with pytest.raises(ValueError, match=r"order must be a permutation of 0..1"):
        build(changed("order", [0, 2]))


def test_override_makes_a_mapping_of_a_named_part() -> None:
    config: Config = {"method": "ewc", "training": None}
    override(config, "method.strength", 2.0)
    override(config, "training.lr", 0.5)
    override(config, "seed", 4)
    assert config == {
        "method": {"name": "ewc", "strength": 2.0}, "training": {"lr": 0.5}, "seed": 4,
    }  # fmt: skip


def test_override_through_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stream.tasks is 3 and has no key 'few'"):
        override({"stream": {"name": "split", "tasks": 3}}, "stream.tasks.few", 1)


def test_parts_are_made_from_import_paths_with_their_options() -> None:
    parts = build(changed("method.powers", [1, 2]))
    assert type(parts.method) is small_parts.Shrink
    assert (parts.method.strength, parts.method.powers) == (0.5, (1, 2))
    assert len(parts.stream[0].test) == 12
    assert parts.learner.backbone[0].out_features == 4
    assert (parts.seed, parts.training.epochs) == (3, 1)
    dotted = build(changed("method", "small_parts.Shrink"))
    assert type(dotted.method) is small_parts.Shrink


def test_datasets_are_made_one_or_several_for_the_arguments_that_take_them() -> None:
    points = {"name": "small_parts:points", "rows": 8}
    stream = build(small() | {"stream": {"name": "small_parts:halves", "dataset": points}}).stream
    assert [len(task.train) for task in stream] == [8]
    both = {"name": "small_parts:together", "datasets": [points, "small_parts:points"]}
    stream = build(small() | {"stream": both}).stream
    assert [len(task.train) for task in stream] == [8, 12]


def test_a_required_option_and_one_without_type() -> None:
    method = build(changed("method", {"name": "small_parts:Needy", "memory": 3})).method
    assert (method.memory, method.note) == (3, "any")


def test_the_seed_of_a_part_can_be_held() -> None:
    held = small()
    override(held, "stream.seed", 11)
    same = [build(held | {"seed": seed}).stream[0].train.x for seed in (0, 1)]
    free = [build(small() | {"seed": seed}).stream[0].train.x for seed in (0, 1)]
    assert same[0].equal(same[1])
    assert not free[0].equal(free[1])


def test_parts_beside_others_share_stream_and_learner() -> None:
    first = build(small())
    second = build(changed("method.strength", 2.0), beside=first)
    assert second.stream is first.stream
    assert second.learner is first.learner
    assert second.method.strength == 2.0


def test_the_resolved_config_runs_to_the_same_record() -> None:
    record = run_config(small())
    again = run_config(resolve(small()))
    other = run_config(small() | {"seed": 4})
    assert record.config == resolve(small())
    assert again.digest() == record.digest() != other.digest()


def test_a_run_folder_runs_again_and_resumes_from_its_config(tmp_path) -> None:
    record = run_config(small(), out=tmp_path / "a")
    config = read_config(tmp_path / "a" / "config.yaml")
    assert config == resolve(small())
    assert run_config(config, out=tmp_path / "b").digest() == record.digest()
    assert resume(tmp_path / "a").digest() == record.digest()
    with pytest.raises(FileNotFoundError, match=r"holds no run: there is no config.yaml"):
        resume(tmp_path / "c")


def test_reading_a_config_names_what_is_wrong_with_the_file(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no configuration at"):
        read_config(tmp_path / "none.yaml")
    for text, message in (("a: [", "is no YAML"), ("- 1", "must hold a mapping of keys, got list")):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_config(tmp_path / "bad.yaml")


def test_a_dataset_class_is_not_taken_for_an_option() -> None:
    with pytest.raises(ValueError, match="dataset must be a name or a mapping"):
        resolve(small() | {"stream": {"name": "small_parts:halves", "dataset": Dataset}})


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind, names in PARTS.items()
        if kind not in ("analysis", "encoder")  # encoders are parts of datasets
        for name in names
    ],
)
def test_every_short_name_is_there(kind: str, name: str) -> None:
    needed = {
        "partition": {"parts": [[0, 1], [2, 3]]},
        "chained": {"datasets": ["digits", "digits"]},
        "lora": {"backbone": "mlp"},
        "reset_groups": {"k": 2},
    }
    part: Any = {"name": name, **needed.get(name, {})}
    config: Config = {"stream": "split", "net": "mlp"}
    config["probes" if kind == "probe" else kind] = [part] if kind == "probe" else part
    resolved = resolve(config)
    assert resolve(resolved) == resolved
    if kind in ("method", "start", "probe"):
        made = make_part(kind, part)
        assert isinstance(made, {"method": Method, "start": Start, "probe": Probe}[kind])


def test_nets_within_nets() -> None:
    config: Config = {
        "stream": {"name": "split", "tasks": 2, "classes_per_task": 2},
        "net": {"name": "lora", "backbone": {"name": "mlp", "hidden": [8]}, "rank": 2},
        "training": {"epochs": 1},
    }
    resolved = resolve(config)
    assert resolved["net"]["backbone"]["name"] == "mlp"
    assert resolved["net"]["backbone"]["activation"] == "relu"
    assert resolve(resolved) == resolved
    learner = build(config).learner
    frozen = [n for n, p in learner.backbone.named_parameters() if not p.requires_grad]
    assert frozen
    assert not any("lora" in name for name in frozen)
    plain = build({**config, "net": config["net"]["backbone"]}).learner
    named = dict(learner.backbone.named_parameters())
    for name, p in plain.backbone.named_parameters():
        layer, _, own = name.rpartition(".")
        assert torch.equal(named[f"model.{layer}.base_layer.{own}"], p)
    override(config, "net.backbone.width", 4)
    assert resolve(config)["net"]["backbone"]["width"] == 4
    with pytest.raises(ValueError, match="net needs 'backbone': the net it is made of"):
        resolve({**config, "net": "lora"})
    with pytest.raises(ValueError, match="net 'mlp' has no key 'hiden'"):
        resolve({**config, "net": {"name": "lora", "backbone": {"name": "mlp", "hiden": []}}})
