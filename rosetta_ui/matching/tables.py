"""One pair of models: scores, streamed in blocks of rows, and the best partners of every unit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.matching.neighbours import Neighbours, Which
from rosetta_ui.types import LayerSpec, ScoreName


class PairTables:
    """Scores of every unit of one model (rows) with every unit of another (columns).

    Attributes:
        rows, cols: the layers whose channels are the rows and columns, in flat `UnitIndex` order.
        n_images: images that were counted.
        has_null, has_halves: whether `which` may be null, half0 or half1.
    """

    rows: tuple[LayerSpec, ...]
    cols: tuple[LayerSpec, ...]
    n_images: int
    has_null: bool
    has_halves: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        raise NotImplementedError

    def dead_rows(self, score: ScoreName = "pearson") -> NDArray[np.bool_]:
        """[rows]: units whose score is undefined."""
        raise NotImplementedError

    def dead_cols(self, score: ScoreName = "pearson") -> NDArray[np.bool_]:
        """[cols]: units whose score is undefined."""
        raise NotImplementedError

    def scores(self, score: ScoreName = "pearson", which: Which = "real") -> Tensor:
        """The whole table [rows, cols] on the device; -inf where a unit is dead, never NaN."""
        raise NotImplementedError

    def blocks(
        self,
        score: ScoreName = "pearson",
        which: Which = "real",
        rows_per_block: int | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """The table in blocks of rows: (first row, [rows of the block, cols]).

        A block is only valid until the next one is asked for.
        """
        raise NotImplementedError

    def neighbours(
        self, score: ScoreName = "pearson", k: int = 32, which: Which = "real"
    ) -> Neighbours:
        """The k best partners of every unit, found block by block."""
        raise NotImplementedError

    def save(
        self,
        path: Path,
        score: ScoreName = "pearson",
        which: Which = "real",
        dtype: Literal["float32", "float16"] = "float32",
    ) -> float:
        """Write the table to a .npy file that can be memory-mapped; returns the rounding error."""
        raise NotImplementedError
