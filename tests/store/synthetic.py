"""A match with a known truth, in numpy: backbones that hold noisy, permuted copies of an anchor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.matching.answers import finish_result
from rosetta_ui.matching.neighbours import Neighbours
from rosetta_ui.matching.rosetta import TableNeighbours
from rosetta_ui.store.results import (
    ModelRecord,
    ModelViews,
    ResultFolder,
    ResultWriter,
    RunFacts,
    UnitStats,
    Views,
    quantised,
)
from rosetta_ui.types import LayerSpec, MatchRequest, ScoreName

ANCHOR = "tiny-generator"
BACKBONES = ("tiny-a", "tiny-b")
SIDE = 16


def neighbours_of(table: NDArray[np.floating], k: int) -> Neighbours:
    """The k best of every row and column of a whole table; -inf is never a neighbour."""

    def best(scores: NDArray[np.floating]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        order = np.argsort(-scores, 1, kind="stable")[:, :k]
        kept = np.take_along_axis(scores, order, 1).astype(np.float32)
        index = np.where(np.isfinite(kept), order, -1).astype(np.int32)
        missing = k - index.shape[1]
        if missing > 0:
            index = np.pad(index, ((0, 0), (0, missing)), constant_values=-1)
            kept = np.pad(kept, ((0, 0), (0, missing)), constant_values=-np.inf)
        return index, kept

    return Neighbours(*best(table), *best(table.T))


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pearson correlation of units [n, ua, ...] and [n, ub, ...]; -inf where a unit is dead."""
    columns = []
    for maps in (a, b):
        flat = np.moveaxis(maps, 1, 0).reshape(maps.shape[1], -1).astype(np.float64)
        flat = flat - flat.mean(1, keepdims=True)
        columns.append((flat, np.sqrt((flat**2).sum(1))))
    (left, left_norm), (right, right_norm) = columns
    scale = left_norm[:, None] * right_norm[None]
    return np.where(scale > 0, left @ right.T / np.where(scale > 0, scale, 1), -np.inf)


@dataclass(frozen=True)
class Planted:
    """Activations with a known truth.

    Attributes:
        layers: model → its layers.
        maps: model → [images, units, 16, 16].
        truth: backbone → the unit of it that copies each anchor unit, -1 for none.
    """

    layers: Mapping[str, tuple[LayerSpec, ...]]
    maps: Mapping[str, NDArray[np.float32]]
    truth: Mapping[str, NDArray[np.int32]]

    def scores(self, rows: str, cols: str, which: str = "real") -> NDArray[np.float64]:
        """One whole table: real, null (image a meets image a + 1), half0, half1 or at_n8 ..."""
        a, b = self.maps[rows], self.maps[cols]
        if which == "null":
            b = np.roll(b, 1, 0)
        elif which.startswith("half"):
            a, b = a[int(which[-1]) :: 2], b[int(which[-1]) :: 2]
        elif which.startswith("at_n"):
            seen = len(a) // int(which[-1])
            a, b = a[:seen], b[:seen]
        return correlation(a, b)

    def table(self, rows: str, cols: str, k: int = 5) -> TableNeighbours:
        """The kept neighbours of one table."""
        real = neighbours_of(self.scores(rows, cols), k)
        return TableNeighbours(
            real=real,
            null=neighbours_of(self.scores(rows, cols, "null"), k),
            halves=(
                neighbours_of(self.scores(rows, cols, "half0"), k),
                neighbours_of(self.scores(rows, cols, "half1"), k),
            ),
            row_halves=self.row_halves(rows, cols, real),
        )

    def row_halves(self, rows: str, cols: str, real: Neighbours) -> NDArray[np.float32]:
        """[2, rows, k]: scores of the real row neighbours in each half."""
        halves = [self.scores(rows, cols, f"half{half}") for half in (0, 1)]
        index = np.clip(real.row_index, 0, None)
        taken = np.stack([np.take_along_axis(half, index, 1) for half in halves])
        return np.where(real.row_index >= 0, taken, -np.inf).astype(np.float32)


