"""How much memory a device has left, and what it says when there is too little."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch

from rosetta_ui.errors import DeviceMemoryError

_ASKED = re.compile(r"[Tt]ried to allocate ([\d.]+) ?(bytes|[KMGT]iB)")
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def free_bytes(device: torch.device | str) -> int:
    """Bytes that can still be had on a device.

    On a CPU it is what the system says is available, which counts its caches as free; there,
    running out is no error but the end of the process, so it must be asked before.
    """
    device = torch.device(device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + reserved
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return min(_system_bytes(), _group_bytes())


def _system_bytes() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return 4 << 30  # a system that does not say; small enough for any that runs torch


def _group_bytes() -> int:
    """What the container allows, where it is limited."""
    root = Path("/sys/fs/cgroup")
    limit, used = root / "memory.max", root / "memory.current"
    if limit.is_file() and used.is_file() and (text := limit.read_text("ascii").strip()) != "max":
        cache = _reclaimable(root / "memory.stat")
        return max(int(text) - int(used.read_text("ascii")) + cache, 0)
    return 1 << 62


def _reclaimable(stat: Path) -> int:
    if not stat.is_file():
        return 0
    values = dict(line.split() for line in stat.read_text("ascii").splitlines())
    return int(values.get("inactive_file", 0))


@contextmanager
def out_of_memory(device: torch.device | str, doing: str) -> Generator[None]:
    """Turn a device's refusal into one sentence with the bytes needed and free.

    Args:
        device: where the work is.
        doing: what was tried, such as "one image of dcgan-digiface".

    Raises:
        DeviceMemoryError: instead of torch's error, on a GPU or a CPU.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise _memory_error(device, doing, str(error)) from error
    except MemoryError as error:
        raise _memory_error(device, doing, str(error)) from error
    except RuntimeError as error:
        # The CPU's allocator has no exception of its own.
        if not any(words in str(error) for words in ("tried to allocate", "out of memory")):
            raise
        raise _memory_error(device, doing, str(error)) from error


def _memory_error(device: torch.device | str, doing: str, text: str) -> DeviceMemoryError:
    free = gibibytes(free_bytes(device))
    found = _ASKED.search(text)
    needed = gibibytes(int(float(found[1]) * _UNITS[found[2]])) if found else "more"
    return DeviceMemoryError(
        f"{doing[:1].upper()}{doing[1:]} needs {needed} of memory on {device}, {free} are free.",
        "Choose a smaller batch, fewer backbones, or another device.",
    )


def gibibytes(size: int) -> str:
    """Bytes for a person: "1.25 GiB (1,342,177,280 bytes)"."""
    return f"{size / (1 << 30):.2f} GiB ({size:,} bytes)"
