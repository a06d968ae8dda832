"""The small form of neighbours and views, for dictionaries that are bundled or sent to somebody.

Scores are kept in steps of 1e-4 (off by at most 5e-5), each as the distance to the better one
before it; columns that are nobody's neighbour are left out; maps are drawn into grey WebP sheets
(lossy); the whole is compressed with xz.
"""

from __future__ import annotations

import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as safetensors_load
from safetensors.numpy import save as safetensors_bytes

from rosetta_ui.errors import StoreError
from rosetta_ui.store.arrays import VIEW_SIDE, NeighbourArrays
from rosetta_ui.store.files import said_plainly
from rosetta_ui.store.pictures import decode_sheet, encode_sheet

_STEPS = 10_000
_HALF_STEPS = 1_000
_NONE = 32_767
_NO_INDEX = 65_535
_UNITS_A_SHEET = 1_000  # 16,000 px high; WebP ends at 16,383
_MOST_BYTES = 256 << 20
# The arrays are 16-bit numbers: telling xz so saves a tenth.
_XZ = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 1, "pb": 1}]


@dataclass(frozen=True)
class FourArrays:
    """Neighbours as `ResultFolder.neighbours` gives them."""

    row_index: NDArray[np.int32]
    row_score: NDArray[np.float32]
    col_index: NDArray[np.int32]
    col_score: NDArray[np.float32]


@dataclass(frozen=True)
class Keep:
    """How much of a table's neighbours is kept.

    Attributes:
        k_rows: neighbours of every row.
        k_cols: neighbours of every column that is a kept neighbour of a row.
        col_scores: also the scores of the columns' neighbours; without them they are NaN.
        best_of_all: also the best row of every other column.
    """

    k_rows: int
    k_cols: int
    col_scores: bool = False
    best_of_all: bool = False


def packed(neighbours: NeighbourArrays, keep: Keep) -> dict[str, NDArray[Any]]:
    """The small form of a table's neighbours: named arrays for `compressed`."""
    row_index = neighbours.row_index[:, : keep.k_rows]
    used = np.zeros(len(neighbours.col_index), bool)
    used[row_index[row_index >= 0]] = True
    kept = np.flatnonzero(used)
    n_rows, n_cols = len(row_index), len(used)
    arrays = {
        "row_index": _narrow(row_index, n_cols),
        "row_steps": _falls(neighbours.row_score[:, : keep.k_rows]),
        "cols": _narrow(kept, n_cols),
        "col_index": _narrow(neighbours.col_index[kept, : keep.k_cols], n_rows),
    }
    if keep.col_scores:
        arrays["col_steps"] = _falls(neighbours.col_score[kept, : keep.k_cols])
    if keep.best_of_all:
        arrays["best_index"] = _narrow(neighbours.col_index[:, 0], n_rows)
        arrays["best_steps"] = _falls(neighbours.col_score[:, :1])[:, 0]
    return arrays


def unpacked(stored: Mapping[str, NDArray[Any]], n_cols: int) -> dict[str, NDArray[Any]]:
    """The four arrays that `packed` was made of, as far as they were kept; {} where malformed."""
    needed = {"row_index", "row_steps", "cols", "col_index"}
    if not needed <= set(stored) or any(stored[n].ndim != 2 for n in ("row_index", "col_index")):
        return {}
    cols, k = _wide(stored["cols"]), stored["col_index"].shape[1]
    kept_index = _wide(stored["col_index"])
    steps = stored.get("col_steps")
    inside = cols.ndim == 1 and (not len(cols) or (cols.min() >= 0 and cols.max() < n_cols))
    if not inside or kept_index.shape != (len(cols), k):
        return {}
    if steps is not None and steps.shape != kept_index.shape:
        return {}
    col_index = np.full((n_cols, k), -1, np.int32)
    col_score = np.full((n_cols, k), -np.inf, np.float32)
    if "best_index" in stored and k:
        best_index, best_steps = stored["best_index"], stored.get("best_steps", np.zeros(0))
        if best_index.shape != (n_cols,) or best_steps.shape != (n_cols,):
            return {}
        col_index[:, 0], col_score[:, 0] = _wide(best_index), _risen(best_steps[:, None])[:, 0]
    col_index[cols] = kept_index
    unknown = np.where(kept_index < 0, -np.inf, np.nan)
    col_score[cols] = unknown if steps is None else _risen(steps)
    return {
        "row_index": _wide(stored["row_index"]),
        "row_score": _risen(stored["row_steps"]),
        "col_index": col_index,
        "col_score": col_score,
    }