def planted(images: int = 24, noise: float = 0.8, seed: int = 5) -> Planted:
    """12 anchor units, of which 0 (best) to 7 are copied into both backbones and 11 is dead.

    Backbone tiny-a has 15 units (one dead), tiny-b 10; units that copy nothing are noise.
    """
    rng = np.random.default_rng(seed)
    layers = {
        ANCHOR: (LayerSpec(ANCHOR, "low", 5, (4, 4)), LayerSpec(ANCHOR, "high", 7, (16, 16))),
        "tiny-a": (LayerSpec("tiny-a", "stem", 6, (16, 16)), LayerSpec("tiny-a", "top", 9, (8, 8))),
        "tiny-b": (LayerSpec("tiny-b", "mlp", 10, (16, 16), kind="tokens", prefix_tokens=1),),
    }
    maps = {
        name: rng.normal(size=(images, sum(s.channels for s in specs), SIDE, SIDE))
        for name, specs in layers.items()
    }
    truth: dict[str, NDArray[np.int32]] = {}
    for name in BACKBONES:
        copies = rng.permutation(maps[name].shape[1] - 1)[:8]  # the last unit stays free
        truth[name] = np.concatenate([copies, np.full(4, -1)]).astype(np.int32)
        level = noise * np.linspace(0.25, 1, 8)[:, None, None]
        maps[name][:, copies] = maps[ANCHOR][:, :8] + level * maps[name][:, copies]
    maps[ANCHOR][:, 11] = 3.0
    maps["tiny-a"][:, 14] = 0.0
    return Planted(layers, {n: m.astype(np.float32) for n, m in maps.items()}, truth)


def write_planted(
    folder: Path,
    match: Planted,
    *,
    k: int = 5,
    cross: bool = True,
    scores: tuple[ScoreName, ...] = ("pearson", "centred"),
    **request: object,
) -> ResultFolder:
    """Write the whole result of a planted match, as a run would."""
    asked = MatchRequest(
        generator=ANCHOR, backbones=BACKBONES, n_images=len(match.maps[ANCHOR]), **request
    )
    models = [
        ModelRecord(n, "generator" if n == ANCHOR else "backbone", "", match.layers[n])
        for n in match.layers
    ]
    writer = ResultWriter(folder, asked, models, created=1_700_000_000.0)
    names = [(ANCHOR, name) for name in BACKBONES] + ([BACKBONES] if cross else [])
    for rows, cols in names:
        for score in scores:
            add_table(writer, match, rows, cols, score, k)
    for name, maps in match.maps.items():
        writer.add_dead(name, np.ptp(maps, (0, 2, 3)) == 0)
        writer.add_stats(name, stats_of(maps))
    side = np.linspace(0, 255, 64).astype(np.uint8)
    pictures = [
        np.stack([np.full((64, 64), i * 9), *np.meshgrid(side, side)], -1) for i in range(10)
    ]
    writer.add_previews([picture.astype(np.uint8) for picture in pictures])
    writer.add_views(views_of(match, np.arange(8, dtype=np.int32)))
    run = RunFacts(
        inputs={"digests": {name: "" for name in match.layers}},
        snapshots={"at_n8": len(maps) // 8, "at_n4": len(maps) // 4, "at_n2": len(maps) // 2},
        timings={"seconds": 2.0, "images_per_second": 12.0, "peak_bytes": 1e6},
    )
    return finish_result(writer, run)


def add_table(
    writer: ResultWriter, match: Planted, rows: str, cols: str, score: ScoreName, k: int
) -> None:
    """Write one table with everything that is kept of it."""
    table = match.scores(rows, cols)
    writer.add_scores(rows, cols, score, [table[:5], table[5:]])
    whichs = ("real", "null", "half0", "half1", "at_n8", "at_n4", "at_n2")
    kept = {which: neighbours_of(match.scores(rows, cols, which), k) for which in whichs}
    writer.add_neighbours(rows, cols, score, kept, match.row_halves(rows, cols, kept["real"]))


def stats_of(maps: NDArray[np.floating]) -> UnitStats:
    """Statistics over images and positions."""
    axes = (0, 2, 3)
    deviation = maps.std(axes)
    centred = maps - maps.mean(axes, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        kurtosis = (centred**4).mean(axes) / deviation**4 - 3
    low, high = np.quantile(maps, [0.01, 0.99], axis=axes)
    columns = (maps.mean(axes), deviation, kurtosis, low, high)
    return UnitStats(*(column.astype(np.float32) for column in columns))


def views_of(match: Planted, images: NDArray[np.int32]) -> Views:
    """Maps of every unit but the last of each model."""
    models: dict[str, ModelViews] = {}
    for name, maps in match.maps.items():
        stats = stats_of(maps)
        units = np.arange(maps.shape[1] - 1, dtype=np.int32)
        chosen = maps[images][:, units].swapaxes(0, 1)
        low, high = stats.low[units], stats.high[units]
        models[name] = ModelViews(units, quantised(chosen, low, high), low, high)
    return Views(images, models)
