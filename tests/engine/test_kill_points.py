"""kill -9 at any moment of a match, start again: the same numbers to the last bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = 12


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")
def test_killed_matches_end_with_identical_numbers(tmp_path: Path) -> None:
    script = Path(__file__).with_name("killing.py")
    project = script.parent.parent.parent
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(ROUNDS)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert sum(round_["kills"] for round_ in report["rounds"]) >= 10
    for number, round_ in enumerate(report["rounds"]):
        assert round_["files"] == report["reference"]["files"], f"round {number}"
        assert round_["work"] == []
