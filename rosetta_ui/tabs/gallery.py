"""The Rosetta Gallery: which neurons the models share, and what each looks at.

It reads what the page asks, calls the engine and presents the answer. Filters, drawing and the
selection itself live in the page, so that they need no request.
"""

# ruff: noqa: D102 - the protocol repeats methods that the engine documents

from __future__ import annotations

import base64
import binascii
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import BadRequestError
from rosetta_ui.tabs import present
from rosetta_ui.tabs.cells import cell_json
from rosetta_ui.tabs.expressing import ExpressEngine, ExpressPanel
from rosetta_ui.tabs.files import file_json
from rosetta_ui.types import (
    CONCEPT_THRESHOLD,
    ActiveUnits,
    ClassFavour,
    ConceptInfo,
    HeatmapRow,
    Imported,
    MatchSummary,
    Partner,
    PersonNames,
    RosettaNeuron,
    ScoreName,
    Selection,
    Unit,
    UnitIndex,
)
from rosetta_ui.widgets.factory import Asked, packed, picture_uri
from rosetta_ui.widgets.gallery_bar import gallery_bar
from rosetta_ui.widgets.large_view import large_view
from rosetta_ui.widgets.map_grid import map_grid

THUMB = 128  # px: a grid cell of 76 CSS px on a screen of density 2, without being blurred
STRIP = 8
MOST_ACTIVE = 100
MOST_ROWS = (
    200  # rows of maps an answer may hold: 200 × 5 × 256 bytes is what one request should be
)

Value = TypeVar("Value")


class GalleryEngine(ExpressEngine, Protocol):
    """What the Gallery asks of the engine."""

    def index(self, result: str) -> dict[str, UnitIndex]: ...
    def summary(self, result: str, selection: Selection) -> MatchSummary: ...
    def pairs(
        self, result: str, backbone: str, selection: Selection
    ) -> list[tuple[Unit, Partner]]: ...
    def concepts(
        self, result: str, selection: Selection, threshold: float = CONCEPT_THRESHOLD
    ) -> list[ConceptInfo]: ...
    def classes(
        self, result: str, selection: Selection, threshold: float = CONCEPT_THRESHOLD
    ) -> dict[int, list[ClassFavour]]: ...
    def images(self, result: str) -> int: ...
    def preview(self, result: str, image: int) -> NDArray[np.uint8]: ...
    def best_images(self, result: str, neuron: RosettaNeuron, n: int = 8) -> list[int]: ...
    def thumbs(
        self, result: str, neurons: Sequence[RosettaNeuron], image: int | None = None
    ) -> tuple[NDArray[np.uint8], list[int]]: ...
    def heatmaps(
        self, result: str, units: Sequence[Unit], image: int, size: int = 64
    ) -> HeatmapRow: ...
    def export_file(
        self,
        result: str,
        selection: Selection,
        kind: str,
        neuron: str = "",
        names: PersonNames | None = None,
    ) -> bytes: ...
    def import_file(self, data: bytes) -> Imported: ...
    def active_units(
        self, result: str, image: int, box: tuple[float, float, float, float], most: int = 12
    ) -> list[ActiveUnits]: ...


