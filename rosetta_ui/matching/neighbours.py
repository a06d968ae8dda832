"""The best partners of every unit in one table. Knows numpy arrays only, no torch and no files.

Every matching rule and every report works on these, so whole tables may stay on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Which = Literal["real", "null", "half0", "half1"]

WHICH: tuple[Which, ...] = ("real", "null", "half0", "half1")


@dataclass(frozen=True)
class Neighbours:
    """The k best columns of every row and the k best rows of every column, best first.

    Ties go to the lower number. Entries without a partner (the unit is dead, or fewer than k
    partners are alive) have index -1 and score -inf.

    Attributes:
        row_index: [rows, k] int32, column numbers.
        row_score: [rows, k] float32, correlations in [-1, 1].
        col_index: [cols, k] int32, row numbers.
        col_score: [cols, k] float32.
    """

    row_index: NDArray[np.int32]
    row_score: NDArray[np.float32]
    col_index: NDArray[np.int32]
    col_score: NDArray[np.float32]

    @property
    def k(self) -> int:
        """Partners kept for every unit."""
        return int(self.row_index.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns of the table."""
        return int(self.row_index.shape[0]), int(self.col_index.shape[0])

    @property
    def dead_rows(self) -> NDArray[np.bool_]:
        """[rows]: rows that have no partner at all."""
        return self.row_index[:, 0] < 0

    @property
    def dead_cols(self) -> NDArray[np.bool_]:
        """[cols]: columns that have no partner at all."""
        return self.col_index[:, 0] < 0

    def transposed(self) -> Neighbours:
        """The same table seen from the other side."""
        return Neighbours(self.col_index, self.col_score, self.row_index, self.row_score)
