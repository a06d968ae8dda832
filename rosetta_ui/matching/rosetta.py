"""Rosetta Neurons: anchor units with a partner in every backbone, each beside its null.

Works on the kept neighbours of the anchor's tables (and, for cliques, of the backbones' tables with
each other). The null of everything comes from the same search in the tables made with shuffled
images. Knows no files and no maps; concepts are numbered elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import BadRequestError
from rosetta_ui.matching.buddies import BestBuddies, by_rule
from rosetta_ui.matching.cliques import Cross, find_cliques
from rosetta_ui.types import Partner, RosettaNeuron, RuleName, Selection, Unit, UnitIndex

if TYPE_CHECKING:
    from rosetta_ui.matching.neighbours import Neighbours


@dataclass(frozen=True)
class TableNeighbours:
    """What is kept of one table under one score.

    Attributes:
        real: its neighbours.
        null: neighbours in the same table made with shuffled images; None below 2 images.
        halves: neighbours in the two halves of the images, or None.
        row_halves: float32 [2, rows, k], scores of the real row neighbours in each half, or None.
    """

    real: Neighbours
    null: Neighbours | None = None
    halves: tuple[Neighbours, Neighbours] | None = None
    row_halves: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Stars:
    """Anchors with one partner in every backbone, as numbers.

    Attributes:
        anchors: int32 [n] flat numbers, ascending.
        pairs: backbone → its pair of every anchor, [n] each.
    """

    anchors: NDArray[np.int32]
    pairs: Mapping[str, BestBuddies]

    def __len__(self) -> int:
        return len(self.anchors)

    @property
    def score_min(self) -> NDArray[np.float32]:
        """float32 [n], the lowest score of each over the backbones."""
        scores = [pairs.scores for pairs in self.pairs.values()]
        return np.min(np.stack(scores), 0) if scores else np.zeros(0, np.float32)

    def as_set(self) -> set[tuple[int, ...]]:
        """Each as (anchor, partner, partner, ...)."""
        columns = [self.anchors, *(pairs.cols for pairs in self.pairs.values())]
        return set(zip(*(column.tolist() for column in columns), strict=True))


def stars(
    tables: Mapping[str, Neighbours], rule: RuleName, k: int, cross: Cross | None = None
) -> Stars:
    """Intersect the tables on the anchor.

    published and mutual take each backbone's best-scoring pair of the anchor; clique takes the
    partners that are also mutual K neighbours of each other, with the highest lowest score.

    Args:
        tables: backbone → neighbours of anchor × backbone, at least one.
        rule: which.
        k: the K of the rule.
        cross: (backbone, backbone) → neighbours, either way round; the clique rule needs all.

    Raises:
        BadRequestError: K does not fit, or a table for the clique rule is missing.
    """
    found = {name: by_rule(table, rule, k) for name, table in tables.items()}
    if rule == "clique":
        found = find_cliques(found, cross or {}, k)
    best = {name: pairs.best_of_each_row() for name, pairs in found.items()}
    shared: NDArray[np.int32] | None = None
    for pairs in best.values():
        shared = pairs.rows if shared is None else np.intersect1d(shared, pairs.rows)
    anchors = np.zeros(0, np.int32) if shared is None else shared.astype(np.int32)
    return Stars(anchors, {n: p.where(np.isin(p.rows, anchors)) for n, p in best.items()})


def null_bests(table: TableNeighbours) -> NDArray[np.float32]:
    """Every live anchor's best score with shuffled images, ascending; empty without a null."""
    if table.null is None or not table.null.row_score.shape[1]:
        return np.zeros(0, np.float32)
    best = table.null.row_score[:, 0]
    return np.sort(best[np.isfinite(best)])


def null_minima(tables: Mapping[str, TableNeighbours]) -> NDArray[np.float32]:
    """The null of every live anchor as a Rosetta Neuron: its lowest null best over the backbones.

    Returns:
        float32 ascending; empty where a table has no null.
    """
    bests = [t.null.row_score[:, 0] for t in tables.values() if t.null is not None]
    if not bests or len(bests) < len(tables):
        return np.zeros(0, np.float32)
    lowest = np.min(np.stack(bests), 0)
    return np.sort(lowest[np.isfinite(lowest)])


def threshold(bests: NDArray[np.float32], q: float) -> float:
    """The (1 - q) quantile of the null's best matches; NaN where there are none.

    Args:
        bests: ascending.
        q: share of null matches that may lie above, between 0 and 1.

    Raises:
        BadRequestError: q is outside its range.
    """
    if not 0 < q < 1:
        raise BadRequestError(f"q is {q}.", "Give a share between 0 and 1, such as 0.05.")
    # "higher": never more than the share q of the null lies above it, however few units there are.
    return float(np.quantile(bests, 1 - q, method="higher")) if len(bests) else float("nan")


