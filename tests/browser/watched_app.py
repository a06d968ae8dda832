"""`python watched_app.py NOTE [FLAGS]`: the app, which also notes in a file whether it inverts."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from app import main  # noqa: E402 - found through the line above


def inverting() -> bool:
    """Whether an inversion runs: each has a thread of its own."""
    return any(re.fullmatch(r"inversion-\d+", thread.name) for thread in threading.enumerate())


if __name__ == "__main__":
    note = Path(sys.argv[1])
    main(sys.argv[2:])
    while True:
        fresh = note.with_suffix(".new")
        fresh.write_text("inverting" if inverting() else "idle")
        os.replace(fresh, note)  # noqa: PTH105 - whoever reads sees the old word or the new one
        time.sleep(0.05)
