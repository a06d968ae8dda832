"""The one door to the device: where a Space lends a GPU, it lends it to this function.

On ZeroGPU the function runs in a forked process: arguments and results cross as plain values, so
ids, numbers and numpy arrays only; caches in memory die with it, those on disk stay. Anywhere else
it is an ordinary generator function in this process.
"""

from __future__ import annotations

import importlib
import importlib.util
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rosetta_ui.engine.jobs import Cancel, JobHandle
from rosetta_ui.engine.workbench import Workbench

Values = Mapping[str, Any]
"""Plain values and numpy arrays."""

TASKS = {
    "match": "rosetta_ui.engine.matching_job:run",
    "maps": "rosetta_ui.engine.looking:run",
    "logits": "rosetta_ui.engine.classifying:run",
    "express": "rosetta_ui.engine.expressing_work:run",
    "edit": "rosetta_ui.engine.editing_work:run",
    "edit-numbers": "rosetta_ui.engine.editing_numbers:run",
    "edit-frontier": "rosetta_ui.engine.editing_frontier:run",
    "edit-film": "rosetta_ui.engine.editing_films:run",
    "invert": "rosetta_ui.engine.inverting_work:run",
    "invert-numbers": "rosetta_ui.engine.inverting_work:run_numbers",
}
"""Name → "module:function" of every task; imported on first use, because they import torch."""

SECONDS = {"match": 300, "maps": 30, "logits": 60, "express": 120, "edit": 120, "invert": 120}
"""How long a Space lends its GPU for one call of each, 300 s where nothing is said; a match goes on
in the next call."""

_benches: dict[str, Workbench] = {}


def register(bench: Workbench) -> str:
    """Let tasks find a bench by its token, also in a forked process."""
    token = str(bench.settings.cache_dir)
    _benches[token] = bench
    return token


def unregister(token: str) -> None:
    """Forget a bench."""
    _benches.pop(token, None)


def _seconds(task: str, _token: str, _values: Values) -> int:
    return SECONDS.get(task, 300)


def _gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """`spaces.GPU` where there is such a package, else the function as it is."""
    if importlib.util.find_spec("spaces") is None:
        return function
    return importlib.import_module("spaces").GPU(duration=_seconds)(function)


@_gpu
def dispatch(task: str, token: str, values: Values) -> Iterator[Values]:
    """Do one task on the device.

    Args:
        task: one of `TASKS`.
        token: of the bench, from `register`.
        values: what the task takes.

    Yields:
        Whatever the task yields; the last is its result.
    """
    module, _, name = TASKS[task].partition(":")
    yield from getattr(importlib.import_module(module), name)(_benches[token], values)


def held(
    bench: Workbench, token: str, task: str, values: Values, cancel: Cancel | None = None
) -> Iterator[Any]:
    """Do a task of no page while the device is held.

    Args:
        bench: has the device's lock.
        token: of the bench.
        task: one of `TASKS`.
        values: what it takes, but its job.
        cancel: set it to stop; `Cancelled` is raised inside the forward pass.
    """
    handle = JobHandle(f"{task}-{secrets.token_hex(6)}", task, "steps")
    if cancel is not None:
        handle.cancel = cancel
    job = handle.status.job
    bench.handles[job] = handle
    try:
        with bench.lock.hold():
            yield from dispatch(task, token, {**values, "job": job})
    finally:
        bench.handles.pop(job, None)
