"""What a person looks at in a result: pictures, the grid of small maps, one neuron in every model.

Everything comes from the disk where it can, and needs no torch then; native maps are made by the
models (`looking`) and kept in the cache.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.engine import pointing
from rosetta_ui.engine.dispatch import dispatch
from rosetta_ui.engine.flow import activations_key, photo_size
from rosetta_ui.engine.requests import model_key
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError, RosettaError, StoreError
from rosetta_ui.matching.activations import Activations
from rosetta_ui.matching.photos import Photo
from rosetta_ui.store.arrays import VIEW_SIDE, quantised
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.store.keys import digest
from rosetta_ui.types import ActiveUnits, HeatmapRow, LayerSpec, RosettaNeuron, Unit, UnitIndex

log = logging.getLogger(__name__)

NATIVE_SIDE = 64
"""Longest side of the maps that are kept of an image: larger ones cost more than they show."""

_RANKED = 20_000  # neurons whose ranking of the images is remembered
_REMEMBERED = 64  # memory-mapped map files that stay open

Maps = NDArray[np.float32]


class Views:
    """Looks at results.

    Args:
        bench: disk, models and the device's lock.
        token: of the bench, for `dispatch`.
        may_compute: whether models may be asked now; False while torch is being loaded.
    """

    def __init__(self, bench: Workbench, token: str, may_compute: Callable[[], bool]) -> None:
        self._bench, self._token, self._may_compute = bench, token, may_compute
        self._native: OrderedDict[str, NDArray[Any]] = OrderedDict()
        self._ranked: dict[tuple[Any, ...], list[int]] = {}
        self._small: dict[Path, Activations | None] = {}

    # Small maps, from the disk

    def small(self, folder: ResultFolder, unit: Unit) -> NDArray[np.uint8] | None:
        """uint8 [images, 16, 16] of one unit: 0 is its low, 255 its high value; None without."""
        flat = folder.index(unit.model).flat(unit)
        views = folder.views()
        if views is not None and (row := views.models[unit.model].row(flat)) is not None:
            return views.models[unit.model].maps[row]
        activations = self._activations(folder)
        if activations is None:
            return None
        low, high = (side[[flat]] for side in activations.ranges(unit.model))
        images = range(activations.n_images)
        return quantised(activations.maps(unit.model, [flat], images), low, high)[0]

    def range_of(self, folder: ResultFolder, unit: Unit) -> tuple[float, float] | None:
        """Lowest and highest value of a unit's small maps, or None where nothing is kept."""
        flat = folder.index(unit.model).flat(unit)
        views = folder.views()
        if views is not None and (row := views.models[unit.model].row(flat)) is not None:
            kept = views.models[unit.model]
            return float(kept.low[row]), float(kept.high[row])
        stats = folder.stats(unit.model)
        if stats is None or not np.isfinite(stats.low[flat]):
            return None
        return float(stats.low[flat]), float(stats.high[flat])

    def _activations(self, folder: ResultFolder) -> Activations | None:
        """Small maps of all units, where the cache still has them."""
        if not self._own(folder):
            return None
        kept = self._bench.store.folder(activations_key(folder.path.name))
        if kept is None:
            self._small.pop(folder.path, None)
            return None
        if folder.path not in self._small:
            layers = {name: index.layers for name, index in folder.indexes().items()}
            try:
                self._small[folder.path] = Activations(kept, layers, folder.record.previews)
            except StoreError as error:
                log.warning("small maps of all units cannot be used: %s", error.sentence)
                self._small[folder.path] = None
        return self._small[folder.path]

    def best_images(self, folder: ResultFolder, neuron: RosettaNeuron, n: int) -> list[int]:
        """See `Engine.best_images`."""
        partners = (partner.unit for partner in neuron.partners.values())
        key = (folder.path, folder.record.created, neuron.anchor, *partners)
        if key not in self._ranked:
            if len(self._ranked) >= _RANKED:
                self._ranked.clear()
            self._ranked[key] = self._rank_images(folder, neuron)
        return self._ranked[key][:n]

    def _rank_images(self, folder: ResultFolder, neuron: RosettaNeuron) -> list[int]:
        units = [neuron.anchor, *(partner.unit for partner in neuron.partners.values())]
        found = [self.small(folder, unit) for unit in units]
        if found[0] is None:
            return self.image_numbers(folder)
        anchor, *others = (_normalised(maps) for maps in found if maps is not None)
        if not others:
            others = [anchor]
        value = np.mean([(anchor * other).mean((1, 2)) for other in others], axis=0)
        order = np.argsort(-value, kind="stable")
        numbers = self.image_numbers(folder)
        return [numbers[i] for i in order]

    def image_numbers(self, folder: ResultFolder) -> list[int]:
        """Images that small maps are kept of; all that have a picture where no maps are kept."""
        views = folder.views()
        return [int(i) for i in views.images] if views else list(range(folder.record.previews))

    def thumbs(
        self, folder: ResultFolder, neurons: Sequence[RosettaNeuron], image: int | None
    ) -> tuple[NDArray[np.uint8], list[int]]:
        """See `Engine.thumbs`."""
        models, numbers = list(folder.indexes()), self.image_numbers(folder)
        if image is not None and image not in numbers:
            raise _no_image(image, len(numbers))
        out = np.zeros((len(neurons), len(models), VIEW_SIDE, VIEW_SIDE), np.uint8)
        shown: list[int] = []
        for row, neuron in enumerate(neurons):
            best = self.best_images(folder, neuron, 1) if image is None else [image]
            shown.append(best[0] if best else 0)
            units = [neuron.anchor, *(partner.unit for partner in neuron.partners.values())]
            for unit in units:
                maps = self.small(folder, unit)
                if maps is not None and shown[-1] in numbers:
                    out[row, models.index(unit.model)] = maps[numbers.index(shown[-1])]
        return out, shown

    # Native maps, from the models

    def heatmaps(
        self, folder: ResultFolder, units: Sequence[Unit], image: int, size: int
    ) -> HeatmapRow:
        """See `Engine.heatmaps`."""
        if not 1 <= size <= NATIVE_SIDE:
            raise BadRequestError(f"The size is {size}.", f"Give 1 to {NATIVE_SIDE} cells.")
        for unit in units:
            folder.index(unit.model).flat(unit)  # raises where there is no such unit
        picture = folder.preview(image)
        native = self._native_maps(folder, dict.fromkeys(u.model for u in units), image)
        maps: dict[Unit, Maps] = {}
        ranges: dict[Unit, tuple[float, float]] = {}
        for unit in units:
            index = folder.index(unit.model)
            if unit.model in native:
                found = _shrunk(_unit_map(native[unit.model], index, unit), size)
            else:
                found = _shrunk(self._stored_map(folder, unit, image), size)
            maps[unit] = found
            ranges[unit] = self.range_of(folder, unit) or (float(found.min()), float(found.max()))
        return HeatmapRow(image, picture, maps, ranges)

    def active(
        self, folder: ResultFolder, image: int, box: pointing.Box, most: int
    ) -> list[ActiveUnits]:
        """See `Engine.active_units`."""
        folder.preview(image)  # raises where there is no such image
        native = self._native_maps(folder, dict.fromkeys(folder.indexes()), image)
        return [
            self._active_in(folder, index, native.get(model), (image, box, most))
            for model, index in folder.indexes().items()
        ]

    def _active_in(
        self,
        folder: ResultFolder,
        index: UnitIndex,
        native: NDArray[Any] | None,
        asked: tuple[int, pointing.Box, int],
    ) -> ActiveUnits:
        image, box, most = asked
        stats, model = folder.stats(index.model), index.model
        small = self._activations(folder) if native is None else None
        if stats is not None and native is not None:
            there = pointing.activity_there(_layer_maps(native, index), box)
            return pointing.most_active(there, stats, index, most)
        if stats is not None and small is not None and image < small.n_images:
            there = pointing.activity_there(small.layer_maps(model, image), box)
            return pointing.most_active(there, stats, index, most)
        views, numbers = folder.views(), self.image_numbers(folder)
        if views is None or image not in numbers:
            return ActiveUnits(model, (), 0, every=False)
        place = numbers.index(image)
        return pointing.most_active_kept(views.models[model], place, box, index, most)

    def _stored_map(self, folder: ResultFolder, unit: Unit, image: int) -> Maps:
        maps, limits = self.small(folder, unit), self.range_of(folder, unit)
        numbers = self.image_numbers(folder)
        if maps is None or limits is None or image not in numbers:
            raise StoreError(
                f"No map of {unit} on image {image} is kept, and its model is not ready here.",
                f"Run: python -m rosetta_ui zoo fetch {unit.model}",
            )
        low, high = limits
        return maps[numbers.index(image)].astype(np.float32) * ((high - low) / 255) + low

    def _native_maps(
        self, folder: ResultFolder, models: Mapping[str, None], image: int
    ) -> dict[str, NDArray[Any]]:
        """Model → all its maps of one image, as far as they can be had."""
        keys = {name: key for name in models if (key := self._key(folder, name, image))}
        found = {name: maps for name, key in keys.items() if (maps := self._kept(key)) is not None}
        missing = [name for name in keys if name not in found]
        if not missing or not self._may_compute():
            return found
        try:
            made = self._look(folder, missing, image)
        except RosettaError as error:
            log.warning("stored maps are shown instead of new ones: %s", error.sentence)
            return found
        for name, maps in made.items():
            self._bench.store.put(keys[name], {"": maps}, "maps")
            self._remember(keys[name], maps)
        return {**found, **made}

    def _key(self, folder: ResultFolder, model: str, image: int) -> str:
        """Where a model's maps of an image are kept; empty where they cannot be made here."""
        request, bench = folder.request, self._bench
        names = [name for name in (request.generator, model) if name]
        inputs: dict[str, Any] = {"image": image, "size": NATIVE_SIDE, "models": []}
        for name in names:
            if name not in bench.registry.names():
                return ""
            card = bench.registry.card(name)
            if bench.weights.state(card).state != "ready":
                return ""
            if bench.weights.digest(card) != folder.model(name).digest:
                return ""  # other weights than those of the result
            inputs["models"].append(model_key(card, bench.weights))
        if request.generator:
            inputs["images"] = [request.seed, request.psi, request.class_index]
        elif (photo := self._photo(folder, image)) is not None:
            inputs["images"] = [photo.sha256, *self._photo_size(folder)]
        else:
            return ""
        return digest("maps", inputs)

    def _kept(self, key: str) -> NDArray[Any] | None:
        if key in self._native:
            self._native.move_to_end(key)
            return self._native[key]
        arrays = self._bench.store.get(key)
        if arrays is None:
            return None
        self._remember(key, arrays[""])
        return arrays[""]

    def _remember(self, key: str, maps: NDArray[Any]) -> None:
        self._native[key] = maps
        while len(self._native) > _REMEMBERED:
            self._native.popitem(last=False)

    def _look(
        self, folder: ResultFolder, models: Sequence[str], image: int
    ) -> dict[str, NDArray[Any]]:
        request = folder.request
        values: dict[str, Any] = {
            "request": request,
            "image": image,
            "size": NATIVE_SIDE,
            "models": list(models),
        }
        if not request.generator:
            size = self._photo_size(folder)
            values |= {"photo": self._photo(folder, image), "photo_size": size}
        with self._bench.lock.hold():
            (made,) = dispatch("maps", self._token, values)
        return dict(made)

    def _photo(self, folder: ResultFolder, image: int) -> Photo | None:
        """The photo of an image, as the record of one of our own results names it."""
        photos = folder.record.run.inputs.get("pictures")
        if not self._own(folder) or not isinstance(photos, list) or image >= len(photos):
            return None
        name, sha256 = photos[image]
        return Photo(Path(folder.request.photos, str(name)), str(sha256))

    def _photo_size(self, folder: ResultFolder) -> tuple[int, int]:
        names = folder.request.backbones
        return photo_size([self._bench.registry.card(name) for name in names])

    def _own(self, folder: ResultFolder) -> bool:
        return folder.path.parent == self._bench.store.root / "results"


