import math

import pytest
import torch

from holdfast.studies.theory import Prediction
from holdfast.theory import gaussian_tasks, problem

PLAIN = {"gamma0": [0.5, 0.1], "units": "absolute", "gaussian": {"features": 20}, "samples": 4}


def asked(**more):
    return Prediction.from_config({**PLAIN, **more})


def test_a_gaussian_problem_is_that_of_its_options():
    given = asked(
        gaussian={"features": 20, "similarity": 0.3, "levels": [0, 1]}, depth=2, phi="tanh",
        readout_std=0, heads="per_task", steps=7, lr=0.2, momentum=0.5, weight_decay=0.01,
        batch_size=2, seed=3,
    )  # fmt: skip
    found = given.problem(0.5)
    wanted = problem(
        *gaussian_tasks(4, 20, 0.3, levels=(0.0, 1.0), seed=3), 7, lr=0.2, gamma0=0.5, depth=2,
        phi="tanh", readout_std=0.0, heads="per_task", momentum=0.5, weight_decay=0.01,
        batch_size=2, seed=3,
    )  # fmt: skip
    for name in ("kernel", "targets", "head"):
        assert torch.equal(getattr(found, name), getattr(wanted, name)), name
    assert torch.equal(found.schedule.weights, wanted.schedule.weights)
    kept = ("gamma0", "depth", "readout_std", "loss")
    assert [getattr(found, k) for k in kept] == [getattr(wanted, k) for k in kept]
    assert (found.schedule.momentum, found.schedule.weight_decay) == (0.5, 0.01)


def test_gamma0_is_in_the_units_that_are_named():
    assert asked().problem(0.5).gamma0 == 0.5
    assert asked(units="base_64").problem(0.8).gamma0 == pytest.approx(0.1)
    both = asked(units="base_64").problems()
    assert list(both) == [0.1, 0.5]
    assert both[0.5].gamma0 == pytest.approx(0.5 / 8)
    assert both[0.1].kernel is both[0.5].kernel


@pytest.mark.parametrize(
    ("scenario", "heads", "count"),
    [("task_incremental", "auto", 2), ("domain_incremental", "auto", 1),
     ("task_incremental", "single", 1), ("domain_incremental", "per_task", 2)],
)  # fmt: skip
def test_heads_are_those_of_the_scenario_unless_named(scenario, heads, count):
    stream = {"name": "permuted", "tasks": 2, "scenario": scenario}
    given = Prediction.from_config(
        {"gamma0": [1.0], "units": "absolute", "stream": stream, "heads": heads, "samples": 10}
    )
    assert given.problem(1.0).heads == count


def test_similarity_and_seed_of_the_data_can_be_varied():
    stream = {"name": "permuted", "tasks": 2, "similarity": 0.5}
    given = Prediction.from_config(
        {"gamma0": [1.0], "units": "absolute", "stream": stream, "samples": 10, "phase": {}}
    )
    same = given.problem(1.0, similarity=1.0)
    assert torch.allclose(same.kernel[:10, :10], same.kernel[:10, 10:])
    assert not torch.equal(given.problem(1.0, 1.0, 1).kernel, same.kernel)
    assert torch.equal(given.problem(1.0, 0.5, 0).kernel, given.problem(1.0).kernel)


def test_another_precision_can_be_asked_for():
    assert asked(precision="float32").problem(0.1).kernel.dtype == torch.float32


def test_it_comes_back_from_its_configuration():
    given = asked(
        compare={"widths": [8, 4], "seeds": [1, 2]}, phase={"similarity": [0.5, 0.1]},
        solver={"name": "particles", "samples": 512},
    )  # fmt: skip
    again = Prediction.from_config(given.to_config())
    assert again == given
    assert again.compared.widths == (4, 8)
    assert (again.compared.drawn, again.phased.drawn) == ((1, 2), (0,))
    assert again.phased.similarity == (0.1, 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gama0": 1}, r"theory has no key 'gama0' \(did you mean 'gamma0'\?\)"),
        ({"units": None}, "theory needs 'units'"),
        ({"units": "base64"}, r"theory.units must be one of 'absolute', 'base_64'.*mean 'base_64'"),
        ({"gamma0": []}, r"gamma0 must be a list of numbers, got \[\]"),
        ({"gamma0": [-1.0]}, "gamma0 must hold positive finite numbers, got -1.0"),
        ({"gamma0": [math.nan]}, "theory.gamma0 must be finite"),
        ({"gamma0": [1.0, 1.0]}, "gamma0 holds 1.0 twice"),
        ({"stream": "permuted"}, "give either stream or gaussian"),
        ({"gaussian": None}, "give either stream or gaussian"),
        ({"solver": "exact"}, "solver must be 'auto' or one of closure, .* got 'exact'"),
        ({"solver": {"samples": 9}}, "solver must be 'auto' or one of"),
        ({"name": " "}, "name must be a text"),
        ({"compare": {"widths": []}}, "widths must be positive integers"),
        ({"compare": {"seeds": 0}}, "seeds must be a positive number"),
        ({"compare": {"width": [3]}}, "compare has no key 'width'"),
        ({"compare": {"gamma0": [0.2]}}, r"compare.gamma0 holds \[0.2\], which gamma0 does not"),
        ({"phase": {"similarity": [2.0]}}, r"phase.similarity must hold values in \[0, 1\]"),
        ({"phase": {"similarity": []}}, "phase.similarity needs values, each once"),
        ({"phase": {"solver": "exact"}}, "solver must be 'auto' or one of"),
        ({"phase": {"gamma0": [0]}}, "phase.gamma0 must hold positive finite numbers"),
        ({"phase": {}, "gaussian": None, "stream": "split"}, "phase varies the similarity of ta"),
        ({"depth": "two"}, "theory.depth must be an integer"),
    ],
)
def test_what_cannot_be_asked_is_refused_when_made(change, message):
    with pytest.raises(ValueError, match=message):
        asked(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phi": "cosine"}, "activation must be one of"),
        ({"gaussian": {"feature": 3}}, "gaussian has no key 'feature'"),
        ({"gaussian": {"points": 3}}, "gaussian has no key 'points'"),
        ({"gaussian": None, "stream": "premuted"}, "stream 'premuted' is unknown"),
        ({"steps": 0}, "steps must be positive integers"),
    ],
)
def test_what_makes_no_problem_is_refused_with_it(change, message):
    with pytest.raises(ValueError, match=message):
        asked(**change).problems()


def test_a_folder_without_one_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no prediction"):
        Prediction.read(tmp_path)
