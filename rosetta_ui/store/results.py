"""The folder that a match leaves: written by `ResultWriter`, read by `ResultFolder`.

    result.json                        inputs with digests, units by layer, summary, timings
    pairs.csv                          anchor, partner, scores, null, rank, halves
    scores-<backbone>.npy              float32 [anchor units, backbone units], -inf where dead
    scores-<backbone>-centred.npy      the position-centred scores
    neighbours-<backbone>.safetensors  best K of rows and columns: table, null, halves, snapshots
    dead-<model>.npy                   bool [units]
    stats-<model>.safetensors          per layer: mean, deviation, kurtosis, low, high
    views-<model>.safetensors          uint8 maps of matched units on some images
    previews.webp                      pictures, 64 a sheet (previews-1.webp, ... hold the rest)

Tables, views and previews may be missing: the bundled dictionary keeps neighbours and views only.
Nothing here is ever unpickled; opening a result needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.store.record import ModelRecord, ResultRecord, Which
from rosetta_ui.types import MatchRequest, ResultInfo, ScoreName, UnitIndex


class NeighbourArrays(Protocol):
    """The four arrays of `rosetta_ui.matching.neighbours.Neighbours`."""

    @property
    def row_index(self) -> NDArray[np.int32]:
        """[rows, k] columns, best first; -1 where there is none."""
        ...

    @property
    def row_score(self) -> NDArray[np.float32]:
        """[rows, k]; -inf where there is none."""
        ...

    @property
    def col_index(self) -> NDArray[np.int32]:
        """[cols, k] rows, best first; -1 where there is none."""
        ...

    @property
    def col_score(self) -> NDArray[np.float32]:
        """[cols, k]; -inf where there is none."""
        ...


@dataclass(frozen=True)
class UnitStats:
    """Statistics of one model's units over the data set, float32 [units] each, flat order.

    Attributes:
        mean, deviation: over all images and positions of the native map.
        kurtosis: excess kurtosis, NaN for dead units.
        low, high: the range that 0 and 255 of a view stand for.
    """

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    kurtosis: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]


@dataclass(frozen=True)
class ModelViews:
    """Small maps of some units of one model.

    Attributes:
        units: int32 [n] flat numbers, ascending.
        maps: uint8 [n, images, 16, 16]; 0 is `low`, 255 is `high`.
        low, high: float32 [n].
    """

    units: NDArray[np.int32]
    maps: NDArray[np.uint8]
    low: NDArray[np.float32]
    high: NDArray[np.float32]

    def row(self, flat: int) -> int | None:
        """The place of a unit in `units`, or None where its maps are not kept."""
        at = int(np.searchsorted(self.units, flat))
        return at if at < len(self.units) and int(self.units[at]) == flat else None


@dataclass(frozen=True)
class Views:
    """Small maps of matched units of every model, all on the same images.

    Attributes:
        images: int32 [v] numbers of the images.
        models: by model name.
    """

    images: NDArray[np.int32]
    models: Mapping[str, ModelViews]


class ResultWriter:
    """Writes a result folder, each file atomically and `result.json` last.

    A folder without `result.json` is unfinished and never read. Memory stays at one block of a
    table. Every method raises StoreError with one sentence where the disk is full or read-only.

    Args:
        folder: made where it is missing; must be empty, or hold an earlier result (replaced).
        request: what was asked.
        models: the anchor model first.
        title: for people; a default is made from the request.
        created: seconds since the epoch; now by default.

    Raises:
        StoreError: the folder holds other files or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        request: MatchRequest,
        models: Sequence[ModelRecord],
        *,
        title: str = "",
        created: float | None = None,
    ) -> None:
        raise NotImplementedError

    def add_scores(
        self,
        rows: str,
        cols: str,
        score: ScoreName,
        blocks: Iterable[NDArray[np.floating]],
        dtype: Literal["float32", "float16"] = "float32",
    ) -> None:
        """Stream one whole table to disk.

        Args:
            rows: name of the model on the rows.
            cols: name of the model on the columns.
            score: which score.
            blocks: consecutive blocks of rows, each [b, columns]; -inf where a unit is dead.
            dtype: float16 halves the file and is off by up to 2.5e-4 (scores in 0.5 to 1).

        Raises:
            ValueError: the blocks do not make up the table.
        """
        raise NotImplementedError

    def add_neighbours(
        self,
        rows: str,
        cols: str,
        score: ScoreName,
        neighbours: Mapping[Which, NeighbourArrays],
        row_halves: NDArray[np.float32] | None = None,
    ) -> None:
        """Keep the best K of every row and column.

        Args:
            rows: name of the model on the rows.
            cols: name of the model on the columns.
            score: which score.
            neighbours: "real" always; "null", "half0" and "half1" where there are any; the
                snapshots "at_n8", "at_n4", "at_n2" of the convergence (rows are enough for them:
                a small K, such as 5, is what the report needs).
            row_halves: float32 [2, rows, k], scores of the real row neighbours in each half;
                without it a pair's halves are known only where each half has it in its K best.
        """
        raise NotImplementedError

    def add_dead(self, model: str, mask: NDArray[np.bool_], score: ScoreName = "pearson") -> None:
        """Keep which units never vary: bool [units]."""
        raise NotImplementedError

    def add_stats(self, model: str, stats: UnitStats) -> None:
        """Keep one model's statistics, layer by layer."""
        raise NotImplementedError

    def add_previews(self, pictures: Iterable[NDArray[np.uint8]]) -> None:
        """Keep the pictures of images 0, 1, ...: HWC uint8, all of one size, sides ≤ 256."""
        raise NotImplementedError

    def add_views(self, views: Views) -> None:
        """Keep small maps of matched units."""
        raise NotImplementedError

    def finish(
        self,
        *,
        inputs: Mapping[str, Any] | None = None,
        snapshots: Mapping[Which, int] | None = None,
        timings: Mapping[str, float] | None = None,
        summary: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        partial: bool = False,
    ) -> ResultFolder:
        """Write `result.json` and open the folder; see `ResultRecord` for the arguments.

        `pairs.csv` is written by `rosetta_ui.matching.answers.write_pairs`, before this.
        """
        raise NotImplementedError


