"""Writing a result folder; see `rosetta_ui.store.results` for its layout."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import StoreError
from rosetta_ui.store.arrays import NEIGHBOUR_NAMES, STAT_NAMES, NeighbourArrays, UnitStats, Views
from rosetta_ui.store.files import (
    Seal,
    flush_folder,
    said_plainly,
    write_arrays,
    write_bytes,
    write_json,
    write_npy,
)
from rosetta_ui.store.folder import RECORD, SHEET_COLUMNS, SHEET_TILES, ResultFolder, sheet_name
from rosetta_ui.store.pictures import encode_sheet
from rosetta_ui.store.record import (
    ModelRecord,
    ResultRecord,
    RunFacts,
    TableRecord,
    Which,
    file_part,
    score_part,
    table_part,
)
from rosetta_ui.types import MatchRequest, ScoreName

_OURS = re.compile(
    r"result\.json|dictionary\.json|pairs\.csv|title\.json|saved|NOTICE\.txt|previews(-\d+)?\.webp|views\.safetensors|\.partial-.*"
    r"|(scores|dead|stats|views|neighbours)-[\w.~%+-]+\.(npy|safetensors|safetensors\.xz)"
)
_SMALLEST_LOSSY = 96
"""Pictures up to this side are kept without loss: they weigh little and blur easily."""


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
        if len(models) < 2:
            raise ValueError("a result has an anchor model and at least one backbone")
        self.folder = folder
        self.request = request
        self.models = tuple(models)
        self.title = title or default_title(request, [model.name for model in models])
        self.created = time.time() if created is None else created
        self._units = {model.name: len(model.index) for model in models}
        self._files: dict[str, Seal] = {}
        self._kept: dict[tuple[str, str], dict[ScoreName, tuple[Which, ...]]] = {}
        self._whole: dict[tuple[str, str], list[ScoreName]] = {}
        self._previews = 0
        self._preview_size = (0, 0)
        clear_for_result(folder)

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
        name = f"scores-{self._table(rows, cols)}{score_part(score)}.npy"
        shape = (self._units[rows], self._units[cols])
        self._files[name] = write_npy(self.folder / name, blocks, shape, dtype)
        self._whole.setdefault((rows, cols), []).append(score)

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
                snapshots "at_n8", "at_n4", "at_n2" of the convergence, for which a K of 5 is
                enough (each may have a K of its own).
            row_halves: float32 [2, rows, k], scores of the real row neighbours in each half;
                without it a pair's halves are known only where each half has it in its K best.

        Raises:
            ValueError: an array does not fit the models.
        """
        arrays: dict[str, NDArray[Any]] = {}
        for which, kept in neighbours.items():
            if (len(kept.row_index), len(kept.col_index)) != (self._units[rows], self._units[cols]):
                raise ValueError(f"the neighbours do not fit {rows} × {cols}")
            for part in NEIGHBOUR_NAMES:
                dtype = np.int32 if part.endswith("index") else np.float32
                arrays[f"{which}/{part}"] = getattr(kept, part).astype(dtype, copy=False)
        if row_halves is not None:
            if row_halves.shape != (2, *neighbours["real"].row_index.shape):
                raise ValueError("row_halves must be [2, rows, k] of the real row neighbours")
            arrays["row_halves"] = row_halves.astype(np.float32, copy=False)
        name = f"neighbours-{self._table(rows, cols)}{score_part(score)}.safetensors"
        self._files[name] = write_arrays(self.folder / name, arrays)
        self.note_neighbours(rows, cols, score, tuple(neighbours))

    def note_neighbours(
        self, rows: str, cols: str, score: ScoreName, kept: tuple[Which, ...]
    ) -> None:
        """Say which neighbours of a table are kept, where `add_bytes` wrote them."""
        if "real" not in kept:
            raise ValueError("the real neighbours are always kept")
        self._kept.setdefault((rows, cols), {})[score] = kept

    def add_dead(self, model: str, mask: NDArray[np.bool_], score: ScoreName = "pearson") -> None:
        """Keep which units never vary: bool [units]."""
        name = f"dead-{file_part(model)}{score_part(score)}.npy"
        shape = (self._units[model],)
        self._files[name] = write_npy(self.folder / name, [mask], shape, "bool")

    def add_stats(self, model: str, stats: UnitStats) -> None:
        """Keep one model's statistics, layer by layer."""
        index = {m.name: m.index for m in self.models}[model]
        arrays: dict[str, NDArray[Any]] = {}
        for stat in STAT_NAMES:
            column = np.asarray(getattr(stats, stat), np.float32)
            if column.shape != (len(index),):
                raise ValueError(f"{stat} of {model} is {column.shape}, not [{len(index)}]")
            for spec in index.layers:
                arrays[f"{spec.name}/{stat}"] = column[index.layer_slice(spec.name)]
        name = f"stats-{file_part(model)}.safetensors"
        self._files[name] = write_arrays(self.folder / name, arrays)

    def add_previews(self, pictures: Iterable[NDArray[np.uint8]], quality: int = 90) -> None:
        """Keep the pictures of images 0, 1, ...

        Args:
            pictures: HWC uint8, all of one size, sides ≤ 256; read 64 at a time.
            quality: of the lossy coder; pictures with sides ≤ 96 are kept without loss.
        """
        queue = iter(pictures)
        sheet = 0
        while tiles := list(islice(queue, SHEET_TILES)):
            size = tiles[0].shape[:2]
            if max(size) > 256 or (sheet and size != self._preview_size):
                raise ValueError("previews must be of one size, at most 256 px a side")
            self._preview_size = (size[0], size[1])
            used = 101 if max(size) <= _SMALLEST_LOSSY else quality
            data = encode_sheet(tiles, min(len(tiles), SHEET_COLUMNS), used)
            self.add_bytes(sheet_name(sheet), data)
            self._previews += len(tiles)
            sheet += 1

    def add_views(self, views: Views) -> None:
        """Keep small maps of matched units.

        Raises:
            ValueError: a model is missing, or its units are not in ascending order.
        """
        self.note_view_images(views.images)
        for model in self.models:
            kept = views.models[model.name]
            if (np.diff(kept.units) <= 0).any() or len(kept.maps) != len(kept.units):
                raise ValueError(f"the views of {model.name} must be one map stack a unit, sorted")
            name = f"views-{file_part(model.name)}.safetensors"
            arrays = {
                "units": kept.units.astype(np.int32),
                "maps": kept.maps.astype(np.uint8),
                "low": kept.low.astype(np.float32),
                "high": kept.high.astype(np.float32),
            }
            self._files[name] = write_arrays(self.folder / name, arrays)

    def note_view_images(self, images: NDArray[np.int32]) -> None:
        """Say which images the kept maps show."""
        arrays = {"images": images.astype(np.int32)}
        self._files["views.safetensors"] = write_arrays(self.folder / "views.safetensors", arrays)

    def add_bytes(self, name: str, data: bytes) -> None:
        """Keep a file of the layout whose content is made elsewhere, such as pairs.csv."""
        if not _OURS.fullmatch(name):
            raise ValueError(f"'{name}' is no file of a result folder")
        self._files[name] = write_bytes(self.folder / name, data)

    def draft(self, run: RunFacts | None = None) -> ResultFolder:
        """Read what has been written so far, before `result.json` is there."""
        record = ResultRecord(
            request=self.request,
            title=self.title,
            created=self.created,
            models=self.models,
            tables=tuple(
                TableRecord(*names, kept, tuple(self._whole.get(names, ())))
                for names, kept in self._kept.items()
            ),
            run=run or RunFacts(),
            previews=self._previews,
            preview_size=self._preview_size,
            files=dict(sorted(self._files.items())),
        )
        return ResultFolder(self.folder, record)

    def finish(self, run: RunFacts | None = None) -> ResultFolder:
        """Write `result.json` and open the folder.

        Raises:
            StoreError: the disk is full, or what was added makes no result.
        """
        values = _plain(self.draft(run).record.to_json())
        # Read back before it is written: a result that cannot be opened must not look finished.
        ResultRecord.from_json(values)
        write_json(self.folder / RECORD, values)
        flush_folder(self.folder)
        return ResultFolder.open(self.folder)

    def _table(self, rows: str, cols: str) -> str:
        for name in (rows, cols):
            if name not in self._units:
                raise ValueError(f"{name} is not a model of this result")
        return table_part(rows, cols, self.models[0].name)


