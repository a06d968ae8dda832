"""What a match has found so far: told while it runs, from the neighbours that a look has kept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rosetta_ui.matching.buddies import by_rule
from rosetta_ui.matching.neighbours import Neighbours
from rosetta_ui.matching.rosetta import stars
from rosetta_ui.types import FoundSoFar, UnitIndex

SHOWN = 8
K = 5


def found_so_far(
    images: int, tables: Mapping[str, Neighbours], indexes: Mapping[str, UnitIndex], anchor: str
) -> FoundSoFar:
    """Count pairs and Rosetta Neurons under the published rule, and name the best.

    Args:
        images: that were counted.
        tables: backbone → neighbours of anchor × backbone.
        indexes: model → its units.
        anchor: name of the anchor model.
    """
    found = stars(tables, "published", K)
    order = np.argsort(-found.score_min, kind="stable")[:SHOWN]
    best = tuple(
        (
            indexes[anchor].unit(int(found.anchors[at])),
            {name: indexes[name].unit(int(p.cols[at])) for name, p in found.pairs.items()},
            float(found.score_min[at]),
        )
        for at in order
    )
    pairs = {name: len(by_rule(table, "published", K)) for name, table in tables.items()}
    return FoundSoFar(images, len(found), pairs, best)
