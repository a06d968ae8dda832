"""The small form of neighbours and views, for dictionaries that are bundled or sent to somebody.

Scores are kept as 16-bit steps (off by at most 1.6e-5), columns that are nobody's neighbour are
left out, maps are drawn into grey WebP sheets (lossy), and the whole is compressed with xz.
"""

from __future__ import annotations

import lzma
from collections.abc import Mapping
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

_STEPS = 32_767
_NO_SCORE = -32_768
_NO_INDEX = 65_535
_UNITS_A_SHEET = 1_000  # 16,000 px high; WebP ends at 16,383
_MOST_BYTES = 256 << 20


def packed(
    neighbours: NeighbourArrays, k: int, *, best_of_all: bool = False
) -> dict[str, NDArray[Any]]:
    """The small form of a table's neighbours.

    Args:
        neighbours: of one table.
        k: how many to keep of every row, and of every column that is a kept neighbour of a row.
        best_of_all: also keep the best row of every other column.

    Returns:
        Named arrays for a safetensors file.
    """
    row_index = neighbours.row_index[:, :k]
    col_index, col_score = neighbours.col_index[:, :k].copy(), neighbours.col_score[:, :k].copy()
    used = np.zeros(len(col_index), bool)
    used[row_index[row_index >= 0]] = True
    col_index[~used, int(best_of_all) :] = -1
    col_score[~used, int(best_of_all) :] = -np.inf
    kept = np.flatnonzero(used)
    arrays = {
        "row_index": _index(row_index, len(col_index)),
        "row_score": steps(neighbours.row_score[:, :k]),
        "cols": _index(kept, len(col_index)),
        "col_index": _index(col_index[kept], len(row_index)),
        "col_score": steps(col_score[kept]),
    }
    if best_of_all:
        arrays["best_index"] = _index(col_index[:, 0], len(row_index))
        arrays["best_score"] = steps(col_score[:, 0])
    return arrays


def unpacked(stored: Mapping[str, NDArray[Any]], n_cols: int) -> dict[str, NDArray[Any]]:
    """The four arrays that `packed` was made of, as far as they were kept; {} where malformed."""
    needed = {"row_index", "row_score", "cols", "col_index", "col_score"}
    if not needed <= set(stored) or stored["col_index"].ndim != 2:
        return {}
    cols = _wide(stored["cols"])
    k = stored["col_index"].shape[1]
    col_index = np.full((n_cols, k), -1, np.int32)
    col_score = np.full((n_cols, k), -np.inf, np.float32)
    inside = not len(cols) or (cols.min() >= 0 and cols.max() < n_cols)
    shape = (len(cols), k)
    if not inside or stored["col_index"].shape != shape or stored["col_score"].shape != shape:
        return {}
    if "best_index" in stored:
        if k < 1 or any(stored[n].shape != (n_cols,) for n in ("best_index", "best_score")):
            return {}
        col_index[:, 0], col_score[:, 0] = _wide(stored["best_index"]), scores(stored["best_score"])
    col_index[cols], col_score[cols] = _wide(stored["col_index"]), scores(stored["col_score"])
    return {
        "row_index": _wide(stored["row_index"]),
        "row_score": scores(stored["row_score"]),
        "col_index": col_index,
        "col_score": col_score,
    }


def _index(index: NDArray[Any], others: int) -> NDArray[Any]:
    if others > _NO_INDEX:
        return index.astype(np.int32)
    return np.where(index < 0, _NO_INDEX, index).astype(np.uint16)


def _wide(index: NDArray[Any]) -> NDArray[np.int32]:
    if index.dtype != np.uint16:
        return index.astype(np.int32)
    return np.where(index == _NO_INDEX, -1, index.astype(np.int32)).astype(np.int32)


def steps(values: NDArray[np.floating]) -> NDArray[np.int16]:
    """Scores in [-1, 1] as 16-bit steps; anything that is not finite is kept as "none"."""
    finite = np.isfinite(values)
    whole = np.rint(np.where(finite, np.clip(values, -1, 1), 0) * _STEPS)
    return np.where(finite, whole, _NO_SCORE).astype(np.int16)


def scores(values: NDArray[Any]) -> NDArray[np.float32]:
    """16-bit steps as scores; "none" is -inf."""
    wide = values.astype(np.float32) / _STEPS
    return np.where(values == _NO_SCORE, -np.inf, wide).astype(np.float32)


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
    return lzma.compress(safetensors_bytes(whole), preset=9 | lzma.PRESET_EXTREME)


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
