"""What a machine can do at best: product speeds, names, and the memory that a process holds."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rosetta_ui.matching.products import multiply

_SIDE = 2048
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Peaks:
    """Fastest matrix products seen, in operations a second.

    Attributes:
        float32: of torch's own and of ours, whichever is faster.
        float64: of torch's own.
    """

    float32: float
    float64: float


def measure_peaks(repetitions: int = 5) -> Peaks:
    """Multiply square matrices of side 2048 and keep the best."""
    single = torch.randn(_SIDE, _SIDE)
    double = single.double()
    operations = 2 * _SIDE**3

    def best(product: Callable[[], object]) -> float:
        return operations / min(seconds(product) for _ in range(repetitions))

    return Peaks(
        max(best(lambda: single @ single.T), best(lambda: multiply(single, single))),
        best(lambda: double @ double.T),
    )


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def describe() -> dict[str, Any]:
    """Processor, threads and version of torch, for the record of a benchmark."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "system": platform.system(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def anonymous_bytes() -> int:
    """Memory of this process that no file backs (RssAnon).

    Raises:
        OSError: the system has no /proc, as outside Linux.
    """
    for line in _STATUS.read_text("ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no RssAnon")


@dataclass
class PeakMemory:
    """The most that `anonymous_bytes` was."""

    bytes: int = 0


@contextmanager
def watched_memory(every: float = 0.002) -> Generator[PeakMemory]:
    """Sample this process's memory for as long as the `with` lasts."""
    peak, ended = PeakMemory(anonymous_bytes()), threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            peak.bytes = max(peak.bytes, anonymous_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()
        peak.bytes = max(peak.bytes, anonymous_bytes())
