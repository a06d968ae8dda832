"""Small maps of all units on a run's first images, on disk: whatever is clicked later is there.

    ranges-<model>.npy         float32 [2, units]: lowest and highest of each unit's small maps
    maps-<model>-<layer>.npy   float16 [images, channels, h, w]: the native map averaged to at most
                               16×16 (smaller maps as they are); <layer> counts from 0

Written while the match runs: the same images would otherwise be drawn and looked at again. Numpy
only; reading needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from rosetta_ui.errors import StoreError
from rosetta_ui.store.files import map_npy, said_plainly, write_npy
from rosetta_ui.store.record import file_part
from rosetta_ui.types import LayerSpec, UnitIndex

SIDE = 16
"""Longest side of a small map."""

_MOST = 65504.0  # the largest float16; larger activations are drawn as this


def small_size(spec: LayerSpec) -> tuple[int, int]:
    """(height, width) of a layer's small maps."""
    return min(spec.size[0], SIDE), min(spec.size[1], SIDE)


def _shape(spec: LayerSpec, n_images: int) -> tuple[int, ...]:
    return (n_images, spec.channels, *small_size(spec))


def _maps_path(folder: Path, model: str, number: int) -> Path:
    return folder / f"maps-{file_part(model)}-{number}.npy"


def _ranges_path(folder: Path, model: str) -> Path:
    return folder / f"ranges-{file_part(model)}.npy"


class ActivationWriter:
    """Keeps small maps while a match runs; goes on with what an earlier run left in the folder.

    Args:
        folder: made where it is missing.
        layers: model → its layers.
        n_images: how many images are kept.

    Raises:
        StoreError: the disk is full or read-only.
    """

    def __init__(
        self, folder: Path, layers: Mapping[str, Sequence[LayerSpec]], n_images: int
    ) -> None:
        self.folder = folder
        self.n_images = n_images
        self.continued = True
        self._indexes = {model: UnitIndex(specs) for model, specs in layers.items()}
        self._starts: dict[Path, int] = {}
        with said_plainly(folder, "write"):
            folder.mkdir(parents=True, exist_ok=True)
            for model, index in self._indexes.items():
                for number, spec in enumerate(index.layers):
                    self._prepare(_maps_path(folder, model, number), _shape(spec, n_images))
        self._ranges = {model: self._read_ranges(model) for model in self._indexes}

    def record(self, model: str, layer: str, first: int, maps: NDArray[np.float32]) -> None:
        """Keep the small maps of one layer; writing an image again changes nothing.

        Args:
            model: whose.
            layer: of the model.
            first: number of the first image.
            maps: float32 [n, channels, h, w], already small.

        Raises:
            StoreError: the disk is full.
        """
        index = self._indexes[model]
        number = index.depth(index.layer_slice(layer).start)
        # The ranges are those of the rounded values, so that no stored map lies outside them.
        kept = maps.clip(-_MOST, _MOST).astype(np.float16)
        path = _maps_path(self.folder, model, number)
        # Plain writes: a full disk is then an error, where a memory map would kill the process.
        with said_plainly(path, "write"), path.open("r+b") as file:
            file.seek(self._starts[path] + first * kept[0].nbytes)
            file.write(kept.tobytes())
        low, high = self._ranges[model][:, index.layer_slice(layer)]
        rounded = kept.astype(np.float32)
        np.minimum(low, rounded.min((0, 2, 3)), out=low)
        np.maximum(high, rounded.max((0, 2, 3)), out=high)

    def flush(self) -> None:
        """Write the ranges, which belong to everything that was recorded so far.

        Raises:
            StoreError: the disk is full.
        """
        for model, ranges in self._ranges.items():
            write_npy(_ranges_path(self.folder, model), [ranges], ranges.shape, "float32")

    def _prepare(self, path: Path, shape: tuple[int, ...]) -> None:
        """Make the file unless a fitting one is there; remember where its values start."""
        try:
            map_npy(path, shape)
        except StoreError:
            self.continued = False
            header = {"descr": "<f2", "fortran_order": False, "shape": shape}
            with path.open("wb") as file:
                npy.write_array_header_1_0(file, header)
                file.truncate(file.tell() + 2 * int(np.prod(shape)))
        with path.open("rb") as file:
            npy.read_magic(file)
            npy.read_array_header_1_0(file)
            self._starts[path] = file.tell()

    def _read_ranges(self, model: str) -> NDArray[np.float32]:
        shape = (2, len(self._indexes[model]))
        try:
            return np.array(map_npy(_ranges_path(self.folder, model), shape))
        except StoreError:
            self.continued = False
            return np.stack([np.full(shape[1], np.inf), np.full(shape[1], -np.inf)]).astype("f4")


class Activations:
    """Reads what an `ActivationWriter` left.

    Args:
        folder: where the files are.
        layers: model → its layers.
        n_images: how many images are kept.

    Raises:
        StoreError: a file is missing, damaged or of another match.
    """

    def __init__(
        self, folder: Path, layers: Mapping[str, Sequence[LayerSpec]], n_images: int
    ) -> None:
        self.n_images = n_images
        self._indexes = {model: UnitIndex(specs) for model, specs in layers.items()}
        self._maps: dict[str, list[NDArray[Any]]] = {}
        self._ranges: dict[str, NDArray[Any]] = {}
        for model, index in self._indexes.items():
            self._maps[model] = [
                map_npy(_maps_path(folder, model, number), _shape(spec, n_images))
                for number, spec in enumerate(index.layers)
            ]
            self._ranges[model] = map_npy(_ranges_path(folder, model), (2, len(index)))

    def ranges(self, model: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Lowest and highest value of every unit's small maps, float32 [units] each."""
        low, high = np.array(self._ranges[model], np.float32)
        return low, high

    def layer_maps(self, model: str, image: int) -> Iterator[NDArray[np.float16]]:
        """Small maps of all units of one image, layer by layer: float16 [channels, h, w] each."""
        for maps in self._maps[model]:
            yield maps[image]

    def maps(self, model: str, units: Sequence[int], images: Sequence[int]) -> NDArray[np.float32]:
        """Small maps: float32 [units, images, 16, 16], smaller ones resampled bilinearly.

        Args:
            model: whose.
            units: flat numbers.
            images: numbers of images.
        """
        index = self._indexes[model]
        out = np.empty((len(units), len(images), SIDE, SIDE), np.float32)
        for place, flat in enumerate(units):
            number = index.depth(flat)
            spec = index.layers[number]
            channel = flat - index.layer_slice(spec.name).start
            found = self._maps[model][number][list(images), channel].astype(np.float32)
            height, width = small_size(spec)
            out[place] = bilinear(height) @ found @ bilinear(width).T
        return out


@cache
def bilinear(side: int) -> NDArray[np.float32]:
    """[16, side]: bilinear resampling to 16 cells (align_corners False); the identity for 16."""
    at = ((np.arange(SIDE) + 0.5) * side / SIDE - 0.5).clip(0, side - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, side - 1)
    matrix = np.zeros((SIDE, side), np.float32)
    np.add.at(matrix, (np.arange(SIDE), low), 1 - (at - low))
    np.add.at(matrix, (np.arange(SIDE), high), at - low)
    return matrix
