"""Kills matches at random moments and starts them again; prints what was left, as JSON.

Run by test_kill_points.py in a process of its own, which imports torch once and forks a child for
each attempt: importing anew for each would take minutes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from rosetta_ui.engine import dispatch, flow, looking, matching_job
from rosetta_ui.engine.jobs import JobHandle
from rosetta_ui.engine.requests import checked
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.models.registry import Registry
from rosetta_ui.models.tiny import tiny_cards
from rosetta_ui.settings import Settings
from rosetta_ui.types import MatchRequest

REQUEST = MatchRequest(
    generator="tiny-gan",
    backbones=("tiny-net-a", "tiny-net-b", "tiny-tokens"),
    n_images=64,
    batch_size=3,
    score="published",
)
LOADED = (looking, matching_job)  # so that no child imports them


def attempt(cache: Path) -> None:
    """Run the match to its end, in this process."""
    registry = Registry()
    for card, loader in tiny_cards():
        registry.add(card, loader)
    bench = Workbench.open(Settings(cache_dir=cache, device="cpu"), registry)
    token = dispatch.register(bench)
    flow.match(
        bench, token, checked(REQUEST, registry), JobHandle("job", "match", "images"), every=3
    )
    bench.close()


def child(cache: Path) -> int:
    """Start an attempt in a child process."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        attempt(cache)
        code = 0
    finally:
        os._exit(code)


def left(cache: Path) -> dict[str, object]:
    """Digests of the one result, and what lies about beside it."""
    (record,) = (cache / "results").glob("*/result.json")
    return {
        "files": json.loads(record.read_text("utf-8"))["files"],
        "work": sorted(p.name for p in (cache / "work").iterdir() if p.suffix != ".lock"),
    }


def main(root: Path, rounds: int) -> None:
    torch.set_num_threads(1)
    os.waitpid(child(root / "whole"), 0)  # the first run in a process takes longer
    begun = time.monotonic()
    os.waitpid(child(root / "reference"), 0)
    seconds = time.monotonic() - begun
    report = {"reference": left(root / "reference"), "rounds": []}
    chance = random.Random(0)
    for number in range(rounds):
        cache, kills = root / f"round{number}", 0
        # The first kill of each round falls into its own part of the run, so that all are met.
        wait = seconds * (number + chance.random()) / rounds
        while True:
            pid = child(cache)
            time.sleep(wait)
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if os.WIFEXITED(status):
                if os.WEXITSTATUS(status):
                    raise SystemExit("an attempt broke")
                break
            kills += 1
            wait = seconds * chance.uniform(0.1, 0.6) if kills < 2 else 60
            if wait == 60:
                os.waitpid(child(cache), 0)
                break
        report["rounds"].append({"kills": kills, **left(cache)})
    sys.stdout.write(json.dumps(report))


main(Path(sys.argv[1]), int(sys.argv[2]))
