from pathlib import Path
from typing import Any

import pytest
import yaml
from study_cases import Counting
from tuning_cases import CONFIG, GRID, tuning

from holdfast.config import read_config, resolve, run_config
from holdfast.studies import Progress, tune_richness
from holdfast.studies.tuning import Tuned, Tuning, read_tuned, tune


def found(of: Tuned) -> dict[str, Any]:
    """What was found, without the times."""
    kept = of.to_dict()
    del kept["cost"]
    kept["text"] = [line for line in kept["text"] if not line.startswith("CPU")]
    return kept


def test_a_tuning_leaves_its_studies_and_a_configuration_to_run(tmp_path) -> None:
    events: list[Progress] = []
    of = tune_richness(
        CONFIG, 4, 8, gamma0=GRID, seeds=[1], neighbours=0,
        out=tmp_path, executor=Counting(), listener=events.append,
    )  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {
        "narrow", "target", "tuned.json", "tuned.yaml", "tuning.yaml",
    }  # fmt: skip
    chosen = read_config(tmp_path / "tuned.yaml")
    assert chosen == resolve(chosen)
    assert chosen["net"]["width"] == 8
    assert chosen["richness"]["gamma0"] == of.gamma0
    assert chosen["richness"]["readout_bias"] is False
    assert of.wide is not None
    again = run_config({**chosen, "seed": 1})
    assert again.metrics()["ae"] == of.wide.mean(f"gamma0 {of.gamma0}", "ae").mean
    cells = [event.cell for event in events if event.event in ("begin", "complete")]
    assert cells[:2] == ["width 4", "width 4, gamma0 0.1"]
    assert "width 8" in cells
    assert cells[-1].startswith("width 8, standard, lr 0.")
    assert str(read_tuned(tmp_path)) == str(of)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a tuning finds that was not interrupted."""
    return found(tune(small(), tmp_path_factory.mktemp("whole"), Counting()))


def small(**changes: Any) -> Tuning:
    return tuning(**{"seeds": 1, "gamma0": [0.1, 0.3, 1.0], "neighbours": 0, **changes})


@pytest.mark.parametrize("until", [1, 4])
def test_an_interrupted_tuning_goes_on_to_the_same_result(tmp_path, whole, until: int) -> None:
    class Stops(Counting):
        """Is interrupted after some runs of both studies together."""

        left = until

        def run(self, jobs):
            self.until = min(self.left, len(jobs) + 1)
            self.left -= len(jobs)
            return super().run(jobs)

    with pytest.raises(KeyboardInterrupt):
        tune(small(), tmp_path, Stops())
    with pytest.raises(FileNotFoundError, match="has found nothing yet; go on with it by"):
        read_tuned(tmp_path)
    assert found(tune(small(), tmp_path, Counting())) == whole
    assert found(read_tuned(tmp_path)) == whole


def test_verifying_later_runs_the_rest_of_the_grid_alone(tmp_path) -> None:
    grid = {"gamma0": [0.1, 0.3, 0.6, 1.0]}
    first = tune(small(**grid), tmp_path, Counting())
    assert first.wide is not None
    more = Counting()
    whole = tune(small(**grid, verify=True), tmp_path, more)
    ran = {cell for cell in first.wide.cells if cell.startswith("gamma0")}
    assert {job.config["richness"]["gamma0"] for job in more.jobs} == {
        value for value in grid["gamma0"] if f"gamma0 {value}" not in ran
    }
    assert whole.wide_optimum is not None


def test_where_every_run_diverges_the_target_is_left_alone(tmp_path) -> None:
    of = tune(small(gamma0=[1e30, 1e31, 1e32]), tmp_path, Counting())
    assert of.config is None
    assert not (tmp_path / "target").exists()
    assert not (tmp_path / "tuned.yaml").exists()
    assert str(read_tuned(tmp_path)) == str(of)


def test_a_wrong_tuning_leaves_no_folder(tmp_path) -> None:
    net = {"name": "mlp", "norm": "batch"}
    with pytest.raises(ValueError, match="BatchNorm"):
        tune(tuning(config={**CONFIG, "net": net}), tmp_path / "out", Counting())
    assert not (tmp_path / "out").exists()


def test_folders_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"out must be a folder, .* is a file"):
        tune(tuning(), tmp_path / "file")
    of = tuning(seeds=1)
    for name, what in (("record.json", "run"), ("study.yaml", "study")):
        folder = tmp_path / what
        folder.mkdir()
        (folder / name).touch()
        with pytest.raises(ValueError, match=f"holds a {what}; give the tuning a folder"):
            tune(of, folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "tuning.yaml").write_text(yaml.safe_dump(of.to_config()))
    with pytest.raises(ValueError, match="holds another tuning, which differs in target_width"):
        tune(tuning(target_width=16), other)
    with pytest.raises(FileNotFoundError, match="holds no tuning"):
        read_tuned(tmp_path / "study")