def share_at_or_above(
    bests: NDArray[np.float32], scores: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The p of each score: share of the null's best matches at or above it; NaN without a null.

    Args:
        bests: ascending.
        scores: any shape.
    """
    if not len(bests):
        return np.full(scores.shape, np.nan)
    return 1 - np.searchsorted(bests, scores, side="left") / len(bests)


def partners(table: TableNeighbours, pairs: BestBuddies, backbone: UnitIndex) -> Iterator[Partner]:
    """The partner of every pair, with its null, p, rank and halves.

    Args:
        table: anchor × backbone; where the pairs were found.
        pairs: of this table.
        backbone: the columns' units.
    """
    p = share_at_or_above(null_bests(table), pairs.scores)
    for at in range(len(pairs)):
        row = int(pairs.rows[at])
        yield Partner(
            unit=backbone.unit(int(pairs.cols[at])),
            score=float(pairs.scores[at]),
            null=float("nan") if table.null is None else float(table.null.row_score[row, 0]),
            rank=int(pairs.col_ranks[at]),
            halves=_halves(table, row, int(pairs.cols[at]), int(pairs.row_ranks[at]) - 1),
            p=float(p[at]),
        )


def _halves(table: TableNeighbours, row: int, col: int, place: int) -> tuple[float, float] | None:
    if table.row_halves is not None:
        scores = [float(half[row, place]) for half in table.row_halves]
    elif table.halves is not None:
        scores = []
        for half in table.halves:
            at = np.flatnonzero(half.row_index[row] == col)
            scores.append(float(half.row_score[row, at[0]]) if len(at) else float("nan"))
    else:
        return None
    return (scores[0], scores[1]) if np.isfinite(scores).all() else None


def match_pairs(
    table: TableNeighbours, selection: Selection, anchors: UnitIndex, backbone: UnitIndex
) -> list[tuple[Unit, Partner]]:
    """The pairs of one table under a selection, highest score first.

    Raises:
        BadRequestError: a value of the selection does not fit.
    """
    pairs = by_rule(table.real, selection.rule, selection.k)
    keep = pairs.scores >= selection.lowest
    if selection.above_null:
        _need_null([table])
        keep &= pairs.scores > threshold(null_bests(table), selection.q)
    pairs = pairs.where(keep)
    units = (anchors.unit(int(row)) for row in pairs.rows)
    listed = list(zip(units, partners(table, pairs, backbone), strict=True))
    # Stable, and pairs lie row by row: equal scores keep the order of the anchors.
    return sorted(listed, key=lambda pair: -pair[1].score)


def intersect(
    tables: Mapping[str, TableNeighbours],
    selection: Selection,
    anchors: UnitIndex,
    backbones: Mapping[str, UnitIndex],
    cross: Mapping[tuple[str, str], TableNeighbours] | None = None,
) -> list[RosettaNeuron]:
    """The Rosetta Neurons of a match: highest `score_min` first, then by anchor number.

    Args:
        tables: backbone → anchor × backbone, at least one.
        selection: rule, K, lowest score, q and whether only neurons above the null are kept.
        anchors: the rows' units.
        backbones: backbone → the columns' units.
        cross: (backbone, backbone) → their table, for the clique rule.

    Raises:
        BadRequestError: a value of the selection does not fit, the null is asked for but missing,
            or a table for the clique rule is missing.

    Source: Dravid et al. 2023 (arXiv:2306.09346). Differs: rules by name, nulls beside all scores.
    """
    real = {name: table.real for name, table in tables.items()}
    found = stars(real, selection.rule, selection.k, real_cross(cross))
    limit = threshold(null_minima(tables), selection.q)
    kept = _passing(found, selection, tables)
    columns = {n: list(partners(tables[n], p, backbones[n])) for n, p in found.pairs.items()}
    neurons = [
        RosettaNeuron(
            anchor=anchors.unit(int(found.anchors[at])),
            partners={name: column[at] for name, column in columns.items()},
            above_null=bool(found.score_min[at] > limit),
        )
        for at in kept
    ]
    return sorted(neurons, key=lambda neuron: -neuron.score_min)


def count_in_null(
    tables: Mapping[str, TableNeighbours],
    selection: Selection,
    cross: Mapping[tuple[str, str], TableNeighbours] | None = None,
) -> int | None:
    """How many Rosetta Neurons the same selection finds with shuffled images; None without a null.

    All backbones see the same shuffled image, so their tables with each other are the real ones.
    """
    nulls = {name: table.null for name, table in tables.items() if table.null is not None}
    if not nulls or len(nulls) < len(tables):
        return None
    found = stars(nulls, selection.rule, selection.k, real_cross(cross))
    return len(_passing(found, selection, tables))


def real_cross(cross: Mapping[tuple[str, str], TableNeighbours] | None) -> Cross:
    """The real neighbours of the backbones' tables with each other."""
    return {names: table.real for names, table in (cross or {}).items()}


def _passing(
    found: Stars, selection: Selection, tables: Mapping[str, TableNeighbours]
) -> NDArray[np.intp]:
    keep = found.score_min >= selection.lowest
    if selection.above_null:
        _need_null(tables.values())
        keep &= found.score_min > threshold(null_minima(tables), selection.q)
    return np.flatnonzero(keep)


def _need_null(tables: Iterable[TableNeighbours]) -> None:
    if any(table.null is None for table in tables):
        raise BadRequestError(
            "This result has no null: it was imported, or of fewer than 2 images.",
            "Match more images, or do not ask for matches above the null only.",
        )