def _no_image(image: int, count: int) -> BadRequestError:
    return BadRequestError(f"No maps of image {image} are kept.", f"Images 0 to {count - 1} are.")


def _normalised(maps: NDArray[np.uint8]) -> Maps:
    values = maps.astype(np.float32)
    deviation = values.std()
    return (values - values.mean()) / (deviation if deviation > 0 else 1)


def _native_size(spec: LayerSpec) -> tuple[int, int]:
    if max(spec.size) <= NATIVE_SIDE:
        return spec.size
    return min(spec.size[0], NATIVE_SIDE), min(spec.size[1], NATIVE_SIDE)


def _layer_maps(flat: NDArray[Any], index: UnitIndex) -> Iterator[NDArray[Any]]:
    """All maps of a model layer by layer: [channels, h, w] each."""
    start = 0
    for spec in index.layers:
        height, width = _native_size(spec)
        size = spec.channels * height * width
        yield flat[start : start + size].reshape(spec.channels, height, width)
        start += size


def _unit_map(flat: NDArray[Any], index: UnitIndex, unit: Unit) -> Maps:
    """One unit's map out of all maps of its model, float32 [h, w]."""
    start = 0
    for spec in index.layers:
        height, width = _native_size(spec)
        cells = height * width
        if spec.name == unit.layer:
            at = start + unit.channel * cells
            return np.array(flat[at : at + cells], np.float32).reshape(height, width)
        start += spec.channels * cells
    raise ValueError(f"{unit} has no place among the maps of {index.model}")


def _shrunk(maps: Maps, size: int) -> Maps:
    """A map averaged so that its longer side is at most `size`."""
    height, width = maps.shape
    if max(height, width) <= size:
        return maps
    rows, columns = _averaging(height, min(height, size)), _averaging(width, min(width, size))
    return np.asarray(rows @ maps @ columns.T, np.float32)


def _averaging(side: int, target: int) -> Maps:
    """[target, side]: each row averages the cells that its new cell covers, by their shares."""
    edges = np.linspace(0, side, target + 1)
    left = np.maximum(edges[:-1, None], np.arange(side)[None])
    right = np.minimum(edges[1:, None], np.arange(1, side + 1)[None])
    weights = np.empty((target, side), np.float32)
    weights[:] = np.clip(right - left, 0, None)
    weights /= weights.sum(1, keepdims=True)
    return weights
