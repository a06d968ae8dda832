"""Files for others: the dictionary as a table, a page that needs no server, a short film.

Joins what the engine knows about a result with what rendering and store write. Needs no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rosetta_ui.engine.answers import Answers
from rosetta_ui.engine.carrying import Carrying
from rosetta_ui.engine.views import Views
from rosetta_ui.errors import BadRequestError, EmptyMatchError
from rosetta_ui.rendering.animation import frame, webp
from rosetta_ui.rendering.page import MOST_NEURONS, PageFacts, PageNeuron, gallery_page
from rosetta_ui.store.dictionary import dictionary_json
from rosetta_ui.store.exchange import neurons_csv, neurons_parquet
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.store.shelf import ResultShelf
from rosetta_ui.types import PersonNames, RosettaNeuron, Selection

FILE_KINDS = ("json", "csv", "parquet", "zip", "html", "webp")
FILM_IMAGES = 8


@dataclass(frozen=True)
class ExportRequest:
    """Which file is wanted.

    Attributes:
        kind: json, csv, parquet (the dictionary), zip (with pictures and maps), html (the gallery),
            webp (a film of one neuron).
        neuron: the anchor of the film, spelled; empty takes the best.
        names: what a person called neurons and concepts.
    """

    kind: str
    neuron: str = ""
    names: PersonNames = field(default_factory=PersonNames)


class Sharing:
    """Makes files of results.

    Args:
        shelf: opens results.
        answers: knows neurons.
        views: knows pictures and small maps.
        carrying: knows what dictionaries and bundles hold.
    """

    def __init__(
        self, shelf: ResultShelf, answers: Answers, views: Views, carrying: Carrying
    ) -> None:
        self._shelf, self._answers, self._views = shelf, answers, views
        self._carrying = carrying

    def file(self, result: str, selection: Selection, asked: ExportRequest) -> bytes:
        """See `Engine.export_file`."""
        ways: dict[str, Callable[[], bytes]] = {
            "json": lambda: self._json(result, selection, asked.names),
            "csv": lambda: neurons_csv(self._answers.neurons(result, selection)).encode(),
            "parquet": lambda: neurons_parquet(self._answers.neurons(result, selection)),
            "zip": lambda: self._carrying.bundle(result, selection, asked.names),
            "html": lambda: self._page(result, selection, asked.names.neurons).encode(),
            "webp": lambda: self._film(result, selection, asked.neuron),
        }
        if asked.kind not in ways:
            raise BadRequestError(
                f"'{asked.kind}' is no kind of file.", f"Choose {', '.join(FILE_KINDS)}."
            )
        return ways[asked.kind]()

    def _json(self, result: str, selection: Selection, names: PersonNames) -> bytes:
        dictionary = self._carrying.dictionary(result, selection, names)
        return json.dumps(dictionary_json(dictionary), indent=1, allow_nan=False).encode()

    def _page(self, result: str, selection: Selection, names: Mapping[str, str]) -> str:
        folder = self._shelf.open(result)
        found = self._found(result, selection)
        # What a person named comes first, then the best; the page holds no more than it can.
        chosen = sorted(found, key=lambda n: str(n.anchor) not in names)[:MOST_NEURONS]
        maps, images = self._views.thumbs(folder, chosen, None)
        pictures = {at: folder.preview(at) for at in sorted(set(images)) if self._has(folder, at)}
        summary = self._answers.summary(result, selection)
        title = self._shelf.info(result).title
        terms = [f"{m.name}: {m.terms}" for m in folder.record.models if m.terms]
        chance = "" if summary.null_rosetta < 0 else f", {summary.null_rosetta} by chance"
        lines = [
            f"{summary.rosetta} Rosetta Neurons{chance}; the best {len(chosen)} are shown. Rule "
            f"{selection.rule}, K {selection.k}, score {selection.score}, "
            f"{folder.record.images} images, seed {folder.request.seed}.",
            *terms,
        ]
        limit = _number(summary.threshold)
        facts = PageFacts(title, lines, list(folder.indexes()), limit)
        rows = [_page_neuron(n, at, names) for n, at in zip(chosen, images, strict=True)]
        return gallery_page(facts, rows, maps, pictures)

    def _film(self, result: str, selection: Selection, anchor: str) -> bytes:
        folder, found = self._shelf.open(result), self._found(result, selection)
        neuron = next((n for n in found if str(n.anchor) == anchor), None)
        if neuron is None and anchor:
            raise BadRequestError(
                f"'{anchor}' is no Rosetta Neuron here.", "Choose another rule, K or score."
            )
        neuron = neuron or found[0]
        captions = ["picture", *(_caption(neuron, name) for name in folder.indexes())]
        frames = [
            frame(
                folder.preview(image), self._views.thumbs(folder, [neuron], image)[0][0], captions
            )
            for image in self._views.best_images(folder, neuron, FILM_IMAGES)
            if self._has(folder, image)
        ]
        if not frames:
            raise BadRequestError(
                "This result keeps no pictures to make a film of.", "Run the match again."
            )
        return webp(frames)

    def _found(self, result: str, selection: Selection) -> list[RosettaNeuron]:
        found = self._answers.neurons(result, selection)
        if not found:
            raise EmptyMatchError(
                "There is no Rosetta Neuron under this rule.", "Choose a larger K, or another rule."
            )
        return found

    def _has(self, folder: ResultFolder, image: int) -> bool:
        return 0 <= image < folder.record.previews


def _caption(neuron: RosettaNeuron, model: str) -> str:
    if model == neuron.anchor.model:
        return f"{model} {neuron.anchor.layer}:{neuron.anchor.channel}"
    return f"{model} r {neuron.partners[model].score:.2f}"


def _page_neuron(neuron: RosettaNeuron, image: int, names: Mapping[str, str]) -> PageNeuron:
    return PageNeuron(
        unit=str(neuron.anchor),
        name=names.get(str(neuron.anchor), ""),
        concept=neuron.concept,
        above_null=neuron.above_null,
        image=image,
        partners=[
            (str(p.unit), round(p.score, 4), _number(p.null)) for p in neuron.partners.values()
        ],
    )


def _number(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
