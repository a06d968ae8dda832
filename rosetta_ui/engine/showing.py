"""Which units' small maps go into a result, and the maps themselves. Numpy only, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.matching.activations import Activations
from rosetta_ui.matching.buddies import mutual
from rosetta_ui.matching.neighbours import Neighbours
from rosetta_ui.store.arrays import ModelViews, Views, quantised

MOST_UNITS = 2_048
"""Units of each model whose maps go into a result: 25 MB a model at 48 images."""

SHOWN_K = 5
"""Every unit that a rule with K up to this can choose is shown, as far as `MOST_UNITS` allows."""

_CHUNK = 256


def units_to_show(
    tables: Sequence[Mapping[str, Neighbours]], anchor: str, most: int = MOST_UNITS
) -> dict[str, NDArray[np.int32]]:
    """Units that the rules can choose, best first where there are too many.

    Anchors with a partner in every backbone, and those partners, come before all other pairs;
    inside each group the higher score comes first.

    Args:
        tables: for each score, backbone → neighbours of anchor × backbone.
        anchor: name of the anchor model.
        most: units of each model.

    Returns:
        Model → int32 flat numbers, ascending.
    """
    worth: dict[str, NDArray[np.float32]] = {}
    for by_backbone in tables:
        # The published rule's pairs and the cliques are all among the mutual ones.
        pairs = {name: mutual(t, SHOWN_K, SHOWN_K) for name, t in by_backbone.items()}
        everywhere = [np.unique(found.rows) for found in pairs.values()]
        shared = reduce(np.intersect1d, everywhere)
        for name, found in pairs.items():
            n_rows, n_cols = by_backbone[name].shape
            anchors = worth.setdefault(anchor, np.full(n_rows, -np.inf, np.float32))
            partners = worth.setdefault(name, np.full(n_cols, -np.inf, np.float32))
            # 4 lifts those that are matched everywhere above every other score.
            value = found.scores + 4 * np.isin(found.rows, shared)
            np.maximum.at(anchors, found.rows, value)
            np.maximum.at(partners, found.cols, value)
    return {model: _best(values, most) for model, values in worth.items()}


def _best(worth: NDArray[np.float32], most: int) -> NDArray[np.int32]:
    order = np.argsort(-worth, kind="stable")[:most]
    return np.sort(order[np.isfinite(worth[order])]).astype(np.int32)


def views_of(
    activations: Activations, units: Mapping[str, NDArray[np.int32]], images: Sequence[int]
) -> Views:
    """The small maps of some units as bytes.

    Args:
        activations: where they are.
        units: model → flat numbers, ascending.
        images: which images.
    """
    models: dict[str, ModelViews] = {}
    for model, chosen in units.items():
        low, high = (side[chosen] for side in activations.ranges(model))
        maps = np.zeros((len(chosen), len(images), 16, 16), np.uint8)
        for first in range(0, len(chosen), _CHUNK):
            part = slice(first, first + _CHUNK)
            found = activations.maps(model, [int(u) for u in chosen[part]], images)
            maps[part] = quantised(found, low[part], high[part])
        models[model] = ModelViews(chosen, maps, low, high)
    return Views(np.asarray(images, np.int32), models)
