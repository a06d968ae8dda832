"""Large blocks are used again once the allocator has been told to keep them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rosetta_ui.models import allocator

_COUNT_FAULTS = """
import resource, sys, threading
import numpy as np
from rosetta_ui.models.allocator import give_back_freed_blocks, keep_freed_blocks

kept = keep_freed_blocks() if sys.argv[1] == "keep" else False

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        np.ones(100 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def work():
    faults()
    again = faults()
    full = resident()
    give_back_freed_blocks()
    print(kept, again, full - resident())

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def _run(mode: str) -> tuple[str, int, int]:
    command = [sys.executable, "-c", _COUNT_FAULTS, mode]
    kept, faults, returned = subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.split()
    return kept, int(faults), int(returned)


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's")
def test_a_worker_thread_s_large_arrays_cost_no_page_faults_the_second_time() -> None:
    _, fresh, _ = _run("default")
    kept, again, returned = _run("keep")
    assert kept == "True"
    assert fresh > 100
    assert again < fresh / 10
    # And what was kept goes back when asked.
    assert returned > 90 << 20


def test_nothing_is_done_where_the_c_library_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocator.keep_freed_blocks() is False
    allocator.give_back_freed_blocks()
