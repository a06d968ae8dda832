"""One pair of models: scores, streamed in blocks of rows, and the best partners of every unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.matching.files import zeroed_file
from rosetta_ui.matching.neighbours import Neighbours, Which
from rosetta_ui.types import LayerSpec

_BLOCK_BYTES = 64 << 20


class BlockSource(Protocol):
    """What makes the scores of a pair."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the scores."""
        ...

    @property
    def device(self) -> torch.device:
        """Where blocks are made."""
        ...

    def dead(self, side: int, score: str, which: Which) -> Tensor:
        """[units] bool: units of the rows (0) or columns (1) whose score is undefined."""
        ...

    def fill(self, out: Tensor, score: str, which: Which, layer: int, first: int) -> None:
        """Write the scores of channels first, first + 1, … of a layer of the rows."""
        ...


class PairTables:
    """Scores of every unit of one model (rows) with every unit of another (columns).

    Attributes:
        rows, cols: the layers whose channels are the rows and columns, in flat `UnitIndex` order.
        n_images: images that were counted.
        has_null, has_halves: whether `which` may be null, half0 or half1.
        score_names: what may be asked for: pearson and centred, or published.
    """

    def __init__(  # noqa: PLR0913 - built in two places only
        self,
        rows: Sequence[LayerSpec],
        cols: Sequence[LayerSpec],
        source: BlockSource,
        *,
        n_images: int,
        has_null: bool,
        has_halves: bool,
        score_names: tuple[str, ...] = ("pearson", "centred"),
    ) -> None:
        self.rows, self.cols = tuple(rows), tuple(cols)
        self.n_images, self.has_null, self.has_halves = n_images, has_null, has_halves
        self.score_names = score_names
        self._source = source

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return sum(s.channels for s in self.rows), sum(s.channels for s in self.cols)

    def dead_rows(self, score: str = "pearson", which: Which = "real") -> NDArray[np.bool_]:
        """[rows]: units whose score is undefined."""
        self._check(score, which)
        return self._source.dead(0, score, which).cpu().numpy()

    def dead_cols(self, score: str = "pearson", which: Which = "real") -> NDArray[np.bool_]:
        """[cols]: units whose score is undefined."""
        self._check(score, which)
        return self._source.dead(1, score, which).cpu().numpy()

    def scores(self, score: str = "pearson", which: Which = "real") -> Tensor:
        """The whole table [rows, cols] on the device; -inf where a unit is dead, never NaN.

        Raises:
            ValueError: there is no such score or no such set.
        """
        table = torch.empty(self.shape, dtype=self._source.dtype, device=self._source.device)
        for first, block in self.blocks(score, which):
            table[first : first + block.shape[0]] = block
        return table

    def blocks(
        self, score: str = "pearson", which: Which = "real", rows_per_block: int | None = None
    ) -> Iterator[tuple[int, Tensor]]:
        """The table in blocks of rows, in order.

        Args:
            score: pearson, centred or published.
            which: real, null, half0 or half1.
            rows_per_block: at most so many; a block never crosses a layer.

        Yields:
            Number of the first row, and [rows of the block, cols] on the device, -inf where a unit
            is dead. A block is only valid until the next one is asked for.

        Raises:
            ValueError: there is no such score or no such set.
        """
        self._check(score, which)
        return self._blocks(score, which, rows_per_block)

    def _blocks(
        self, score: str, which: Which, rows_per_block: int | None
    ) -> Iterator[tuple[int, Tensor]]:
        source, n_cols = self._source, self.shape[1]
        fitting = max(1, _BLOCK_BYTES // (n_cols * source.dtype.itemsize))
        step = fitting if rows_per_block is None else rows_per_block
        dead_rows = source.dead(0, score, which)
        dead_cols = source.dead(1, score, which)
        buffer = torch.empty(
            min(step, max(s.channels for s in self.rows)),
            n_cols,
            dtype=source.dtype,
            device=source.device,
        )
        row = 0
        for layer, spec in enumerate(self.rows):
            for first in range(0, spec.channels, step):
                block = buffer[: min(step, spec.channels - first)]
                source.fill(block, score, which, layer, first)
                block.clamp_(-1, 1)
                block.masked_fill_(dead_rows[row : row + len(block), None], -torch.inf)
                block.masked_fill_(dead_cols[None, :], -torch.inf)
                yield row, block
                row += len(block)

    def _check(self, score: str, which: Which) -> None:
        if score not in self.score_names:
            raise ValueError(f"there is no score '{score}'; there is {', '.join(self.score_names)}")
        if which == "null" and not self.has_null:
            raise ValueError("these tables have no null")
        if which in ("half0", "half1") and not self.has_halves:
            raise ValueError("these tables have no halves")

    def neighbours(self, score: str = "pearson", k: int = 32, which: Which = "real") -> Neighbours:
        """The k best partners of every unit, found block by block.

        Args:
            score: pearson, centred or published.
            k: partners; k + 1 equally good ones leave it open which is kept.
            which: real, null, half0 or half1.

        Raises:
            ValueError: k is below 1, or there is no such score or no such set.
        """
        if k < 1:
            raise ValueError(f"k is {k}, but must be at least 1")
        n_rows, n_cols = self.shape
        rows, cols = _Best(n_rows, k), _Best(n_cols, k)
        for first, block in self.blocks(score, which):
            rows.put(first, block)
            cols.merge(first, block)
        return Neighbours(*rows.arrays(), *cols.arrays())

    def save(
        self,
        path: Path,
        score: str = "pearson",
        which: Which = "real",
        dtype: Literal["float32", "float16"] = "float32",
    ) -> float:
        """Write the table to a .npy file that can be memory-mapped.

        Args:
            path: replaced where it exists.
            score: pearson, centred or published.
            which: real, null, half0 or half1.
            dtype: of the file.

        Returns:
            The largest difference between the file and the scores.

        Raises:
            StoreError: the file cannot be made.
            ValueError: there is no such score or no such set.
        """
        self._check(score, which)
        file = zeroed_file(path, self.shape, getattr(torch, dtype))
        error = 0.0
        for first, block in self.blocks(score, which):
            written = file[first : first + len(block)]
            written.copy_(block)
            if written.dtype != block.dtype:
                # Both are -inf where a unit is dead, and their difference is NaN there.
                off = (written.to(block.dtype) - block.cpu()).abs_().nan_to_num_(0.0)
                error = max(error, float(off.max()))
        return error


class _Best:
    """The k best so far of every unit of one side."""

    def __init__(self, units: int, k: int) -> None:
        self._k = k
        self._index = np.full((units, k), -1, dtype=np.int32)
        self._score = np.full((units, k), -np.inf, dtype=np.float32)
        self._running: tuple[Tensor, Tensor] | None = None

    def put(self, first: int, block: Tensor) -> None:
        """Take whole rows."""
        values, index = torch.topk(block, min(self._k, block.shape[1]), dim=1)
        self._write(slice(first, first + len(block)), values, index)

    def merge(self, first: int, block: Tensor) -> None:
        """Take a part of every column."""
        values, index = torch.topk(block.T.contiguous(), min(self._k, len(block)), dim=1)
        index += first
        if self._running is not None:
            values = torch.cat([self._running[0], values], dim=1)
            index = torch.cat([self._running[1], index], dim=1)
            values, order = torch.topk(values, min(self._k, values.shape[1]), dim=1)
            index = index.gather(1, order)
        self._running = values, index

    def _write(self, units: slice, values: Tensor, index: Tensor) -> None:
        found = values.shape[1]
        score, number = values.cpu().numpy(), index.cpu().numpy()
        # Best first, and the lower number first among equal ones.
        order = np.lexsort((number, -score), axis=1)
        score, number = np.take_along_axis(score, order, 1), np.take_along_axis(number, order, 1)
        self._score[units, :found] = score
        self._index[units, :found] = np.where(np.isneginf(score), -1, number)

    def arrays(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Index and score, [units, k]."""
        if self._running is not None:
            self._write(slice(None), *self._running)
        return self._index, self._score
