"""A run that is killed (SIGKILL, a real process) resumes to the identical record."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked")
def test_killed_at_random_moments(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "killed.py"), str(tmp_path), "20"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["kills"]) == 20
    for kill in found["kills"]:
        assert kill["code"] == 0
        assert kill["digest"] == found["digest"]
        assert kill["same_events"]
    # They did die, and in different places.
    assert sum(kill["killed"] for kill in found["kills"]) >= 10
    assert len({kill["events"] for kill in found["kills"]}) >= 5
