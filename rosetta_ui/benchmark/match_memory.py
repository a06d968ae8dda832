"""Peak memory of one side of a comparison, measured in a process of its own.

`python -m rosetta_ui.benchmark.match_memory …` is what `peak_of` starts; it prints one JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch

from rosetta_ui.benchmark.baseline_published import published_match
from rosetta_ui.benchmark.machine import watched_memory
from rosetta_ui.benchmark.match_cases import Networks, case_called
from rosetta_ui.matching.passes import CorrelationPass
from rosetta_ui.types import LayerSpec

_GROWTH_ROWS = tuple(LayerSpec("a", f"{s}", 256, (s, s)) for s in (8, 16, 32, 64))
_GROWTH_COLS = tuple(
    LayerSpec("b", f"{s}", c, (s, s)) for s, c in ((28, 256), (14, 512), (7, 1024))
)


@dataclass(frozen=True)
class Peak:
    """What a process of its own took.

    Attributes:
        bytes: most anonymous memory (RssAnon), libraries and weights included.
        seconds: of the measured part.
    """

    bytes: int
    seconds: float


def peak_of(*arguments: str) -> Peak:
    """Run one side in a process of its own.

    Args:
        arguments: of `main`.

    Raises:
        RuntimeError: the process failed; its last words are in the message.
    """
    command = [sys.executable, "-m", "rosetta_ui.benchmark.match_memory", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-500:]}"
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Peak(int(found["bytes"]), float(found["seconds"]))


def main(arguments: list[str]) -> None:
    """Measure and print.

    Args:
        arguments: `ours|ours_with_null|plain`, the case, `quick|full`; or `growth`, the images.
    """
    with watched_memory() as peak, torch.no_grad():
        grows = arguments[0] == "growth"
        spent = _grow(int(arguments[1])) if grows else _run_side(*arguments)
    sys.stdout.write(json.dumps({"bytes": peak.bytes, "seconds": spent}) + "\n")


def _run_side(side: str, config: str, size: str) -> float:
    """Two batches of a case, from the networks to the best partners (plain: to the scores)."""
    case = case_called(config, quick=size == "quick")
    networks = Networks(case)
    batches = [range(i, i + case.batch) for i in (0, case.batch)]
    begun = time.perf_counter()
    if side == "plain":
        for run in case.plain:
            published_match(lambda r=run: (networks.plain_maps(b, r) for b in batches[:1]))
        return time.perf_counter() - begun
    extras = side == "ours_with_null"
    counted = CorrelationPass(
        networks.layers, networks.pairs, n_images=2 * case.batch, null=extras, halves=extras
    )
    for images in batches:
        counted.add(networks.maps(images), images[0])
    for tables in counted.finish().values():
        tables.neighbours()
    return time.perf_counter() - begun


def _grow(n_images: int) -> float:
    """Count so many synthetic images, with null and halves."""
    run = CorrelationPass({"a": _GROWTH_ROWS, "b": _GROWTH_COLS}, [("a", "b")], n_images=n_images)
    maps = {
        model: {s.name: torch.randn(8, s.channels, *s.size) for s in specs}
        for model, specs in (("a", _GROWTH_ROWS), ("b", _GROWTH_COLS))
    }
    begun = time.perf_counter()
    for first in range(0, n_images, 8):
        run.add(maps, first)
    run.finish()["a", "b"].neighbours()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(sys.argv[1:])
