"""Whatever is wrong is said before any training, by name and with the remedy; nothing is lost.

Each trouble is met through the functions, and through the command where a person meets it there:
exit code 2 and one line.
"""

from pathlib import Path

import pytest
import yaml

from holdfast.cli import main
from holdfast.config import build, run_config
from holdfast.records import Record
from holdfast.streams import Stream
from holdfast.training.loop import Loop
from refusals import Refused, content, small


@pytest.fixture(scope="session")
def stream() -> Stream:
    return build(small()).stream


@pytest.fixture(scope="session")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, to be copied."""
    folder = tmp_path_factory.mktemp("complete") / "run"
    run_config(small(), out=folder)
    return folder


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any training fails the test."""

    def train(loop: Loop) -> Record:
        pytest.fail("training has started")

    monkeypatch.setattr(Loop, "run", train)


@pytest.fixture
def refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    untrained: None,
) -> Refused:
    """Calls the command in a folder with ``small.yaml``: the one line that it says."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump(small()))

    def call(*words: str) -> str:
        before = content(tmp_path)
        capsys.readouterr()
        code = main(words or ("run", "small.yaml"))
        out, err = capsys.readouterr()
        assert (code, out) == (2, ""), err
        assert err.startswith("holdfast: error: ")
        assert err.count("\n") == 1
        assert content(tmp_path) == before
        return err

    return call
