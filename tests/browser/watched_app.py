"""`python watched_app.py NOTE [FLAGS]`: the app, which also notes in a file whether it inverts.

Beside it, in NOTE.json, stands what it holds for open pages of the Edit tab.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from app import main  # noqa: E402 - found through the line above
from rosetta_ui.engine import desk  # noqa: E402
from rosetta_ui.engine.engine import Engine  # noqa: E402


def inverting(engine: Engine) -> bool:
    """Whether an inversion has the device or waits for it."""
    jobs = list(engine._bench.handles)  # pyright: ignore[reportPrivateUsage]
    return any(re.fullmatch(r"inversion-\d+", job) for job in jobs)


def editing(engine: Engine) -> dict[str, int]:
    """Open pages, and edits that have the device or wait for it."""
    jobs = list(engine._bench.handles)  # pyright: ignore[reportPrivateUsage]
    edits = sum(re.fullmatch(r"edit-\d+", job) is not None for job in jobs)
    return {"pages": engine.editing.desk.open_pages, "edits": edits}


def write(path: Path, text: str) -> None:
    """Write a file that is read meanwhile: whoever reads sees the old text or the new one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)  # noqa: PTH105 - Path.replace is the same call


if __name__ == "__main__":
    note = Path(sys.argv[1])
    desk.SILENT_SECONDS = 60.0  # a goodbye may be lost: five minutes are long for a test
    _, engine = main(sys.argv[2:])
    while True:
        write(note, "inverting" if inverting(engine) else "idle")
        write(note.with_suffix(".json"), json.dumps(editing(engine)))
        time.sleep(0.05)
