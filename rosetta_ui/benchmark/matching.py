"""`bench match`: our matching against the published algorithm, on the same images by turns.

Columns: how many times longer the published algorithm takes for the correlation alone and end to
end (the networks run twice there, and again for each backbone), without and with null and halves;
peak memory; the largest error of a score; the share of the machine's fastest float32 product that
our products reach alone, and that the whole update reaches.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from rosetta_ui.benchmark.machine import Peaks, describe, measure_peaks
from rosetta_ui.benchmark.match_cases import FULL, QUICK, Case, Networks, missing_weights
from rosetta_ui.benchmark.match_memory import peak_of
from rosetta_ui.benchmark.match_timing import (
    Times,
    compare_published,
    largest_error,
    product_speed,
    time_case,
)
from rosetta_ui.models.allocator import give_back_freed_blocks, keep_freed_blocks

_GROWTH = (64, 128, 256, 512)
_GIB = 1 << 30


def run(quick: bool, json_file: Path | None, only: str = "") -> None:
    """Measure every case; prints a table, and writes the rows where a file is given.

    Args:
        quick: batches of one, fewer layers for the published algorithm, no five backbones.
        json_file: where to write `{"schema", "machine", "rows"}`; written after every row.
        only: part of the names of the configurations to measure; empty measures all.
    """
    keep_freed_blocks()
    machine = describe()
    peaks = measure_peaks()
    machine |= {"float32_gflops": peaks.float32 / 1e9, "float64_gflops": peaks.float64 / 1e9}
    _say(
        f"{machine['processor']}, {machine['threads']} threads: float32 "
        f"{peaks.float32 / 1e9:.0f}, float64 {peaks.float64 / 1e9:.0f} GFLOP/s"
    )
    rows: list[dict[str, Any]] = []
    for row in _rows(QUICK if quick else FULL, quick, peaks, only):
        rows.append(row)
        _show(row)
        if json_file is not None:
            record = {"schema": 1, "machine": machine, "rows": rows}
            json_file.write_text(json.dumps(record, indent=1), "utf-8")


def _rows(
    cases: tuple[Case, ...], quick: bool, peaks: Peaks, only: str
) -> Iterator[dict[str, Any]]:
    for case in cases:
        if only not in case.config:
            continue
        if missing := missing_weights(case):
            _say(f"{case.config}: left out, as the weights of {missing} are not here")
            continue
        with torch.no_grad():
            row = measure(case, peaks, repetitions=1 if quick else 3)
        give_back_freed_blocks()
        yield row | _memory(case, quick)
    if only in "growth":
        yield from _growth(_GROWTH[:3] if quick else _GROWTH)


def measure(case: Case, peaks: Peaks, repetitions: int) -> dict[str, Any]:
    """One row without its memory.

    Args:
        case: what to measure.
        peaks: of this machine.
        repetitions: of each part; the shortest time counts.
    """
    networks = Networks(case)
    times = time_case(case, networks, repetitions)
    operations, speed = product_speed(networks)
    plain, plain_networks = times["plain"], times["plain_networks"]
    ours, ours_null = times["sums"], times["sums_with_null"]
    row: dict[str, Any] = {
        "config": case.config,
        "correlation_ratio": plain / ours,
        "end_to_end_ratio": (plain + plain_networks) / (ours + times["networks"]),
        "correlation_ratio_with_null": plain / ours_null,
        "end_to_end_ratio_with_null": (plain + plain_networks) / (ours_null + times["networks"]),
        "max_error": largest_error(case, networks),
        "gemm_share": speed / peaks.float32,
        "update_share": operations / ours / peaks.float32,
        "plain_float64_share": _plain_operations(case, networks) / plain / peaks.float64,
        "batch": case.batch,
        "plain_layers": {r.backbone: r.layers for r in case.plain if r.layers},
        "seconds_an_image": times.parts,
    }
    if case.published:
        row |= _published(case, networks, times)
    return row


def _plain_operations(case: Case, networks: Networks) -> float:
    """Products that the published algorithm forms for one image of all backbones."""
    total = 0.0
    for run in case.plain:
        pixels = sum(
            2 * a.channels * b.channels * max(a.size[0], b.size[0]) * max(a.size[1], b.size[1])
            for a in networks.generator.layers
            for b in networks.backbone(run).layers
        )
        total += run.times * pixels
    return total


def _published(case: Case, networks: Networks, times: Times) -> dict[str, Any]:
    found = compare_published(case, networks, case.plain[0])
    theirs = times["plain"] + times["plain_networks"]
    return {
        "published_end_to_end_ratio": theirs / (found.seconds + 2 * times["networks"]),
        "published_max_error": found.max_error,
        "published_pairs": found.pairs,
        "published_other_pairs": found.other_pairs,
    }


def _memory(case: Case, quick: bool) -> dict[str, Any]:
    size = "quick" if quick else "full"
    plain, ours = (peak_of(side, case.config, size).bytes for side in ("plain", "ours"))
    with_null = peak_of("ours_with_null", case.config, size).bytes
    return {
        "peak_memory_ratio": ours / plain,
        "peak_memory_ratio_with_null": with_null / plain,
        "peak_gib": {"plain": plain / _GIB, "ours": ours / _GIB, "with_null": with_null / _GIB},
    }


def _growth(sizes: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    for n in sizes:
        peak = peak_of("growth", str(n))
        yield {
            "config": f"growth: {n} images",
            "images": n,
            "seconds": peak.seconds,
            "milliseconds_an_image": 1000 * peak.seconds / n,
            "peak_gib": peak.bytes / _GIB,
        }


def _show(row: dict[str, Any]) -> None:
    if "images" in row:
        _say(
            f"{row['config']:<40} {row['milliseconds_an_image']:.1f} ms an image, "
            f"peak {row['peak_gib']:.2f} GiB"
        )
        return
    peak = row["peak_gib"]
    _say(
        f"{row['config']}\n"
        f"  correlation {row['correlation_ratio']:.0f}×, end to end "
        f"{row['end_to_end_ratio']:.1f}×; with null and halves "
        f"{row['correlation_ratio_with_null']:.0f}×, {row['end_to_end_ratio_with_null']:.1f}×\n"
        f"  peak memory {row['peak_memory_ratio']:.2f} ({peak['ours']:.2f} of "
        f"{peak['plain']:.2f} GiB), with null and halves {row['peak_memory_ratio_with_null']:.2f}\n"
        f"  largest error {row['max_error']:.1e}; products {row['gemm_share']:.0%} and update "
        f"{row['update_share']:.0%} of the float32 peak; published "
        f"{row['plain_float64_share']:.0%} of the float64 peak"
    )
    if row["plain_layers"]:
        _say(f"  published run on so many layers only, and scaled: {row['plain_layers']}")
    if "published_max_error" in row:
        _say(
            f"  published-compatible: end to end {row['published_end_to_end_ratio']:.1f}×, largest "
            f"error {row['published_max_error']:.1e}, {row['published_other_pairs']} of "
            f"{row['published_pairs']} pairs differ"
        )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
