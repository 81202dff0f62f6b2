import json
import subprocess

import numpy as np
import pytest
import torch

from holdfast.records import environment


def test_versions_and_machine_are_named():
    found = environment(torch.device("cpu"))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["torch"] == torch.__version__
    assert found["numpy"] == np.__version__
    assert found["python"].count(".") == 2
    assert found["cpu"]
    assert found["gpu"] is None
    assert found["holdfast"]


def test_the_commit_of_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A repository further up must not be found.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment()["git"] is None

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    try:
        git("init")
    except FileNotFoundError:
        pytest.skip("no git on this machine")
    (tmp_path / "file").write_text("a")
    git("add", "file")
    git("commit", "-m", "first")
    assert environment()["git"] == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "file").write_text("b")
    assert environment()["git"]["dirty"] is True


def test_no_git_at_all(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment()["git"] is None


def test_git_that_hangs(monkeypatch):
    def hang(*arguments, **options):
        raise subprocess.TimeoutExpired("git", 5)

    monkeypatch.setattr(subprocess, "run", hang)
    assert environment()["git"] is None
