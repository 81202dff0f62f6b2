"""What the tests of runs share."""

import os
from importlib import import_module

import pytest

run_module = import_module("holdfast.training.run")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes time: git is asked in a process of its own, disks are waited for."""
    monkeypatch.setattr(run_module, "environment", lambda device: {"python": "test"})
    monkeypatch.setattr(os, "fsync", lambda handle: None)