class Gallery:
    """Answers to the Gallery's widgets; one for all visitors, so it keeps nothing about any."""

    def __init__(self, engine: GalleryEngine) -> None:
        self._engine = engine
        self._neurons = _Kept[Mapping[str, RosettaNeuron]](16)
        self._pictures = _Kept[str](4096)

    def results(self, asked: Asked) -> list[present.Json]:
        """Every result, bundled ones first."""
        return [present.result_json(info) for info in self._engine.results()]

    def neurons(self, asked: Asked) -> present.Json:
        """The neurons of one result under one rule, and the columns of the grid."""
        result = present.text_of(asked, "result")
        selection = self._selection(asked)
        index = self._engine.index(result)
        found = self._engine.neurons(result, selection)
        summary = self._engine.summary(result, selection)
        self._neurons.put((result, selection), {str(n.anchor): n for n in found})
        return {
            "result": result,
            "score": selection.score,
            "selection": {"rule": selection.rule, "k": selection.k, "score": selection.score},
            "models": present.model_columns(index),
            "rows": present.neuron_rows(found, index),
            "images": self._engine.images(result),
            "threshold": present.number(summary.threshold),
            "null_rosetta": present.count(summary.null_rosetta),
            "partial": summary.partial,
        }

    def concepts(self, asked: Asked) -> list[present.Json]:
        """The neurons of a list grouped into concepts, in words; members as places in it."""
        result, selection = present.text_of(asked, "result"), self._selection(asked)
        places = {anchor: at for at, anchor in enumerate(self._known(result, selection))}
        found = self._engine.concepts(result, selection, _grouping(asked))
        return [present.concept_json(concept, places) for concept in found]

    def classes(self, asked: Asked) -> present.Json:
        """The classes that go with each concept, by number; seconds at first."""
        result, selection = present.text_of(asked, "result"), self._selection(asked)
        found = self._engine.classes(result, selection, _grouping(asked))
        return {
            str(number): [
                [each.backbone, each.name, present.number(each.r), present.number(each.chance)]
                for each in favours
            ]
            for number, favours in found.items()
            if favours
        }

    def thumbs(self, asked: Asked) -> present.Json:
        """Maps of some rows of the grid, and the pictures that the page does not have yet."""
        result = present.text_of(asked, "result")
        known = self._known(result, self._selection(asked))
        anchors = [str(a) for a in asked.get("anchors", [])][:MOST_ROWS]
        neurons = [_found(known, anchor) for anchor in anchors]
        image = None if asked.get("image") is None else present.whole_of(asked, "image", 0)
        maps, shown = self._engine.thumbs(result, neurons, image)
        kept = range(self._engine.images(result))  # an imported dictionary has none
        missing = set(shown).intersection(kept) - set(asked.get("have", []))
        return {
            "maps": packed(maps),
            "images": [int(i) for i in shown],
            "pictures": {str(i): self._picture(result, i) for i in sorted(missing)},
        }

    def large(self, asked: Asked) -> present.Json:
        """One neuron on one image in every model at the maps' own size, with its best images.

        A model that is not loaded yet may take seconds: `coarse` fills the time.
        """
        result, neuron, image, best = self._view(asked)
        units = [neuron.anchor, *(partner.unit for partner in neuron.partners.values())]
        row = self._engine.heatmaps(result, units, image)
        cells = [_cell(row, unit) for unit in units]
        return self._framed(result, image, best, row.picture) | {"cells": cells, "coarse": False}

    def coarse(self, asked: Asked) -> present.Json:
        """The same from the stored 16 × 16 maps: at once, as shares of each unit's range."""
        result, neuron, image, best = self._view(asked)
        maps, _ = self._engine.thumbs(result, [neuron], image)
        units = [neuron.anchor, *(partner.unit for partner in neuron.partners.values())]
        cells = [
            cell_json(unit, stored.astype(np.float32) / 255, (0.0, 1.0))
            for unit, stored in zip(units, maps[0], strict=True)
        ]
        picture = self._engine.preview(result, image)
        known = bool(maps.any())
        return self._framed(result, image, best, picture) | {"cells": cells, "coarse": known}

    def active(self, asked: Asked) -> present.Json:
        """The neurons most active at a place of one image, in all models together.

        A neuron's value in a model is how far its map there stands above its own mean over the
        image, so that one that is active everywhere does not win everywhere.
        """
        result = present.text_of(asked, "result")
        known = self._known(result, self._selection(asked))
        neurons, anchors = list(known.values()), list(known)
        image = present.whole_of(asked, "image", 0)
        maps, _ = self._engine.thumbs(result, neurons, image)
        shares = maps.astype(np.float32) / 255
        there = shares[:, :, *_cells(asked.get("box"), maps.shape[-1])].mean(axis=(2, 3))
        value = np.maximum(there - shares.mean(axis=(2, 3)), 0)
        order = np.argsort(-value.mean(axis=1), kind="stable")[:MOST_ACTIVE]
        return {
            "anchors": [anchors[at] for at in order],
            "values": [[round(float(v), 3) for v in there[at]] for at in order],
        }

    def there(self, asked: Asked) -> list[present.Json]:
        """The units most active at a place, matched or not, model by model; seconds at first."""
        found = self._engine.active_units(
            present.text_of(asked, "result"),
            present.whole_of(asked, "image", 0),
            _box(asked.get("box")),
        )
        return [
            {
                "model": each.model,
                "looked_at": each.looked_at,
                "every": each.every,
                "units": [[str(unit), present.number(value, 2)] for unit, value in each.units],
            }
            for each in found
        ]

    def unit(self, asked: Asked) -> present.Json:
        """Any unit's map of one image, and the units that it is paired with under the rule.

        A model that is not loaded yet may take seconds.
        """
        result, selection = present.text_of(asked, "result"), self._selection(asked)
        unit = Unit.parse(present.text_of(asked, "unit"))
        row = self._engine.heatmaps(result, [unit], present.whole_of(asked, "image", 0))
        return {
            "image": row.image_index,
            "picture": picture_uri(row.picture, 512),
            "cell": _cell(row, unit),
            "pairs": [
                [str(other), present.number(score), present.number(null)]
                for other, score, null in self._paired(result, selection, unit)
            ],
        }

    def _paired(
        self, result: str, selection: Selection, unit: Unit
    ) -> Iterator[tuple[Unit, float, float]]:
        anchor, *backbones = self._engine.index(result)
        for backbone in backbones if unit.model == anchor else [unit.model]:
            for row, partner in self._engine.pairs(result, backbone, selection):
                if unit == row:
                    yield partner.unit, partner.score, partner.null
                elif unit == partner.unit:
                    yield row, partner.score, partner.null

    def asked_neuron(self, asked: Asked) -> tuple[str, RosettaNeuron]:
        """The result and the neuron that a question names.

        Raises:
            BadRequestError: the unit is no neuron under the rule.
        """
        result = present.text_of(asked, "result")
        known = self._known(result, self._selection(asked))
        return result, _found(known, present.text_of(asked, "anchor"))

    def file(self, asked: Asked) -> present.Json:
        """A file for others: a page, a film, a table."""
        result, kind = present.text_of(asked, "result"), present.text_of(asked, "kind")
        names = PersonNames(
            _named(asked.get("names")), _named(asked.get("concepts")), _grouping(asked)
        )
        neuron = present.text_of(asked, "neuron")
        data = self._engine.export_file(result, self._selection(asked), kind, neuron, names)
        return file_json(result, kind, data)

    def take(self, asked: Asked) -> present.Json:
        """A dictionary or bundle of another installation becomes a result here."""
        try:
            data = base64.b64decode(present.text_of(asked, "data"), validate=True)
        except binascii.Error as error:
            raise BadRequestError("The file did not arrive whole.", "Choose it again.") from error
        came = self._engine.import_file(data)
        return {
            "result": came.result,
            "rule": came.selection.rule,
            "k": came.selection.k,
            "score": came.selection.score,
            "favourites": dict(came.names.neurons),
            "concept_names": dict(came.names.concepts),
            "note": came.note,
        }

    def _view(self, asked: Asked) -> tuple[str, RosettaNeuron, int, list[int]]:
        """Result, neuron, image and the neuron's best images of a question for one view."""
        result, neuron = self.asked_neuron(asked)
        best = [int(i) for i in self._engine.best_images(result, neuron, STRIP)]
        given = asked.get("image")
        image = best[0] if given is None and best else present.whole_of(asked, "image", 0)
        return result, neuron, image, best

    def _framed(
        self, result: str, image: int, best: list[int], picture: NDArray[np.uint8]
    ) -> present.Json:
        return {
            "image": image,
            "n_images": self._engine.images(result),
            "picture": picture_uri(picture, 512),
            "best": best,
            "pictures": {str(i): self._picture(result, i) for i in best},
        }

    def _selection(self, asked: Asked) -> Selection:
        score: ScoreName = Selection().score
        if not present.text_of(asked, "score"):  # only the first question of a page leaves it out
            result = present.text_of(asked, "result")
            for info in self._engine.results():
                score = info.request.score if info.result == result else score
        return present.selection_of(asked, score)

    def _known(self, result: str, selection: Selection) -> Mapping[str, RosettaNeuron]:
        def ask() -> Mapping[str, RosettaNeuron]:
            return {str(n.anchor): n for n in self._engine.neurons(result, selection)}

        return self._neurons.get((result, selection), ask)

    def _picture(self, result: str, image: int) -> str:
        def ask() -> str:
            return picture_uri(self._engine.preview(result, image), THUMB)

        return self._pictures.get((result, image), ask)


