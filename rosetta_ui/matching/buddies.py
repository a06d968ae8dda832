"""Best buddies: units of two models that have each other among their nearest neighbours.

Works on the kept neighbours of a table, never on the table. Dead units have no neighbours (index
-1), so they are in no pair. Places (ranks) count from 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import BadRequestError
from rosetta_ui.types import RuleName

if TYPE_CHECKING:
    from rosetta_ui.matching.neighbours import Neighbours


@dataclass(frozen=True)
class BestBuddies:
    """Mutual nearest neighbours in one table, row by row, best column first.

    Attributes:
        rows, cols: int32 [n] flat numbers.
        scores: float32 [n].
        row_ranks: int32 [n], the column's place among the row's neighbours.
        col_ranks: int32 [n], the row's place among the column's neighbours.
        k_rows: how many neighbours of a row were looked at.
        k_cols: how many neighbours of a column were looked at.
    """

    rows: NDArray[np.int32]
    cols: NDArray[np.int32]
    scores: NDArray[np.float32]
    row_ranks: NDArray[np.int32]
    col_ranks: NDArray[np.int32]
    k_rows: int
    k_cols: int

    def __len__(self) -> int:
        return len(self.rows)

    def best_of_each_row(self) -> BestBuddies:
        """Only the highest-scoring partner of every row."""
        # Pairs lie row by row, best column first: the first of each row is its best.
        first = np.ones(len(self.rows), bool)
        first[1:] = self.rows[1:] != self.rows[:-1]
        return self.where(first)

    def where(self, keep: NDArray[np.bool_]) -> BestBuddies:
        """Only the pairs that a mask [n] keeps."""
        return BestBuddies(
            self.rows[keep],
            self.cols[keep],
            self.scores[keep],
            self.row_ranks[keep],
            self.col_ranks[keep],
            self.k_rows,
            self.k_cols,
        )

    def as_set(self) -> set[tuple[int, int]]:
        """The pairs as (row, column) numbers."""
        return set(zip(self.rows.tolist(), self.cols.tolist(), strict=True))


def mutual(neighbours: Neighbours, k_rows: int, k_cols: int) -> BestBuddies:
    """Pairs where the column is among the row's `k_rows` best and the row among its `k_cols` best.

    Args:
        neighbours: of one table; equal scores stand in the order in which it keeps them.
        k_rows: neighbours of a row to look at, at least 1; more than there are columns means all.
        k_cols: neighbours of a column to look at, likewise.

    Raises:
        BadRequestError: a K below 1, or above what was kept of a larger table.
    """
    _check_k(k_rows, neighbours.row_index.shape[1], len(neighbours.col_index))
    _check_k(k_cols, neighbours.col_index.shape[1], len(neighbours.row_index))
    row_index = neighbours.row_index[:, :k_rows]
    rows, places = np.nonzero(row_index >= 0)
    cols = row_index[rows, places]
    # [candidates, k_cols]: 24 M comparisons for 23,296 rows at K = 32, so no loop is needed.
    answers = neighbours.col_index[cols, :k_cols] == rows[:, None]
    kept = answers.any(1)
    rows, places, cols = rows[kept], places[kept], cols[kept]
    return BestBuddies(
        rows=rows.astype(np.int32),
        cols=cols.astype(np.int32),
        scores=neighbours.row_score[rows, places].astype(np.float32),
        row_ranks=(places + 1).astype(np.int32),
        col_ranks=(answers[kept].argmax(1) + 1).astype(np.int32),
        k_rows=k_rows,
        k_cols=k_cols,
    )


def published(neighbours: Neighbours, k: int) -> BestBuddies:
    """The published, asymmetric rule: a row's best column, kept if the row is among its `k` best.

    Raises:
        BadRequestError: K is below 1, or above what was kept of a larger table.

    Source: Dravid et al. 2023 (arXiv:2306.09346), whose code uses K = 5.
    """
    return mutual(neighbours, k_rows=1, k_cols=k)


def by_rule(neighbours: Neighbours, rule: RuleName, k: int) -> BestBuddies:
    """The pairs of one table under a rule by name; one table alone cannot tell clique from mutual.

    Raises:
        BadRequestError: K is below 1, or above what was kept of a larger table.
    """
    return published(neighbours, k) if rule == "published" else mutual(neighbours, k, k)


def largest_k(neighbours: Neighbours, rule: RuleName) -> int:
    """The largest K of a rule that the kept neighbours of a table allow."""
    cols = neighbours.col_index.shape[1]
    return cols if rule == "published" else min(neighbours.row_index.shape[1], cols)


def jaccard(a: BestBuddies, b: BestBuddies) -> float:
    """Pairs found in both as a share of pairs found in either; NaN where neither has any."""
    first, second = a.as_set(), b.as_set()
    either = len(first | second)
    return len(first & second) / either if either else float("nan")


def _check_k(k: int, kept: int, units: int) -> None:
    if k < 1:
        raise BadRequestError(f"K is {k}.", "Give a K of 1 or more.")
    if k > kept and kept < units:
        raise BadRequestError(
            f"K is {k}, but this result keeps the {kept} nearest neighbours of each unit.",
            f"Give a K from 1 to {kept}.",
        )