def packed_halves(
    row_halves: NDArray[np.float32], row_score: NDArray[np.float32], k: int
) -> NDArray[np.int16]:
    """Scores in the halves as distances from the whole's, in steps of 1e-3: int16 [2, rows, k]."""
    distance = row_halves[:, :, :k] - np.where(np.isfinite(row_score), row_score, 0)[None, :, :k]
    return _steps(distance, _HALF_STEPS)


def unpacked_halves(
    stored: NDArray[Any], row_score: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """What `packed_halves` was made of, off by at most 6e-4; None where malformed."""
    if stored.ndim != 3 or stored.shape[1:] != row_score.shape:
        return None
    distance = np.where(stored == _NONE, -np.inf, stored.astype(np.float32) / _HALF_STEPS)
    return (distance + np.where(np.isfinite(row_score), row_score, 0)).astype(np.float32)


def _narrow(index: NDArray[Any], others: int) -> NDArray[Any]:
    if others > _NO_INDEX:
        return index.astype(np.int32)
    return np.where(index < 0, _NO_INDEX, index).astype(np.uint16)


def _wide(index: NDArray[Any]) -> NDArray[np.int32]:
    if index.dtype != np.uint16:
        return index.astype(np.int32)
    return np.where(index == _NO_INDEX, -1, index.astype(np.int32)).astype(np.int32)


def _steps(values: NDArray[np.floating], steps: int) -> NDArray[np.int16]:
    finite = np.isfinite(values)
    whole = np.rint(np.where(finite, np.clip(values, -3, 3), 0) * steps)
    return np.where(finite, whole, _NONE).astype(np.int16)


def _falls(scores: NDArray[np.floating]) -> NDArray[np.int16]:
    """Scores [n, k], best first, as steps: the first one's own, then how far each one falls."""
    steps = _steps(scores, _STEPS)
    falls = steps.copy()
    falls[:, 1:] = steps[:, :-1] - steps[:, 1:]
    return np.where(steps == _NONE, _NONE, falls).astype(np.int16)


def _risen(falls: NDArray[Any]) -> NDArray[np.float32]:
    """What `_falls` was made of."""
    if falls.ndim != 2:
        return np.zeros((0, 0), np.float32)
    none = falls == _NONE
    signed = np.where(none, 0, falls.astype(np.int32))
    signed[:, 1:] *= -1
    return np.where(none, -np.inf, np.cumsum(signed, 1) / _STEPS).astype(np.float32)


def sheets(maps: NDArray[np.uint8], quality: int) -> dict[str, NDArray[np.uint8]]:
    """Maps [n, images, 16, 16] as grey WebP sheets, "sheet0", "sheet1", ...: bytes as arrays."""
    drawn: dict[str, NDArray[np.uint8]] = {}
    for at, first in enumerate(range(0, len(maps), _UNITS_A_SHEET)):
        part = maps[first : first + _UNITS_A_SHEET]
        data = encode_sheet(list(part.reshape(-1, VIEW_SIDE, VIEW_SIDE)), maps.shape[1], quality)
        drawn[f"sheet{at}"] = np.frombuffer(data, np.uint8)
    return drawn


def maps(stored: Mapping[str, NDArray[Any]], n: int, images: int) -> NDArray[np.uint8]:
    """The maps that `sheets` drew: uint8 [n, images, 16, 16].

    Raises:
        StoreError: a sheet is missing or damaged.
    """
    parts: list[NDArray[np.uint8]] = []
    for at, first in enumerate(range(0, n, _UNITS_A_SHEET)):
        if f"sheet{at}" not in stored:
            raise StoreError("A sheet of maps is missing.", "Make the result again.")
        count = min(_UNITS_A_SHEET, n - first) * images
        data = stored[f"sheet{at}"].astype(np.uint8).tobytes()
        parts.append(decode_sheet(data, count, images, (VIEW_SIDE, VIEW_SIDE), grey=True))
    joined = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
    return joined.reshape(n, images, VIEW_SIDE, VIEW_SIDE)


def compressed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Named arrays as an xz-compressed safetensors file."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return lzma.compress(safetensors_bytes(whole), lzma.FORMAT_XZ, filters=_XZ)


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Read what `compressed` made.

    Raises:
        StoreError: it is missing or damaged, or unpacks to more than 256 MiB.
    """
    with said_plainly(path, "read"):
        data = path.read_bytes()
    try:
        machine = lzma.LZMADecompressor(memlimit=_MOST_BYTES)
        plain = machine.decompress(data, max_length=_MOST_BYTES)
        if not machine.eof:
            raise StoreError(f"'{path}' unpacks to more than {_MOST_BYTES >> 20} MiB.")
        return safetensors_load(plain)
    except (lzma.LZMAError, SafetensorError, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"'{path}' is damaged.", "Make the result again.") from error
