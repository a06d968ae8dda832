"""The arrays of a result folder, as values: neighbours, statistics and small maps of units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

VIEW_SIDE = 16
"""Height and width of a stored map, in cells."""

NEIGHBOUR_NAMES = ("row_index", "row_score", "col_index", "col_score")


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


STAT_NAMES = ("mean", "deviation", "kurtosis", "low", "high")


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


def quantised(
    maps: NDArray[np.floating], low: NDArray[np.floating], high: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """Maps as bytes: 0 is low, 255 is high, values outside are clipped; all 0 where high ≤ low.

    Args:
        maps: [n, ...] activations of n units.
        low: [n].
        high: [n].
    """
    shape = (-1, *([1] * (maps.ndim - 1)))
    span = np.where(high > low, high - low, np.inf).reshape(shape)
    return np.rint(255 * np.clip((maps - low.reshape(shape)) / span, 0, 1)).astype(np.uint8)
