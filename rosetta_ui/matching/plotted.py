"""Numbers that the plots of a result show and the report does not hold. Numpy only, no torch.

Values in tables that were left out of a small folder are NaN: a plot says so, it draws no zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.matching.answers import table_of
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.types import ScoreName, Unit, UnitIndex

MOST_UNITS = 40
"""Units on a side of the matrix of two layers: more cannot be told apart, or named, on a screen."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class UnitMatrix:
    """Scores of some units of two layers.

    Attributes:
        rows, cols: the units, best matched first.
        values: [rows, cols], NaN where a score is not kept.
        hidden: units of the anchor's layer that are not shown.
    """

    rows: tuple[Unit, ...]
    cols: tuple[Unit, ...]
    values: Values
    hidden: int


def layer_scores(folder: ResultFolder, backbone: str, score: ScoreName) -> Values | None:
    """How well each layer of the anchor is found in each layer of a backbone.

    Returns:
        [anchor layers, backbone layers]: mean over the live units of the anchor's layer of their
        best score in the backbone's layer; NaN where a layer has no live unit. None where the
        result keeps no whole table.
    """
    table = folder.scores(folder.anchor, backbone, score)
    if table is None:
        return None
    rows, cols = folder.index(folder.anchor), folder.index(backbone)
    starts = [cols.layer_slice(spec.name).start for spec in cols.layers]
    means = np.full((len(rows.layers), len(starts)), np.nan)
    for at, spec in enumerate(rows.layers):
        # Layer by layer: at most 512 × 36,864 numbers, 75 MB, are in memory.
        block = np.asarray(table[rows.layer_slice(spec.name)], np.float32)
        best = np.maximum.reduceat(block, starts, axis=1)
        for column in range(len(starts)):
            live = best[:, column][np.isfinite(best[:, column])]
            if len(live):
                means[at, column] = live.mean()
    return means


def unit_scores(
    folder: ResultFolder,
    backbone: str,
    score: ScoreName,
    layers: tuple[str, str],
    most: int = MOST_UNITS,
) -> UnitMatrix:
    """The best matched units of a layer of the anchor against those of a layer of a backbone.

    Rows go from the highest best score down, columns in the order in which the rows prefer them:
    agreement shows as a diagonal.

    Args:
        folder: the result.
        backbone: name of the other model.
        score: which score.
        layers: (layer of the anchor, layer of the backbone).
        most: units on a side.

    Raises:
        UnknownLayerError: a model has no such layer.
    """
    rows, cols = folder.index(folder.anchor), folder.index(backbone)
    down, across = rows.layer_slice(layers[0]), cols.layer_slice(layers[1])
    block = _block(folder, backbone, score, down, across)
    best = np.where(np.isfinite(block), block, -np.inf).max(1)
    order = [int(r) for r in np.argsort(-best, kind="stable") if np.isfinite(best[r])]
    chosen = order[:most]
    columns = _preferred(block[chosen], most)
    return UnitMatrix(
        tuple(rows.unit(down.start + at) for at in chosen),
        tuple(cols.unit(across.start + at) for at in columns),
        block[np.ix_(chosen, columns)],
        block.shape[0] - len(chosen),
    )


def _block(
    folder: ResultFolder, backbone: str, score: ScoreName, down: slice, across: slice
) -> Values:
    """Scores of two layers; from the kept neighbours where no whole table is kept."""
    whole = folder.scores(folder.anchor, backbone, score)
    if whole is not None:
        block = np.asarray(whole[down, across], np.float64)
        return np.where(np.isfinite(block), block, np.nan)
    real = table_of(folder, folder.anchor, backbone, score).real
    block = np.full((down.stop - down.start, across.stop - across.start), np.nan)
    index, scores = real.row_index[down], real.row_score[down]
    inside = (index >= across.start) & (index < across.stop)
    rows, places = np.nonzero(inside)
    block[rows, index[rows, places] - across.start] = scores[rows, places]
    return block


def _preferred(block: Values, most: int) -> list[int]:
    """Columns in the order in which the rows, in turn, prefer them."""
    if not len(block):
        return []
    filled = np.where(np.isfinite(block), block, -np.inf)
    ranked = np.argsort(-filled, axis=1, kind="stable")
    columns: dict[int, None] = {}
    for place in range(ranked.shape[1]):
        for row, column in enumerate(ranked[:, place].tolist()):
            if np.isfinite(filled[row, column]):
                columns.setdefault(column)
            if len(columns) == most:
                return list(columns)
    return list(columns)


def strongest_by_layer(folder: ResultFolder, backbone: str, score: ScoreName) -> dict[str, Unit]:
    """`model/layer` of both models → the anchor unit of that layer's strongest pair."""
    real = table_of(folder, folder.anchor, backbone, score).real
    rows, cols = folder.index(folder.anchor), folder.index(backbone)
    found: dict[str, Unit] = {}
    own = np.arange(len(rows))
    for index, best, anchors in (
        (rows, real.row_score[:, 0], own),
        (cols, real.col_score[:, 0], real.col_index[:, 0]),
    ):
        for spec in index.layers:
            part = index.layer_slice(spec.name)
            here = np.where(np.isfinite(best[part]), best[part], -np.inf)
            at = int(here.argmax())
            if np.isfinite(here[at]) and anchors[part][at] >= 0:
                found[f"{index.model}/{spec.name}"] = rows.unit(int(anchors[part][at]))
    return found


def first_in_bins(
    edges: Sequence[float], values: Sequence[float], keys: Sequence[str]
) -> list[str]:
    """For each bin the key of the first value that lies in it, empty where none does.

    Values outside belong to the end bins, as in the report's histograms.
    """
    found = [""] * max(len(edges) - 1, 0)
    if not found:
        return found
    clipped = np.clip(np.asarray(values, np.float64), edges[0], edges[-1])
    places = np.clip(np.searchsorted(edges, clipped, "right") - 1, 0, len(found) - 1)
    for key, value, place in zip(keys, clipped.tolist(), places.tolist(), strict=True):
        if np.isfinite(value) and not found[place]:
            found[place] = key
    return found


def flats(index: UnitIndex, units: Sequence[Unit]) -> NDArray[np.intp]:
    """The flat numbers of some units of one model."""
    return np.array([index.flat(unit) for unit in units], np.intp)
