"""Heatmaps as pictures: a unit's map in colour, over the image it was read from, as a PNG.

Knows numpy arrays only: pictures are HWC uint8, maps are float [h, w]. The page paints its own
(same table, same rule); this is what exports use.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rosetta_ui.rendering.colormap import ENTRIES, table

OPACITY = 0.75
"""Of the strongest activation; weaker ones are proportionally clearer."""

_GAP = 6
_CAPTION = 18
_PAPER, _INK = (255, 255, 255), (30, 30, 30)


def normalised(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.float64]:
    """A map on [0, 1]: 0 at `low`, 1 at `high`, clipped outside; all 0 where high ≤ low."""
    if not high > low:
        return np.zeros(values.shape)
    return np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)


def coloured(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A map on [0, 1] in the colours of the table: [h, w] → uint8 [h, w, 3]."""
    return table()[np.rint(values * (ENTRIES - 1)).astype(np.intp)]


def resized(values: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float64]:
    """A map at another size, bilinear, as everywhere in this project (align_corners False).

    Args:
        values: [h, w].
        size: (height, width).
    """
    return _weights(values.shape[0], size[0]) @ values @ _weights(values.shape[1], size[1]).T


def _weights(source: int, target: int) -> NDArray[np.float64]:
    """The matrix [target, source] of bilinear resampling; every row sums to 1."""
    centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    lower = np.floor(centre).astype(np.intp)
    upper = np.minimum(lower + 1, source - 1)
    share = centre - lower
    matrix = np.zeros((target, source))
    rows = np.arange(target)
    np.add.at(matrix, (rows, lower), 1 - share)
    np.add.at(matrix, (rows, upper), share)
    return matrix


def overlay(
    picture: NDArray[np.uint8],
    values: NDArray[np.floating],
    low: float,
    high: float,
    opacity: float = OPACITY,
) -> NDArray[np.uint8]:
    """A map over its picture: the stronger the activation, the less of the picture shows.

    Args:
        picture: HWC uint8.
        values: [h, w] activations of any size.
        low: activation that is fully clear.
        high: activation that is as opaque as `opacity` says.
        opacity: 0 to 1.

    Returns:
        HWC uint8 of the picture's size.

    Source: Dravid et al. 2023 overlay JET × 0.003 by addition. Differs: an even table and a real
    alpha, so that a bright picture does not hide the map.
    """
    shown = normalised(resized(values, picture.shape[:2]), low, high)
    alpha = (opacity * shown)[..., None]
    return np.rint(picture * (1 - alpha) + coloured(shown) * alpha).astype(np.uint8)


def strip(pictures: Sequence[NDArray[np.uint8]], captions: Sequence[str] = ()) -> NDArray[np.uint8]:
    """Pictures side by side on white, each under its caption; all at the first one's height.

    Args:
        pictures: HWC uint8, at least one.
        captions: one a picture, or none at all; cut to the picture's width.

    Returns:
        HWC uint8.
    """
    height = pictures[0].shape[0]
    scaled = [_at_height(picture, height) for picture in pictures]
    top = _CAPTION if captions else 0
    width = sum(picture.width for picture in scaled) + _GAP * (len(scaled) - 1)
    sheet = Image.new("RGB", (width, height + top), _PAPER)
    draw, font, x = ImageDraw.Draw(sheet), ImageFont.load_default(12), 0
    for at, picture in enumerate(scaled):
        sheet.paste(picture, (x, top))
        if captions:
            text = captions[at]
            while text and draw.textlength(text, font) > picture.width:
                text = text[:-2] + "…" if len(text) > 1 else ""
            draw.text((x, 1), text, _INK, font)
        x += picture.width + _GAP
    return np.asarray(sheet)


def _at_height(picture: NDArray[np.uint8], height: int) -> Image.Image:
    image = Image.fromarray(picture)
    if image.height == height:
        return image
    return image.resize((max(1, round(image.width * height / image.height)), height))


def png(picture: NDArray[np.uint8]) -> bytes:
    """A picture as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
