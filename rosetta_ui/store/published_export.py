"""A result of ours as the three files that the published notebooks open.

    table.pkl         tensor [anchor units, backbone units], float32
    gan_stats.pkl     one [mean, deviation] for each layer of the anchor model, [1, channels, 1, 1]
    discr_stats.pkl   the same for the backbone

Units that never vary have deviation 0 and scores 0, as the published code writes them. Differs:
means and deviations are those of the whole set; the published deviations leave out what changes
from batch to batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import StoreError
from rosetta_ui.store.files import said_plainly
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.store.notebook_files import write_pairs, write_tensor
from rosetta_ui.types import ScoreName

TABLE, ANCHOR_STATS, BACKBONE_STATS = "table.pkl", "gan_stats.pkl", "discr_stats.pkl"
NAMES = (TABLE, ANCHOR_STATS, BACKBONE_STATS)

_ROWS = 256


def export_published(folder: ResultFolder, backbone: str, out: Path, score: ScoreName) -> None:
    """Write one table of a result with its statistics.

    Args:
        folder: the result.
        backbone: name of the model on the columns.
        out: folder, made where it is missing; may hold these three files, which are replaced.
        score: which score.

    Raises:
        UnknownModelError: the result has no such backbone.
        BadRequestError: the result has no such score.
        StoreError: the result keeps no whole table or no statistics, or the folder holds other
            files or cannot be written.
    """
    scores = folder.scores(folder.anchor, backbone, score)
    if scores is None:
        raise StoreError(
            f"This result keeps no whole table of {folder.anchor} with {backbone}.",
            "Export from the match's own folder; a packed one keeps the best scores only.",
        )
    pairs = {name: _pairs(folder, name, score) for name in (folder.anchor, backbone)}
    with said_plainly(out, "write"):
        out.mkdir(parents=True, exist_ok=True)
        other = sorted(path.name for path in out.iterdir() if path.name not in NAMES)
    if other:
        raise StoreError(
            f"'{out}' holds other files, such as '{other[0]}'.", "Choose an empty or new folder."
        )
    write_tensor(out / TABLE, _blocks(scores), scores.shape)
    write_pairs(out / ANCHOR_STATS, pairs[folder.anchor])
    write_pairs(out / BACKBONE_STATS, pairs[backbone])


def _blocks(scores: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
    for first in range(0, len(scores), _ROWS):
        block = np.array(scores[first : first + _ROWS], np.float32)
        block[~np.isfinite(block)] = 0
        yield block


def _pairs(folder: ResultFolder, model: str, score: ScoreName) -> list[list[NDArray[Any]]]:
    """[mean float64, deviation float32] of each layer, [1, channels, 1, 1]."""
    stats = folder.stats(model)
    if stats is None:
        raise StoreError(
            f"This result keeps no statistics of {model}.", "Export from the match's own folder."
        )
    dead = folder.dead(model, score)
    deviation = np.where(dead, 0, stats.deviation).astype(np.float32)
    index = folder.index(model)
    return [
        [
            values[index.layer_slice(spec.name)].reshape(1, -1, 1, 1)
            for values in (stats.mean.astype(np.float64), deviation)
        ]
        for spec in index.layers
    ]
