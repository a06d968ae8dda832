"""Two results side by side: which pairs both found, which only one, and how the scores agree.

Another seed, another ψ, another number of images or another choice of backbones: what both results
have in common is compared, and the rest is named. Numpy only, no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import BadRequestError
from rosetta_ui.matching.answers import table_of
from rosetta_ui.matching.buddies import BestBuddies, by_rule, largest_k
from rosetta_ui.matching.neighbours import Neighbours
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.types import ScoreName, Selection, Unit, UnitIndex


@dataclass(frozen=True)
class ComparedPair:
    """A pair that at least one of two results found.

    Attributes:
        anchor, partner: the units.
        first, second: its score in each result, NaN where that result does not keep it.
        where: both, first or second: which results found the pair.
    """

    anchor: Unit
    partner: Unit
    first: float
    second: float
    where: str


@dataclass(frozen=True)
class ComparedTable:
    """One backbone in both results.

    Attributes:
        backbone: its name.
        pairs: every pair that either found, highest mean score first.
        both, only_first, only_second: how many of them.
        jaccard: both as a share of all, NaN without any.
        correlation: of the scores of the pairs in both, NaN for fewer than 3. Pairs of one result
            are left out: they were chosen for being high there, which alone makes it negative.
        k: the K that was used; smaller than asked for where a result keeps fewer neighbours.
    """

    backbone: str
    pairs: tuple[ComparedPair, ...]
    both: int
    only_first: int
    only_second: int
    jaccard: float
    correlation: float
    k: int


@dataclass(frozen=True)
class Comparison:
    """Two results of the same generator.

    Attributes:
        anchor: the generator.
        score: what was compared.
        tables: of the backbones that both have.
        missing_first, missing_second: backbones that only the other result has.
        rosetta: anchors with a partner in every common backbone in both results, only in the
            first, only in the second.
    """

    anchor: str
    score: ScoreName
    tables: tuple[ComparedTable, ...]
    missing_first: tuple[str, ...]
    missing_second: tuple[str, ...]
    rosetta: tuple[int, int, int]


def compare(first: ResultFolder, second: ResultFolder, selection: Selection) -> Comparison:
    """Compare two results under one rule; cliques are compared as mutual pairs.

    Raises:
        BadRequestError: the results share no generator or no backbone, or one lacks the score.
    """
    _check_anchors(first, second)
    shared = [
        name for name in first.backbones if name in second.backbones and _same(first, second, name)
    ]
    if not shared:
        raise BadRequestError(
            "These two results have no backbone in common.",
            f"One has {', '.join(first.backbones)}, the other {', '.join(second.backbones)}.",
        )
    found = {name: _table(first, second, name, selection) for name in shared}
    anchors = [
        set[Unit].intersection(*(_anchors(table, side) for table in found.values()))
        for side in ("first", "second")
    ]
    return Comparison(
        anchor=first.anchor,
        score=selection.score,
        tables=tuple(found.values()),
        missing_first=tuple(n for n in second.backbones if n not in found),
        missing_second=tuple(n for n in first.backbones if n not in found),
        rosetta=(
            len(anchors[0] & anchors[1]),
            len(anchors[0] - anchors[1]),
            len(anchors[1] - anchors[0]),
        ),
    )


def _check_anchors(first: ResultFolder, second: ResultFolder) -> None:
    if first.anchor != second.anchor:
        raise BadRequestError(
            f"One result is of {first.anchor}, the other of {second.anchor}.",
            "Compare two results of the same generator.",
        )
    if not _same(first, second, first.anchor):
        raise BadRequestError(
            f"The two results looked at other layers of {first.anchor}.",
            "Compare two results with the same layers.",
        )


def _same(first: ResultFolder, second: ResultFolder, model: str) -> bool:
    sides = [[(s.name, s.channels) for s in f.index(model).layers] for f in (first, second)]
    return sides[0] == sides[1]


def _anchors(table: ComparedTable, side: str) -> set[Unit]:
    return {pair.anchor for pair in table.pairs if pair.where in ("both", side)}


def _table(
    first: ResultFolder, second: ResultFolder, backbone: str, selection: Selection
) -> ComparedTable:
    score, anchor = selection.score, first.anchor
    kept = [table_of(folder, anchor, backbone, score).real for folder in (first, second)]
    k = min(selection.k, *(largest_k(table, selection.rule) for table in kept))
    found = [by_rule(table, selection.rule, k) for table in kept]
    found = [pairs.where(pairs.scores >= selection.lowest) for pairs in found]
    sets = [pairs.as_set() for pairs in found]
    either = sorted(sets[0] | sets[1])
    places = np.array(either, np.intp).reshape(-1, 2)
    scores = [
        _scores_at(folder, backbone, score, table, places)
        for folder, table in zip((first, second), kept, strict=True)
    ]
    for pairs, side in zip(found, scores, strict=True):
        _fill(side, pairs, either)
    pairs = _pairs(either, scores, sets, first.index(anchor), first.index(backbone))
    both = len(sets[0] & sets[1])
    shared = np.array([place in sets[0] and place in sets[1] for place in either], bool)
    return ComparedTable(
        backbone=backbone,
        pairs=pairs,
        both=both,
        only_first=len(sets[0]) - both,
        only_second=len(sets[1]) - both,
        jaccard=both / len(either) if either else float("nan"),
        correlation=_correlation(*(side[shared] for side in scores)),
        k=k,
    )


def _scores_at(
    folder: ResultFolder,
    backbone: str,
    score: ScoreName,
    kept: Neighbours,
    places: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Scores of [n, 2] (row, column): from the whole table, else from the row's neighbours."""
    rows, cols = places[:, 0], places[:, 1]
    whole = folder.scores(folder.anchor, backbone, score)
    if whole is not None:
        values = np.asarray(whole[rows, cols], np.float64)
        return np.where(np.isfinite(values), values, np.nan)
    hit = kept.row_index[rows] == cols[:, None]
    values = kept.row_score[rows, hit.argmax(1)].astype(np.float64)
    return np.where(hit.any(1), values, np.nan)


def _fill(
    scores: NDArray[np.float64], pairs: BestBuddies, either: Sequence[tuple[int, int]]
) -> None:
    """A result's own pairs have their own scores, whatever else of it is kept."""
    known: Mapping[tuple[int, int], float] = dict(
        zip(
            zip(pairs.rows.tolist(), pairs.cols.tolist(), strict=True),
            pairs.scores.tolist(),
            strict=True,
        )
    )
    for at, place in enumerate(either):
        scores[at] = known.get(place, scores[at])


def _pairs(
    either: Sequence[tuple[int, int]],
    scores: Sequence[NDArray[np.float64]],
    sets: Sequence[set[tuple[int, int]]],
    rows: UnitIndex,
    cols: UnitIndex,
) -> tuple[ComparedPair, ...]:
    def where(place: tuple[int, int]) -> str:
        if place in sets[0]:
            return "both" if place in sets[1] else "first"
        return "second"

    found = [
        ComparedPair(rows.unit(r), cols.unit(c), float(a), float(b), where((r, c)))
        for (r, c), a, b in zip(either, *scores, strict=True)
    ]
    return tuple(sorted(found, key=lambda p: -float(np.nanmean([p.first, p.second]))))


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < 3 or first[known].std() == 0 or second[known].std() == 0:
        return float("nan")
    return float(np.corrcoef(first[known], second[known])[0, 1])
