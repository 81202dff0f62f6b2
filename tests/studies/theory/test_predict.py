import json
import shutil

import pytest
import torch

from holdfast.studies.theory import Prediction, places, predict, read_predicted
from holdfast.theory import at_width, phase_diagram, solve

CONFIG = {
    "gamma0": [0.3, 1.0],
    "units": "absolute",
    "gaussian": {"features": 30, "similarity": 0.5},
    "samples": 4,
    "steps": 10,
    "lr": 0.5,
    "phi": "linear",
    "compare": {"widths": [8, 32], "seeds": 3},
    "phase": {"similarity": [0.0, 1.0], "gamma0": [0.5], "seeds": 2},
}


@pytest.fixture
def asked():
    return Prediction.from_config(CONFIG)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a prediction that has been answered; not to be written to."""
    folder = tmp_path_factory.mktemp("answered")
    predict(Prediction.from_config(CONFIG), folder)
    return folder


def test_answers_are_those_of_the_theory_and_of_networks(asked, folder):
    found = read_predicted(folder)
    solution = solve(asked.problem(1.0))
    assert torch.equal(found.solutions[1.0].outputs, solution.outputs)
    assert found.forgetting()[1.0] == pytest.approx(float(solution.forgetting[0]))
    wide = at_width(solution, 32, 3)
    assert torch.equal(found.finite[1.0][1].losses, wide.losses)
    forgot = found.trained_forgetting()[1.0][32]
    assert forgot == pytest.approx((wide.losses[:, -1] - wide.losses[:, 10])[:, 0].numpy())
    wanted = phase_diagram(lambda s, seed: asked.problem(1.0, s, seed), [0.5], [0.0, 1.0], 2)
    assert torch.equal(found.phase.losses, wanted.losses)
    assert found.phase.text() == wanted.text()
    assert found.stable


def test_it_is_read_without_the_data(folder, monkeypatch):
    monkeypatch.setattr(Prediction, "problem", None)
    found = read_predicted(folder)
    assert found.to_dict() == json.loads((folder / "theory.json").read_text())


def test_what_is_there_is_not_done_again_and_more_values_are_done_alone(asked, folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)

    def done(given):
        told = []
        predict(given, tmp_path, told.append)
        assert (told[0].event, told[-1].event) == ("begin", "end")
        return [event.cell for event in told if event.event == "complete"]

    assert done(asked) == []
    more = {**CONFIG, "gamma0": [0.3, 0.6, 1.0], "compare": {"widths": [8, 16, 32], "seeds": 3}}
    assert done(Prediction.from_config(more)) == [
        "gamma0 0.6, theory",
        "gamma0 0.3, networks of width 16",
        "gamma0 0.6, networks of width 8",
        "gamma0 0.6, networks of width 16",
        "gamma0 0.6, networks of width 32",
        "gamma0 1, networks of width 16",
    ]
    other = {**CONFIG, "lr": 0.4, "compare": None, "phase": None}
    assert len(done(Prediction.from_config(other))) == 2
    base = {**CONFIG, "units": "base_64", "gamma0": [2.4, 8.0],
            "phase": {**CONFIG["phase"], "gamma0": [4.0]}}  # fmt: skip
    assert len(done(Prediction.from_config(base))) == 0


def test_killed_it_goes_on_where_it_stopped(asked, folder, tmp_path):
    def kill(event):
        if event.event == "running" and event.ended == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(asked, tmp_path, kill)
    with pytest.raises(FileNotFoundError, match="has no answers yet; go on with it by `holdfast r"):
        read_predicted(tmp_path)
    told = []
    found = predict(asked, tmp_path, told.append)
    assert told[0].ended == 5
    assert found.text() == read_predicted(folder).text()


def test_text_has_a_row_a_gamma0_and_tells_of_networks_and_the_diagram(folder):
    lines = read_predicted(folder).text().splitlines()
    assert lines[0] == (
        "gamma0 in absolute units; solver closure: two layers and linear, so second moments say all"
    )
    assert lines[1].split()[:3] == ["gamma0", "base", "64"]
    assert [line.split()[:2] for line in lines[2:4]] == [["0.3", "2.4"], ["1", "8"]]
    assert sum("gap of losses ~ N^" in line for line in lines) == 2
    assert "forgetting over absolute gamma0:" in lines


def test_networks_may_be_asked_for_at_some_gamma0_or_not_at_all(tmp_path):
    some = {**CONFIG, "compare": {"widths": [8], "seeds": 2, "gamma0": [1.0]}, "phase": None}
    found = predict(Prediction.from_config(some), tmp_path / "some")
    assert list(found.comparisons) == [1.0]
    assert found.phase is None
    assert found.text().splitlines()[2].endswith("-")
    none = predict(Prediction.from_config({**some, "compare": None}), tmp_path / "none")
    assert none.comparisons == {}


def test_the_diagram_may_have_a_solver_of_its_own(tmp_path):
    phase = {**CONFIG["phase"], "solver": {"name": "particles", "samples": 512}}
    config = {**CONFIG, "phi": "relu", "solver": "lazy", "compare": None, "phase": phase}
    found = predict(Prediction.from_config(config), tmp_path)
    assert found.solutions[1.0].loss_error is None
    assert float(found.phase.loss_error.min()) > 0


def test_what_diverges_is_known(tmp_path):
    config = {**CONFIG, "lr": 50.0, "phase": None, "compare": {"widths": [8], "seeds": 3}}
    with pytest.warns(UserWarning, match="lr"):
        found = predict(Prediction.from_config(config), tmp_path)
    assert not found.stable
    assert read_predicted(tmp_path).to_dict()["networks"][0]["diverged"] == 3


def test_folders_of_something_else_are_refused_before_any_work(asked, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "record.json").touch()
    (tmp_path / "b").touch()
    with pytest.raises(ValueError, match="holds a run; give the prediction its own folder"):
        predict(asked, tmp_path / "a")
    with pytest.raises(ValueError, match="out must be a folder"):
        predict(asked, tmp_path / "b")
    other = Prediction.from_config({**CONFIG, "name": "other", "compare": None, "phase": None})
    predict(other, tmp_path / "c")
    with pytest.raises(ValueError, match="holds the prediction 'other', this one is 'theory'"):
        predict(asked, tmp_path / "c")


def test_a_damaged_answer_is_named(asked, folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = places.solution_path(asked, tmp_path, 1.0)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=path.name):
        read_predicted(tmp_path)
