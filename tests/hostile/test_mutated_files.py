"""Twenty thousand seeded mutations of whole files: read or refused, never anything else."""

from __future__ import annotations

import queue
import random
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.hostile.makers import CANARY

PROJECT = Path(__file__).resolve().parents[2]
MUTATIONS = 20_000
# A whole file takes about a millisecond; a hang is what this is there to catch.
SECONDS_EACH = 20
MOST_GROWTH_KIB = 512 << 10

# What a mutation splices in: look-ups that would run a command, counts, opcodes, and code that the
# standard reader would obey.
GRAFTS = (
    f"cos\nsystem\n(X\x11\x00\x00\x00touch {CANARY[:11]}tR".encode("latin1"),
    b"cbuiltins\neval\n(X\x03\x00\x00\x001+1tR",
    b"\x8c\x02os\x8c\x06system\x93",
    b"\xff\xff\xff\xff",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"(]}u",
    b"R",
    b"\x81",
    b"b",
    b"0",
    b".",
)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Flip, drop, double, graft or reorder parts of a file, one to four times."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out))
        match rng.randrange(6):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at] = rng.randrange(256)
            case 2:
                del out[at : at + rng.randint(1, 16)]
            case 3:
                out[at:at] = out[at : at + rng.randint(1, 64)]
            case 4:
                out[at:at] = rng.choice(GRAFTS)
            case _:
                other = rng.randrange(len(out))
                out[at : at + 8], out[other : other + 8] = out[other : other + 8], out[at : at + 8]
    return bytes(out) or b"\x80"


class Helper:
    """The reading process, with a clock on every answer."""

    def __init__(self, folder: Path) -> None:
        self._stderr = folder / "stderr"
        self._errors = self._stderr.open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.reading_helper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=folder,
            env={"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
            text=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def ask(self, path: Path) -> tuple[str, int]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        line = self._answers.get(timeout=SECONDS_EACH if path.name != "whole" else 120)
        assert line, f"the reader died: {self._stderr.read_text()[-2000:]}"
        outcome, peak = line.split()
        return outcome, int(peak)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()


@pytest.mark.slow
def test_mutated_files_are_read_or_refused_and_nothing_else(
    official: dict[str, bytes], tmp_path: Path
) -> None:
    rng = random.Random(20231002)
    helper = Helper(tmp_path)
    path = tmp_path / "whole"
    path.write_bytes(official["pkl-4"])
    outcome, first_peak = helper.ask(path)
    assert outcome == "read"
    seen: Counter[str] = Counter()
    kinds = sorted(official)
    peak = first_peak
    for i in range(MUTATIONS):
        path = tmp_path / "mutated"
        path.write_bytes(mutate(official[kinds[i % len(kinds)]], rng))
        outcome, peak = helper.ask(path)
        seen[outcome] += 1
    helper.close()
    assert {p.name for p in tmp_path.iterdir()} == {"whole", "mutated", "stderr"}
    assert (tmp_path / "stderr").read_text() == ""
    assert peak - first_peak < MOST_GROWTH_KIB
    # Both ends of the mill are fed: many mutations hit weights and leave a readable file.
    assert seen["read"] > 500
    assert seen["UnsafeFileError"] > 500
    assert seen["WeightsCorruptError"] > 500
    assert set(seen) <= {"read", "UnsafeFileError", "WeightsCorruptError", "BadRequestError"}