def _plain(value: Any) -> Any:
    """Values as JSON would give them back."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def default_title(request: MatchRequest, models: Sequence[str]) -> str:
    """A title such as "dcgan-digiface × dinov2-s, mobilenetv2 · 128 images, seed 0"."""
    which = f", class {request.class_index}" if request.class_index is not None else ""
    backbones = ", ".join(models[1:])
    title = f"{models[0]} × {backbones} · {request.n_images} images, seed {request.seed}{which}"
    return title if len(title) <= 120 else f"{title[:117]}..."


def is_result_file(name: str) -> bool:
    """Whether a name is one of a result folder's layout; such a name is no path."""
    return _OURS.fullmatch(name) is not None and not name.startswith(".")


def clear_for_result(folder: Path) -> None:
    """Make a folder ready for a new result; only files of a result's layout are removed.

    Raises:
        StoreError: it holds other files or cannot be written.
    """
    with said_plainly(folder, "write"):
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"'{folder}' is a file, not a folder.", "Choose another --out.")
        folder.mkdir(parents=True, exist_ok=True)
        names = sorted(path.name for path in folder.iterdir())
    if foreign := [name for name in names if not _OURS.fullmatch(name)]:
        raise StoreError(
            f"'{folder}' holds other files, such as '{foreign[0]}'.",
            "Choose an empty or new folder with --out.",
        )
    with said_plainly(folder, "write"):
        # The record first: from here on the folder is unfinished, whatever happens.
        for name in sorted(names, key=lambda name: name != RECORD):
            (folder / name).unlink(missing_ok=True)
