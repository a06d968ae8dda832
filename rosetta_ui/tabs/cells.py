"""One unit's map on its way to the page."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.tabs import present
from rosetta_ui.types import Unit
from rosetta_ui.widgets.factory import packed


def cell_json(unit: Unit, values: NDArray[np.float32], span: tuple[float, float]) -> present.Json:
    """A map as JSON values.

    Args:
        unit: whose.
        values: [h, w], raw activations, or shares of the unit's range.
        span: its lowest and highest value over the data set.

    Returns:
        {unit, height, width, values: base64 of float32, low, high}.
    """
    return {
        "unit": str(unit),
        "height": int(values.shape[0]),
        "width": int(values.shape[1]),
        "values": packed(values.astype(np.float32, copy=False)),
        "low": present.number(span[0], 6),
        "high": present.number(span[1], 6),
    }
