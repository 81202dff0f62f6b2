"""One torch thread, no deadlines, and where real data lies."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("untimed", deadline=None, max_examples=50)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real datasets; the test is skipped without it."""
    folder = os.environ.get("HOLDFAST_DATA")
    if not folder:
        pytest.skip("HOLDFAST_DATA is not set: no real datasets on this machine")
    if not Path(folder).is_dir():
        pytest.fail(f"HOLDFAST_DATA names {folder}, which is no folder")
    return Path(folder)
