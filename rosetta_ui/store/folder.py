"""Reading a result folder; see `rosetta_ui.store.results` for its layout."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import BadRequestError, StoreError, UnknownModelError
from rosetta_ui.store import compact
from rosetta_ui.store.arrays import (
    NEIGHBOUR_NAMES,
    STAT_NAMES,
    VIEW_SIDE,
    ModelViews,
    UnitStats,
    Views,
)
from rosetta_ui.store.files import map_npy, read_arrays, read_json, said_plainly, seal_of
from rosetta_ui.store.pictures import decode_sheet
from rosetta_ui.store.record import (
    ModelRecord,
    ResultRecord,
    TableRecord,
    Which,
    file_part,
    score_part,
    table_part,
)
from rosetta_ui.types import MatchRequest, ScoreName, UnitIndex

RECORD = "result.json"
SHEET_TILES = 64
SHEET_COLUMNS = 8
_SHEETS_KEPT = 4


def sheet_name(sheet: int) -> str:
    """File of a sheet of previews."""
    return "previews.webp" if sheet == 0 else f"previews-{sheet}.webp"


class ResultFolder:
    """Reads a result folder; arrays come from the disk when they are asked for.

    Safe to use from several threads. Every method raises StoreError where a file is missing or not
    the one that `result.json` names. Digests are compared when a file is first read; whole tables
    are memory-mapped and only their header and size are compared (`verify` reads them in full).

    Attributes:
        path: the folder.
        record: what `result.json` says, checked.
    """

    def __init__(self, path: Path, record: ResultRecord) -> None:
        self.path = path
        self.record = record
        self._models = {model.name: model for model in record.models}
        self._tables = {(table.rows, table.cols): table for table in record.tables}
        self._lock = threading.RLock()
        self._checked: set[str] = set()
        self._views: Views | None = None
        self._unpacked: dict[str, dict[str, NDArray[Any]]] = {}
        self._sheets: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()

    @classmethod
    def open(cls, path: Path) -> ResultFolder:
        """Open and check a result folder (its files' names and sizes; contents when they are read).

        Raises:
            StoreError: there is no finished result, or it is damaged: which file, what to do.
            StaleCacheError: it was made by another version of the format.
        """
        if not path.is_dir():
            raise StoreError(f"There is no result folder '{path}'.", "Give match's --out folder.")
        if not (path / RECORD).is_file():
            raise StoreError(
                f"'{path}' holds no finished result: it has no {RECORD}.",
                "Run the same match again; it goes on where it stopped.",
            )
        try:
            record = ResultRecord.from_json(read_json(path / RECORD))
        except StoreError as error:
            raise type(error)(f"'{path}' cannot be opened: {error.message}", error.hint) from error
        folder = cls(path, record)
        for name in record.files:
            folder._check_size(name)
        return folder

    @property
    def request(self) -> MatchRequest:
        """What was asked."""
        return self.record.request

    @property
    def anchor(self) -> str:
        """Name of the anchor model."""
        return self.record.anchor.name

    @property
    def backbones(self) -> list[str]:
        """Names of the other models."""
        return [model.name for model in self.record.backbones]

    def model(self, name: str) -> ModelRecord:
        """One model of the result.

        Raises:
            UnknownModelError: the result has no such model.
        """
        if name not in self._models:
            raise UnknownModelError(name, self._models)
        return self._models[name]

    def index(self, model: str) -> UnitIndex:
        """The units of one model.

        Raises:
            UnknownModelError: the result has no such model.
        """
        return self.model(model).index

    def indexes(self) -> dict[str, UnitIndex]:
        """The units of every model, the anchor model first."""
        return {name: model.index for name, model in self._models.items()}

    def table(self, rows: str, cols: str, score: ScoreName) -> TableRecord:
        """What is kept of one table.

        Raises:
            UnknownModelError: the result has no such model.
            BadRequestError: the result has no such table or score.
        """
        for name in (rows, cols):
            self.model(name)
        table = self._tables.get((rows, cols))
        if table is None:
            raise BadRequestError(f"This result has no table of {rows} with {cols}.")
        if score not in table.kept:
            raise BadRequestError(
                f"This result has no '{score}' scores of {rows} with {cols}.",
                f"It has {', '.join(table.kept)}.",
            )
        return table

    def neighbours(
        self, rows: str, cols: str, score: ScoreName, which: Which = "real"
    ) -> dict[str, NDArray[Any]] | None:
        """row_index, row_score, col_index and col_score, or None where they are not kept.

        `matching.answers.tables` builds `Neighbours` from them.

        Raises:
            BadRequestError: the result has no such table or score.
        """
        if which not in self.table(rows, cols, score).kept[score]:
            return None
        stored = self._stored(rows, cols, score, f"{which}/")
        n_rows, n_cols = len(self.index(rows)), len(self.index(cols))
        small = "cols" in stored
        arrays = compact.unpacked(stored, n_cols) if small else stored
        complete = all(name in arrays for name in NEIGHBOUR_NAMES)
        if not complete or not _fits([arrays[n].shape for n in NEIGHBOUR_NAMES], n_rows, n_cols):
            raise self._damaged(f"the neighbours of {rows} and {cols}")
        if not (
            _numbers_fit(arrays["row_index"], arrays["row_score"], n_cols)
            and _numbers_fit(arrays["col_index"], arrays["col_score"], n_rows, unknown=small)
        ):
            raise self._damaged(f"the neighbours of {rows} and {cols}")
        return arrays

    def row_halves(self, rows: str, cols: str, score: ScoreName) -> NDArray[np.float32] | None:
        """float32 [2, rows, k]: scores of the real row neighbours in each half, or None."""
        self.table(rows, cols, score)
        stored = self._stored(rows, cols, score, "row_halves")
        if not stored:
            return None
        halves = stored.get("")
        if "_steps" in stored:
            real = self.neighbours(rows, cols, score) or {}
            halves = compact.unpacked_halves(stored["_steps"], real["row_score"])
        if halves is None or halves.ndim != 3 or halves.shape[:2] != (2, len(self.index(rows))):
            raise self._damaged(f"the halves of {rows} and {cols}")
        return halves.astype(np.float32, copy=False)

    def scores(self, rows: str, cols: str, score: ScoreName) -> NDArray[Any] | None:
        """The whole table, memory-mapped [rows, columns], or None where it is not kept."""
        if score not in self.table(rows, cols, score).whole:
            return None
        name = f"scores-{table_part(rows, cols, self.anchor)}{score_part(score)}.npy"
        self._check_size(name)
        return map_npy(self._inside(name), (len(self.index(rows)), len(self.index(cols))))

    def dead(self, model: str, score: ScoreName = "pearson") -> NDArray[np.bool_]:
        """Units that never vary: bool [units]; all False where nothing is kept."""
        n_units = len(self.index(model))
        name = f"dead-{file_part(model)}{score_part(score)}.npy"
        if name not in self.record.files:
            return np.zeros(n_units, bool)
        self._check_digest(name)
        return np.asarray(map_npy(self._inside(name), (n_units,))).astype(bool)

    def stats(self, model: str) -> UnitStats | None:
        """One model's statistics, or None where they are not kept."""
        index = self.index(model)
        name = f"stats-{file_part(model)}.safetensors"
        if not self._has(name):
            return None
        arrays = self._arrays(name)
        columns: dict[str, NDArray[np.float32]] = {}
        for stat in STAT_NAMES:
            parts = [arrays.get(f"{spec.name}/{stat}") for spec in index.layers]
            joined = [part.ravel() for part in parts if part is not None]
            if not joined and stat in ("low", "high"):  # left out of small folders
                joined = [np.full(len(index), np.nan)]
            columns[stat] = np.concatenate([*joined, np.zeros(0)]).astype(np.float32)
            if len(columns[stat]) != len(index):
                raise self._damaged(name)
        return UnitStats(**columns)

    def views(self) -> Views | None:
        """Small maps of matched units, or None where none are kept; read once and remembered."""
        with self._lock:
            if self._views is None and "views.safetensors" in self.record.files:
                images = self._arrays("views.safetensors").get("images", np.zeros(0))
                if images.ndim != 1 or images.dtype.kind != "i" or not 0 < len(images) <= 1024:
                    raise self._damaged("views.safetensors")
                models = {name: self._model_views(name, len(images)) for name in self._models}
                self._views = Views(images.astype(np.int32), models)
            return self._views

    def preview(self, image: int) -> NDArray[np.uint8]:
        """The picture of one image: HWC uint8.

        Raises:
            BadRequestError: no picture of this image is kept.
        """
        count = self.record.previews
        if not 0 <= image < count:
            raise BadRequestError(
                f"No picture of image {image} is kept.",
                f"Pictures 0 to {count - 1} are." if count else "This result keeps none.",
            )
        with self._lock:
            sheet = image // SHEET_TILES
            if sheet not in self._sheets:
                name = sheet_name(sheet)
                self._check_digest(name)
                with said_plainly(self.path / name, "read"):
                    data = self._inside(name).read_bytes()
                tiles = min(SHEET_TILES, count - sheet * SHEET_TILES)
                size = self.record.preview_size
                self._sheets[sheet] = decode_sheet(data, tiles, min(tiles, SHEET_COLUMNS), size)
                while len(self._sheets) > _SHEETS_KEPT:
                    self._sheets.popitem(last=False)
            self._sheets.move_to_end(sheet)
            return self._sheets[sheet][image % SHEET_TILES].copy()

    def content(self, name: str) -> bytes:
        """The bytes of one of the folder's own files, such as an imported dictionary.

        Raises:
            StoreError: it is missing or damaged.
        """
        self._check_digest(name)
        with said_plainly(self.path / name, "read"):
            return self._inside(name).read_bytes()

    def verify(self) -> None:
        """Compare every file with its digest.

        Raises:
            StoreError: a file is damaged: which.
        """
        self._checked.clear()
        for name in self.record.files:
            self._check_digest(name)

    def _model_views(self, model: str, images: int) -> ModelViews:
        name = f"views-{file_part(model)}.safetensors"
        arrays = self._arrays(name)
        if not {"units", "low", "high"} <= set(arrays):
            raise self._damaged(name)
        units = arrays["units"].astype(np.int32).ravel()
        maps = compact.maps(arrays, len(units), images) if "sheet0" in arrays else arrays["maps"]
        n_units = len(self.index(model))
        sorted_inside = bool(
            not len(units) or (units[0] >= 0 and units[-1] < n_units and (np.diff(units) > 0).all())
        )
        shape = (len(units), images, VIEW_SIDE, VIEW_SIDE)
        if not sorted_inside or maps.shape != shape or maps.dtype != np.uint8:
            raise self._damaged(name)
        low, high = (arrays[side].astype(np.float32).ravel() for side in ("low", "high"))
        if len(low) != len(units) or len(high) != len(units):
            raise self._damaged(name)
        return ModelViews(units, maps, low, high)

    def _stored(
        self, rows: str, cols: str, score: ScoreName, prefix: str
    ) -> dict[str, NDArray[Any]]:
        """Arrays of a table's neighbours whose names start with a prefix, without it."""
        name = f"neighbours-{table_part(rows, cols, self.anchor)}{score_part(score)}.safetensors"
        return {key[len(prefix) :]: array for key, array in self._arrays(name, prefix).items()}

    def _has(self, name: str) -> bool:
        return name in self.record.files or f"{name}.xz" in self.record.files

    def _arrays(self, name: str, prefix: str = "") -> dict[str, NDArray[Any]]:
        """Arrays of a safetensors file, plain or compressed, whose names start with a prefix."""
        small = f"{name}.xz"
        if small not in self.record.files:
            self._check_digest(name)
            return read_arrays(self._inside(name), prefix)
        with self._lock:  # unpacked once: a rule reads the table, its null and its halves
            if small not in self._unpacked:
                self._check_digest(small)
                self._unpacked[small] = compact.read(self._inside(small))
            arrays = self._unpacked[small]
        return {key: array for key, array in arrays.items() if key.startswith(prefix)}

    def _inside(self, name: str) -> Path:
        """The path of a file that `result.json` names; links that lead outside are refused."""
        path = self.path / name
        if name not in self.record.files or path.resolve().parent != self.path.resolve():
            raise StoreError(f"'{self.path}' has no file '{name}'.", "Make the result again.")
        return path

    def _check_size(self, name: str) -> None:
        path = self._inside(name)
        with said_plainly(path, "read"):
            found = path.stat().st_size
        if found != self.record.files[name][0]:
            raise StoreError(
                f"'{path}' is {found:,} bytes, but {self.record.files[name][0]:,} were expected.",
                "Make the result again, or restore the file.",
            )

    def _check_digest(self, name: str) -> None:
        if name in self._checked:
            return
        if seal_of(self._inside(name)) != self.record.files[name]:
            raise self._damaged(name)
        self._checked.add(name)

    def _damaged(self, what: str) -> StoreError:
        return StoreError(
            f"In '{self.path}', {what} is damaged: not what {RECORD} says.",
            "Make the result again, or restore the file.",
        )


def _fits(shapes: list[tuple[int, ...]], n_rows: int, n_cols: int) -> bool:
    row, row_score, col, col_score = shapes
    return (
        len(row) == len(col) == 2
        and row == row_score
        and col == col_score
        and row[0] == n_rows
        and col[0] == n_cols
        and row[1] >= 1
        and col[1] >= 1
    )


def _numbers_fit(
    index: NDArray[Any], score: NDArray[Any], n_others: int, *, unknown: bool = False
) -> bool:
    """Whether every index is -1 or a unit, and every score in [-1, 1] (-inf at -1).

    Scores that a small folder leaves out are NaN: `unknown` allows them.
    """
    if index.dtype != np.int32 or score.dtype != np.float32:
        return False
    if not index.size:
        return True
    if index.min() < -1 or index.max() >= n_others:
        return False
    empty = index < 0
    # 1e-3: a correlation may pass 1 by rounding, and float16 tables by more.
    fine = empty | (np.abs(score) <= 1.001) | (np.isnan(score) if unknown else False)
    return bool(fine.all() and (score[empty] == -np.inf).all())
