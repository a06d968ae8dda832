"""A person's picture from its bytes, within limits. Knows Pillow and numpy, no torch and no file.

What counts is the content: names and declared types are never asked.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import BadRequestError
from rosetta_ui.inversions import LEAST_SIDE, ReadPicture
from rosetta_ui.matching.photos import MAX_PIXELS, decode_noted

MOST_BYTES = 40 << 20
MOST_PIXELS = 40_000_000
"""Of an upload: several people's are decoded at once, and one of 40 megapixels takes half a GB."""

READ_SIDE = 1024
"""Shorter side that is kept: no embedded generator draws more."""


def read_picture(data: bytes) -> ReadPicture:
    """Decode a picture that anybody may have sent.

    The first frame of an animation, upright, transparency over white, 16 bits and CMYK as RGB;
    the notes say what was done.

    Raises:
        BadRequestError: it is no picture, is cut short, is too large, or too small to invert.
    """
    if not data:
        raise BadRequestError("The file is empty.", "Choose another one.")
    if len(data) > MOST_BYTES:
        raise BadRequestError(
            f"The file has {len(data) / (1 << 20):.0f} MiB.",
            f"Choose one of at most {MOST_BYTES >> 20} MiB.",
        )
    picture, notes = decode_noted(data, READ_SIDE, MOST_PIXELS)
    height, width = picture.shape[:2]
    if min(height, width) < LEAST_SIDE:
        raise BadRequestError(
            f"The picture has {width}×{height} pixels.",
            f"Choose one of at least {LEAST_SIDE}×{LEAST_SIDE}.",
        )
    return ReadPicture(picture, notes)


def read_file(path: Path) -> ReadPicture:
    """Decode a picture file of a person's own; raises what `read_picture` raises, with its name.

    Raises:
        BadRequestError: it cannot be read, or is no picture that can be inverted.
    """
    try:
        with path.open("rb") as file:
            return read_picture(file.read(MOST_BYTES + 1))
    except OSError as error:
        raise BadRequestError(f"'{path}' cannot be read ({error.strerror}).") from error
    except BadRequestError as error:
        raise BadRequestError(f"'{path}': {error.message}", error.hint) from error


def read_whole(path: Path) -> NDArray[np.uint8]:
    """Decode a picture file of a person's own at its full size: HWC uint8.

    Raises:
        BadRequestError: it cannot be read, or is no picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadRequestError(f"'{path}' cannot be read ({error.strerror}).") from error
    return decode_noted(data, MAX_PIXELS)[0]