def _named(given: object) -> dict[str, str]:
    """A person's names for units, as the page keeps them."""
    return {str(k): str(v)[:60] for k, v in given.items()} if isinstance(given, dict) else {}


def _grouping(asked: Asked) -> float:
    if asked.get("grouping") is None:
        return CONCEPT_THRESHOLD
    return present.decimal_of(asked, "grouping")


def _box(box: object) -> tuple[float, float, float, float]:
    """A point or box of the picture as x0, y0, x1, y1.

    Raises:
        BadRequestError: it is none.
    """
    numbers = box if isinstance(box, list) else []
    if len(numbers) not in (2, 4) or not all(isinstance(v, int | float) for v in numbers):
        raise BadRequestError(f"{box!r} is no place in a picture.", "Give [x, y] or a box.")
    x0, y0, x1, y1 = (min(max(float(v), 0.0), 1.0) for v in (numbers * 2)[:4])
    return x0, y0, x1, y1


def _cells(box: object, size: int) -> tuple[slice, slice]:
    """Rows and columns of a map that a point or box of the picture covers; at least one cell."""
    x0, y0, x1, y1 = _box(box)

    def cells(low: float, high: float) -> slice:
        first = min(int(min(low, high) * size), size - 1)
        return slice(first, max(first + 1, int(np.ceil(max(low, high) * size))))

    return cells(y0, y1), cells(x0, x1)


