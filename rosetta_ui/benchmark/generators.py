"""`bench generators`: our generators against plain implementations of the same tensors.

One row a generator: how many times longer the plain one takes to draw (`forward_ratio`) and to
bring the gradient of a picture back to z (`backward_ratio`), weights frozen; and the largest
difference between the two pictures as a share of their deviation (`max_error`). Shapes are the
published ones, weights are random: time does not depend on them.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rosetta_ui.benchmark import random_generators as shapes
from rosetta_ui.benchmark.plain_generators import plain
from rosetta_ui.models.allocator import give_back_freed_blocks, keep_freed_blocks


@dataclass(frozen=True)
class Case:
    """One row before it is measured.

    Attributes:
        generator: its name in the table.
        family: of its loader.
        shape: makes its shape.
        batch: pictures at a time.
    """

    generator: str
    family: str
    shape: Callable[[], Any]
    batch: int


QUICK = (
    Case("stylegan2-128", "stylegan2", lambda: shapes.stylegan2_shape(128), 2),
    Case(
        "stylegan3-t-128",
        "stylegan3",
        lambda: shapes.stylegan3_shape(128, base=16384, widest=256),
        1,
    ),
    Case(
        "stylegan3-r-64",
        "stylegan3",
        lambda: shapes.stylegan3_shape(64, base=16384, widest=256, radial=True),
        1,
    ),
    Case("biggan-256", "biggan", shapes.biggan_shape, 1),
    Case("fastgan-256", "fastgan", shapes.fastgan_shape, 1),
)
"""Smaller sides and, for StyleGAN3, half the channels: minutes on two cores."""

FULL = (
    Case("stylegan2-256", "stylegan2", lambda: shapes.stylegan2_shape(256), 2),
    Case("stylegan3-t-256", "stylegan3", lambda: shapes.stylegan3_shape(256), 1),
    Case("stylegan3-r-256", "stylegan3", lambda: shapes.stylegan3_shape(256, radial=True), 1),
    Case(
        "styleganxl-stem-64",
        "stylegan3",
        lambda: shapes.stylegan3_shape(64, layers=10, base=65536, widest=1024),
        1,
    ),
    Case("biggan-256", "biggan", shapes.biggan_shape, 2),
    Case("fastgan-256", "fastgan", shapes.fastgan_shape, 2),
)


def run(quick: bool, json_file: Path | None) -> None:
    """Measure every case; prints a table, and writes the rows where a file is given.

    Args:
        quick: smaller shapes.
        json_file: where to write `{"schema", "machine", "rows"}`; written after every row.
    """
    keep_freed_blocks()
    rows: list[dict[str, Any]] = []
    sys.stdout.write(f"{'generator':<20} {'forward':>8} {'backward':>9} {'error':>9}\n")
    for row in measure(QUICK if quick else FULL, 4 if quick else 3):
        rows.append(row)
        sys.stdout.write(
            f"{row['generator']:<20} {row['forward_ratio']:>7.2f}× {row['backward_ratio']:>8.2f}× "
            f"{row['max_error']:>9.1e}\n"
        )
        sys.stdout.flush()
        if json_file is not None:
            machine = {"processor": platform.processor(), "threads": torch.get_num_threads()}
            record = {"schema": 1, "machine": machine, "rows": rows}
            json_file.write_text(json.dumps(record, indent=1), "utf-8")


def measure(cases: tuple[Case, ...], repetitions: int) -> Iterator[dict[str, Any]]:
    """Measure cases one after the other.

    Args:
        cases: what to measure.
        repetitions: of each; the shortest time counts.

    Yields:
        generator, forward_ratio, backward_ratio, max_error, and the four times in seconds.
    """
    for case in cases:
        generator = shapes.random_generator(case.family, case.shape())
        z = torch.from_numpy(generator.sample(range(case.batch), seed=0).values)
        theirs, ours = plain(generator)
        with torch.no_grad():
            expected, drawn = theirs(z), ours(z)
        error = float((drawn - expected).abs().max() / expected.std())
        del expected, drawn
        # By turns, so that whatever else the machine does falls on both alike.
        times = [(_times(theirs, z), _times(ours, z)) for _ in range(repetitions)]
        plain_forward, plain_backward = (min(t[0][i] for t in times) for i in (0, 1))
        forward, backward = (min(t[1][i] for t in times) for i in (0, 1))
        yield {
            "generator": case.generator,
            "forward_ratio": plain_forward / forward,
            "backward_ratio": plain_backward / backward,
            "max_error": error,
            "forward_seconds": forward,
            "backward_seconds": backward,
            "plain_forward_seconds": plain_forward,
            "plain_backward_seconds": plain_backward,
        }
        del generator, theirs, ours
        give_back_freed_blocks()


def _times(draw: Callable[[Tensor], Tensor], z: Tensor) -> tuple[float, float]:
    """Seconds to draw without gradients, and to bring a gradient back to z."""
    with torch.no_grad():
        start = time.perf_counter()
        draw(z)
        forward = time.perf_counter() - start
    wanted = z.clone().requires_grad_()
    images = draw(wanted)
    given = torch.ones_like(images)
    start = time.perf_counter()
    torch.autograd.grad(images, wanted, given)
    return forward, time.perf_counter() - start
