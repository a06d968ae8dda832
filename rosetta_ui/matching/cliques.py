"""The clique rule: partners of an anchor that are also mutual neighbours of each other."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from rosetta_ui.errors import BadRequestError
from rosetta_ui.matching.buddies import BestBuddies, mutual

if TYPE_CHECKING:
    from rosetta_ui.matching.neighbours import Neighbours

Cross = Mapping[tuple[str, str], "Neighbours"]
"""(rows' backbone, columns' backbone) → neighbours of their table."""

_Agreements = dict[tuple[str, str], set[tuple[int, int]]]


def find_cliques(pairs: Mapping[str, BestBuddies], cross: Cross, k: int) -> dict[str, BestBuddies]:
    """Keep, for every anchor, the partners that agree pairwise: one a backbone.

    Of several cliques of one anchor the one with the highest lowest score is kept.

    Args:
        pairs: backbone → its mutual K pairs with the anchors.
        cross: (backbone, backbone) → neighbours, either way round.
        k: two partners agree when each is among the other's K best.

    Returns:
        Backbone → the pairs that are left; the same anchors in every one.

    Raises:
        BadRequestError: a table is missing.
    """
    names = list(pairs)
    agree = _agreements(names, cross, k)
    chosen: dict[str, list[int]] = {name: [] for name in names}
    places = {name: _places(found) for name, found in pairs.items()}
    shared = set.intersection(*(set(p) for p in places.values())) if places else set[int]()
    for anchor in sorted(shared):
        options = {name: places[name][anchor] for name in names}
        for name, at in _best_clique(options, pairs, agree).items():
            chosen[name].append(at)
    return {name: _take(found, chosen[name]) for name, found in pairs.items()}


def _agreements(names: list[str], cross: Cross, k: int) -> _Agreements:
    agree: _Agreements = {}
    for a, b in combinations(names, 2):
        if (a, b) in cross:
            found = mutual(cross[a, b], k, k).as_set()
        elif (b, a) in cross:
            found = {(row, col) for col, row in mutual(cross[b, a], k, k).as_set()}
        else:
            raise BadRequestError(
                f"The clique rule needs the table of {a} and {b}, which this result does not have.",
                "Match again with backbone pairs, or choose the rule mutual.",
            )
        agree[a, b] = found
        agree[b, a] = {(col, row) for row, col in found}
    return agree


def _places(found: BestBuddies) -> dict[int, list[int]]:
    """Anchor → places of its pairs, best score first."""
    places: dict[int, list[int]] = {}
    for at, row in enumerate(found.rows.tolist()):
        places.setdefault(row, []).append(at)
    return places


def _best_clique(
    options: Mapping[str, list[int]], pairs: Mapping[str, BestBuddies], agree: _Agreements
) -> dict[str, int]:
    """Depth first over the backbones with fewest options; empty where there is no clique."""
    order = sorted(options, key=lambda name: len(options[name]))
    best: tuple[float, dict[str, int]] = (-np.inf, {})

    def search(depth: int, lowest: float, taken: dict[str, int]) -> None:
        nonlocal best
        if depth == len(order):
            best = (lowest, dict(taken))
            return
        name = order[depth]
        for at in options[name]:
            score = min(lowest, float(pairs[name].scores[at]))
            if score <= best[0]:
                break  # options stand best first: no later one can be better
            col = int(pairs[name].cols[at])
            if all((int(pairs[o].cols[p]), col) in agree[o, name] for o, p in taken.items()):
                search(depth + 1, score, {**taken, name: at})

    search(0, np.inf, {})
    return best[1]


def _take(found: BestBuddies, places: list[int]) -> BestBuddies:
    keep = np.zeros(len(found), bool)
    keep[places] = True
    return found.where(keep)