class _Kept(Generic[Value]):
    """The newest answers, so that scrolling and stepping do not ask the engine twice."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: Hashable, value: Value) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)

    def get(self, key: Hashable, ask: Callable[[], Value]) -> Value:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = ask()
        self.put(key, value)
        return value


def _found(known: Mapping[str, RosettaNeuron], anchor: str) -> RosettaNeuron:
    neuron = known.get(anchor)
    if neuron is None:
        raise BadRequestError(
            f"'{anchor}' is no Rosetta Neuron here.", "Choose another rule, K or score."
        )
    return neuron


def _cell(row: HeatmapRow, unit: Unit) -> dict[str, Any]:
    return cell_json(unit, row.maps[unit], row.ranges[unit])


def gallery_tab(engine: GalleryEngine) -> None:
    """Lay out the Gallery inside the tab that is open."""
    gallery = Gallery(engine)
    more = ExpressPanel(engine, gallery.asked_neuron)
    with gr.Column(elem_id="gallery-page", elem_classes="r-page"):
        gallery_bar(
            {
                "results": gallery.results,
                "neurons": gallery.neurons,
                "concepts": gallery.concepts,
                "classes": gallery.classes,
                "active": gallery.active,
                "file": gallery.file,
                "take": gallery.take,
            }
        )
        with gr.Row(elem_id="gallery-split"):
            with gr.Column(elem_id="gallery-list", min_width=0):
                map_grid(gallery.thumbs)
            with gr.Column(elem_id="gallery-view", min_width=0):
                large_view(
                    {
                        "coarse": gallery.coarse,
                        "large": gallery.large,
                        "there": gallery.there,
                        "unit": gallery.unit,
                        "express": more.express,
                        "expressed": more.expressed,
                        "stop": more.stop,
                    }
                )
