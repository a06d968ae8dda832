"""`python watched_app.py NOTE [FLAGS]`: the app, which also notes in a file whether it inverts."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from app import main  # noqa: E402 - found through the line above
from rosetta_ui.engine.engine import Engine  # noqa: E402


def inverting(engine: Engine) -> bool:
    """Whether an inversion has the device or waits for it."""
    jobs = list(engine._bench.handles)  # pyright: ignore[reportPrivateUsage]
    return any(re.fullmatch(r"inversion-\d+", job) for job in jobs)


if __name__ == "__main__":
    note = Path(sys.argv[1])
    _, engine = main(sys.argv[2:])
    while True:
        fresh = note.with_suffix(".new")
        fresh.write_text("inverting" if inverting(engine) else "idle")
        os.replace(fresh, note)  # noqa: PTH105 - whoever reads sees the old word or the new one
        time.sleep(0.05)
