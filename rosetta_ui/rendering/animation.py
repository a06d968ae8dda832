"""A short film of one neuron: image after image, every model's map over it, as animated WebP.

Knows numpy arrays only.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rosetta_ui.rendering.heatmap import overlay, strip

FRAME_MS = 900
SIDE = 192


def frame(
    picture: NDArray[np.uint8], maps: NDArray[np.uint8], captions: Sequence[str]
) -> NDArray[np.uint8]:
    """The picture, then each map over it, side by side.

    Args:
        picture: HWC uint8.
        maps: uint8 [models, h, w], 0 the unit's lowest and 255 its highest activation.
        captions: one for the picture and one a map.

    Returns:
        HWC uint8.
    """
    small = np.asarray(Image.fromarray(picture).convert("RGB").resize((SIDE, SIDE)))
    shown = [overlay(small, values.astype(np.float32), 0.0, 255.0) for values in maps]
    return strip([small, *shown], captions)


def webp(frames: Sequence[NDArray[np.uint8]], frame_ms: int = FRAME_MS) -> bytes:
    """Frames of one size as an animated WebP that repeats for ever.

    Args:
        frames: HWC uint8, at least one.
        frame_ms: how long each is shown.
    """
    first, *rest = (Image.fromarray(each) for each in frames)
    buffer = io.BytesIO()
    first.save(
        buffer, "WEBP", save_all=True, append_images=rest, duration=frame_ms, loop=0, quality=80
    )
    return buffer.getvalue()
