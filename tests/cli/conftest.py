"""The command, as a person types it and as a program reads it."""

from pathlib import Path

import pytest

from holdfast.cli import main
from small_commands import CONFIG, STUDY, Said


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a run's configuration and a study's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(CONFIG)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs ``one`` and ``two`` and the study ``study``; to be read alone."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "small.yaml").write_text(CONFIG)
    (folder / "study.yaml").write_text(STUDY)
    run = ["run", str(folder / "small.yaml"), "--json", "--out"]
    assert main([*run, str(folder / "one")]) == 0
    assert main([*run, str(folder / "two"), "--method", "replay"]) == 0
    study = ["study", str(folder / "study.yaml"), "--json", "--out", str(folder / "study")]
    assert main(study) == 0
    return folder


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Calls the command: the exit code, what it printed, and what it printed to stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(words)
        return (code, *capsys.readouterr())

    return call
