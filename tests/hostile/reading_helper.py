"""Reads files named on standard input, one after another, and says how each ended.

Run as a process of its own: a reader that hangs, crashes or eats memory takes only this down.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from rosetta_ui.errors import RosettaError
from rosetta_ui.models.checkpoints import read_generator


def main() -> None:
    for line in sys.stdin:
        try:
            read_generator(Path(line.rstrip("\n")))
            outcome = "read"
        except RosettaError as error:
            outcome = type(error).__name__
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sys.stdout.write(f"{outcome} {peak}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
