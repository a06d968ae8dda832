"""Pictures in one WebP sheet: tiles of equal size, row by row."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from rosetta_ui.errors import StoreError

_WIDEST = 16_383  # of a WebP picture, by its format


def encode_sheet(tiles: Sequence[NDArray[np.uint8]], columns: int, quality: int = 90) -> bytes:
    """Draw tiles into one sheet.

    Args:
        tiles: HWC or HW uint8, all of one shape, at least one; HW tiles are grey.
        columns: tiles in a row.
        quality: of the lossy coder, 1 to 100; 101 is lossless.

    Raises:
        ValueError: the tiles differ in shape, or the sheet is too large for WebP.
    """
    height, width = tiles[0].shape[:2]
    if any(tile.shape != tiles[0].shape for tile in tiles):
        raise ValueError("the tiles of a sheet must be of one shape")
    rows = -(-len(tiles) // columns)
    if rows * height > _WIDEST or columns * width > _WIDEST:
        raise ValueError(f"a sheet of {rows} × {columns} tiles is too large for WebP")
    sheet = np.zeros((rows * height, columns * width, *tiles[0].shape[2:]), np.uint8)
    for at, tile in enumerate(tiles):
        y, x = at // columns * height, at % columns * width
        sheet[y : y + height, x : x + width] = tile
    buffer = io.BytesIO()
    options = {"lossless": True} if quality > 100 else {"quality": quality}
    Image.fromarray(sheet).save(buffer, "WEBP", method=6 if quality > 100 else 4, **options)
    return buffer.getvalue()


def decode_sheet(
    data: bytes, count: int, columns: int, size: tuple[int, int], *, grey: bool = False
) -> NDArray[np.uint8]:
    """Cut a sheet into its tiles.

    Args:
        data: a WebP file.
        count: number of tiles.
        columns: tiles in a row.
        size: (height, width) of a tile; the sheet must have exactly the size that follows.
        grey: one channel instead of three.

    Returns:
        uint8 [count, height, width, 3], or [count, height, width] for grey.

    Raises:
        StoreError: it is no WebP picture of that size.
    """
    height, width = size
    rows = -(-count // columns)
    try:
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as picture:
            # Checked before a pixel is decoded: a small file can claim a huge picture.
            if picture.size != (columns * width, rows * height):
                raise StoreError(
                    f"A sheet of pictures is {picture.size[0]} × {picture.size[1]} px, "
                    f"but {columns * width} × {rows * height} was expected."
                )
            sheet = np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise StoreError("A sheet of pictures is damaged.", "Make the result again.") from error
    sheet = sheet[..., 1] if grey else sheet
    tail = sheet.shape[2:]
    tiles = sheet.reshape(rows, height, columns, width, *tail).swapaxes(1, 2)
    return np.ascontiguousarray(tiles.reshape(rows * columns, height, width, *tail)[:count])
