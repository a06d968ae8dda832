"""Which units of a model are most active at a place of an image, of all that it has.

Works on maps that `views` has; numpy only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.store.arrays import ModelViews, UnitStats
from rosetta_ui.types import ActiveUnits, UnitIndex

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 as fractions of width and height; a point has no extent."""


def cells_of(box: Box, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a map that a box covers; at least one cell each."""

    def cells(low: float, high: float, size: int) -> slice:
        low, high = sorted((min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)))
        first = min(int(low * size), size - 1)
        return slice(first, max(first + 1, int(np.ceil(high * size))))

    x0, y0, x1, y1 = box
    return cells(y0, y1, height), cells(x0, x1, width)


def activity_there(layers: Iterator[NDArray[np.floating]], box: Box) -> NDArray[np.float32]:
    """Mean activation inside a box of every unit: float32 [units].

    Args:
        layers: [channels, h, w] of every layer, in order.
        box: where.
    """
    parts = [
        layer[:, *cells_of(box, layer.shape[1], layer.shape[2])].astype(np.float32).mean((1, 2))
        for layer in layers
    ]
    return np.concatenate(parts)


def most_active(
    there: NDArray[np.floating], stats: UnitStats, index: UnitIndex, most: int
) -> ActiveUnits:
    """Rank all units of a model.

    Args:
        there: [units], from `activity_there`.
        stats: of the units; those that never vary are never ranked.
        index: the units.
        most: how many to name.
    """
    live = np.isfinite(stats.deviation) & (stats.deviation > 0) & np.isfinite(stats.mean)
    value = np.full(len(there), -np.inf)
    value[live] = (there[live] - stats.mean[live]) / stats.deviation[live]
    order = np.argsort(-value, kind="stable")[:most]
    units = tuple((index.unit(int(at)), float(value[at])) for at in order if np.isfinite(value[at]))
    return ActiveUnits(index.model, units, int(live.sum()), every=True)


def most_active_kept(
    kept: ModelViews, place: int, box: Box, index: UnitIndex, most: int
) -> ActiveUnits:
    """Rank the units whose small maps a result keeps; deviations are those of the kept maps.

    Args:
        kept: the maps.
        place: of the image among those that are kept.
        box: where.
        index: the model's units.
        most: how many to name.
    """
    maps = kept.maps.astype(np.float32)
    if not len(maps):
        return ActiveUnits(index.model, (), 0, every=False)
    there = maps[:, place, *cells_of(box, maps.shape[2], maps.shape[3])].mean((1, 2))
    deviation = maps.std((1, 2, 3))
    scale = np.where(deviation > 0, deviation, np.inf)
    value = (there - maps.mean((1, 2, 3))) / scale
    order = np.argsort(-value, kind="stable")[:most]
    units = tuple((index.unit(int(kept.units[at])), float(value[at])) for at in order)
    return ActiveUnits(index.model, units, len(maps), every=False)
