"""Settings that are unknown, of another type or out of range."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import holdfast
from holdfast.config import run_config
from holdfast.streams import Stream, split
from holdfast.training.run import run
from refusals import Refused, net, small


def test_an_unknown_key(refused: Refused) -> None:
    for config, near in (
        (small(metod="ewc"), "'method'"),
        (small(training__epoch=2), "'epochs'"),
        (small(method={"name": "ewc", "strenght": 1.0}), "'strength'"),
        (small(stream__dataset__perclass=2), "'per_class'"),
    ):
        with pytest.raises(ValueError, match=f"has no key .* .did you mean {near}.*it takes"):
            run_config(config)
    assert "unknown option --metod (did you mean '--method'?)" in refused(
        "run", "small.yaml", "--metod", "ewc"
    )
    assert "training has no key 'epoch' (did you mean 'epochs'?)" in refused(
        "run", "small.yaml", "--training.epoch", "2"
    )
    Path("small.yaml").write_text(yaml.safe_dump({**small(), "trainig": {}}))
    assert "config has no key 'trainig' (did you mean 'training'?)" in refused()


def test_a_wrong_type(refused: Refused, stream: Stream) -> None:
    for config, message in (
        (small(training__epochs="many"), "training.epochs must be an integer, got 'many'"),
        (small(training__lr=[0.1]), "training.lr must be a number, got"),
        (small(training__optimizer="sdg"), "must be one of 'sgd', .*did you mean 'sgd'"),
        (small(net__hidden=4), "net 'mlp'.hidden must be a list of integers, got 4"),
        (small(method=3), "method must be a name or a mapping with a name and options, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            run_config(config)
    with pytest.raises(TypeError, match="lr"):
        holdfast.Training(lr="0.1")
    for name, value in (("method", "ewc"), ("training", {"epochs": 1}), ("start", "fresh")):
        with pytest.raises(TypeError, match=name):
            run(stream, net(), **{name: value})
    message = refused("run", "small.yaml", "--training.epochs", "many")
    assert "training.epochs must be an integer, got 'many'" in message


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training__epochs", 0, "training.epochs must be a positive integer; got 0"),
        ("training__batch_size", -1, "training.batch_size must be a positive integer; got -1"),
        ("training__lr", 0.0, "training.lr must be a positive number; got 0.0"),
        ("net__hidden", [4, 0], r"hidden\[1\] must be positive, got 0"),
        ("stream__tasks", 0, "tasks must be a positive integer, got 0"),
        ("stream__dataset__per_class", 0, "per_class must be at least 1, got 0"),
        ("stream__validation", -0.1, r"validation must be a fraction in \[0, 1\), got -0.1"),
        ("method", {"name": "replay", "memory": 0}, "memory must be a positive integer, got 0"),
        ("method", {"name": "ewc", "strength": -1.0}, "strength must be a number of at least 0"),
    ],
)
def test_a_size_of_nothing_or_less(untrained: None, key: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_config(small(**{key: value}))


def test_a_size_of_nothing_or_less_on_the_command_line(refused: Refused) -> None:
    message = refused("run", "small.yaml", "--training.batch_size", "0")
    assert "training.batch_size must be a positive integer; got 0" in message
    message = refused("run", "small.yaml", "--net.hidden", "[-1]")
    assert "hidden[0] must be positive, got -1" in message


def test_more_tasks_than_classes(refused: Refused) -> None:
    message = "tasks=11 is more than the 10 classes of 'digits'"
    with pytest.raises(ValueError, match=message):
        split(holdfast.digits(), tasks=11)
    assert message in refused("run", "small.yaml", "--stream.tasks", "11")


@pytest.mark.parametrize("order", [[0, 0], [0], [0, 2], [0, 1, 2], [-1, 0]])
def test_an_order_that_is_no_permutation(refused: Refused, stream: Stream, order: Any) -> None:
    with pytest.raises(ValueError, match=r"order must be a permutation of 0\.\.1, got"):
        stream.reordered(order)
    message = refused("run", "small.yaml", "--order", str(order))
    assert "order must be a permutation of 0..1, got" in message