class ResultFolder:
    """Reads a result folder; arrays come from the disk when they are asked for.

    Safe to use from several threads. Every method raises StoreError where a file is missing or not
    the one that `result.json` names.

    Attributes:
        path: the folder.
        record: what `result.json` says, checked.
    """

    path: Path
    record: ResultRecord

    @classmethod
    def open(cls, path: Path) -> ResultFolder:
        """Open and check a result folder (its files' names and sizes; contents when they are read).

        Raises:
            StoreError: there is no finished result, or it is damaged: which file, what to do.
            StaleCacheError: it was made by another version of the format.
        """
        raise NotImplementedError

    @property
    def request(self) -> MatchRequest:
        """What was asked."""
        return self.record.request

    def index(self, model: str) -> UnitIndex:
        """The units of one model.

        Raises:
            UnknownModelError: the result has no such model.
        """
        raise NotImplementedError

    def indexes(self) -> dict[str, UnitIndex]:
        """The units of every model, the anchor model first."""
        raise NotImplementedError

    def neighbours(
        self, rows: str, cols: str, score: ScoreName, which: Which = "real"
    ) -> dict[str, NDArray[Any]] | None:
        """row_index, row_score, col_index and col_score, or None where they are not kept.

        `matching.answers.tables` builds `Neighbours` from them.

        Raises:
            BadRequestError: the result has no such table or score.
        """
        raise NotImplementedError

    def row_halves(self, rows: str, cols: str, score: ScoreName) -> NDArray[np.float32] | None:
        """float32 [2, rows, k]: scores of the real row neighbours in each half, or None."""
        raise NotImplementedError

    def scores(self, rows: str, cols: str, score: ScoreName) -> NDArray[np.floating] | None:
        """The whole table, memory-mapped [rows, columns], or None where it is not kept."""
        raise NotImplementedError

    def dead(self, model: str, score: ScoreName = "pearson") -> NDArray[np.bool_]:
        """Units that never vary: bool [units]; all False where nothing is kept."""
        raise NotImplementedError

    def stats(self, model: str) -> UnitStats | None:
        """One model's statistics, or None where they are not kept."""
        raise NotImplementedError

    def views(self) -> Views | None:
        """Small maps of matched units, or None where none are kept; read once and remembered."""
        raise NotImplementedError

    def preview(self, image: int) -> NDArray[np.uint8]:
        """The picture of one image: HWC uint8.

        Raises:
            BadRequestError: no picture of this image is kept.
        """
        raise NotImplementedError

    def verify(self) -> None:
        """Compare every file with its digest.

        Raises:
            StoreError: a file is damaged: which.
        """
        raise NotImplementedError


class ResultShelf:
    """The list of results: those that came with the project, then those in the store.

    Ids are folder names; a path of a result folder outside the store is taken as an id as well.

    Args:
        store: a `rosetta_ui.store.store.Store`.
        bundled: folders that hold bundled results, such as `assets/`.
    """

    def __init__(self, store: Any, bundled: Sequence[Path] = ()) -> None:
        raise NotImplementedError

    def list(self) -> list[ResultInfo]:
        """Every readable result: bundled first, then newest first; damaged ones are logged."""
        raise NotImplementedError

    def open(self, result: str) -> ResultFolder:
        """Open a result by id or path; the same folder object while it does not change.

        Raises:
            StoreError: there is no such result, or it is damaged.
        """
        raise NotImplementedError

    def keep(self, result: str, saved: bool) -> None:
        """Take a result out of the cache's budget, or put it back."""
        raise NotImplementedError

    def rename(self, result: str, title: str) -> None:
        """Give a result another title, 1 to 120 characters."""
        raise NotImplementedError

    def delete(self, result: str) -> None:
        """Remove a result; bundled ones and folders outside the store are refused."""
        raise NotImplementedError
