"""Concepts of a result: neurons grouped at a threshold, in words, with the classes they favour.

What grouping stands on is remembered, so that a slider regroups at once. Needs no torch, but for
the logits of classifiers, which come through `dispatch` and are kept in the cache.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.engine.answers import Answers
from rosetta_ui.engine.dispatch import dispatch
from rosetta_ui.engine.requests import model_key
from rosetta_ui.engine.views import Views
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError, RosettaError
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.store.importing import imported
from rosetta_ui.store.keys import digest
from rosetta_ui.types import ClassFavour, ConceptInfo, ConceptLabel, RosettaNeuron, Selection

if TYPE_CHECKING:
    from rosetta_ui.matching.concepts import Concept

log = logging.getLogger(__name__)

BEST = 8
"""Best images that a concept's words are told from."""

_REMEMBERED = 8
_LABELS = 4_000


@dataclass
class _Ground:
    """What groupings of one list of neurons stand on."""

    neurons: list[RosettaNeuron]
    known: list[int]
    correlation: NDArray[np.float64]


class Grouping:
    """Groups neurons into concepts.

    Args:
        bench: disk, models and the device's lock.
        token: of the bench, for `dispatch`.
        answers: knows neurons.
        views: knows best images.
        may_compute: whether models may be asked now.
    """

    def __init__(
        self,
        bench: Workbench,
        token: str,
        answers: Answers,
        views: Views,
        may_compute: Callable[[], bool],
    ) -> None:
        self._bench, self._token = bench, token
        self._answers, self._views, self._may_compute = answers, views, may_compute
        self._grounds: OrderedDict[tuple[Any, ...], _Ground] = OrderedDict()
        self._cells: OrderedDict[Any, NDArray[np.float32]] = OrderedDict()
        self._labels: OrderedDict[Any, ConceptLabel | None] = OrderedDict()
        self._lock = threading.Lock()

    def concepts(self, result: str, selection: Selection, threshold: float) -> list[ConceptInfo]:
        """See `Engine.concepts`."""
        folder = self._bench.shelf.open(result)
        given = imported(folder)
        if given is not None:  # without maps nothing can be grouped anew
            kept = {neuron.anchor for neuron in self._answers.neurons(result, selection)}
            return [concept for concept in given.concepts if kept.issuperset(concept.members)]
        ground = self._ground(result, folder, selection)
        return [
            ConceptInfo(
                number=found.number,
                members=tuple(ground.neurons[at].anchor for at in found.members),
                medoid=ground.neurons[found.medoid].anchor,
                agreement=found.agreement,
                label=self._label(folder, ground.neurons[found.medoid]),
            )
            for found in self._grouped(ground, threshold)
        ]

    def classes(
        self, result: str, selection: Selection, threshold: float
    ) -> dict[int, list[ClassFavour]]:
        """See `Engine.classes`."""
        folder = self._bench.shelf.open(result)
        given = imported(folder)
        if given is not None:
            return {number: list(favours) for number, favours in given.classes.items()}
        logits = self._logits(folder)
        views = folder.views()
        if not logits or views is None:
            return {}
        # Late, because the names come with timm, which takes seconds to load.
        from rosetta_ui.matching import labels
        from rosetta_ui.models.imagenet_classes import class_names

        ground = self._ground(result, folder, selection)
        shown = [at for at, image in enumerate(views.images) if image < folder.record.previews]
        images = [int(views.images[at]) for at in shown]
        kept, index = views.models[folder.anchor], folder.index(folder.anchor)
        told: dict[int, list[ClassFavour]] = {}
        for concept in self._grouped(ground, threshold):
            flats = (index.flat(ground.neurons[at].anchor) for at in concept.members)
            rows = [row for flat in flats if (row := kept.row(flat)) is not None]
            activity = labels.activity_of(kept.maps[rows][:, shown])
            told[concept.number] = [
                favour
                for name, values in logits.items()
                for favour in labels.favoured(activity, values[images], name, class_names())
            ]
        return told

    def _grouped(self, ground: _Ground, threshold: float) -> list[Concept]:
        from rosetta_ui.matching import answers

        if not 0 <= threshold <= 2:
            raise BadRequestError(f"The grouping is {threshold}.", "Give a number from 0 to 2.")
        return answers.grouped(ground.known, ground.correlation, threshold)

    def _ground(self, result: str, folder: ResultFolder, selection: Selection) -> _Ground:
        from rosetta_ui.matching import answers

        key = (folder.path, folder.record.created, selection)
        with self._lock:
            if key in self._grounds:
                self._grounds.move_to_end(key)
                return self._grounds[key]
        neurons = self._answers.neurons(result, selection)
        ground = _Ground(neurons, *answers.anchor_correlation(folder, neurons))
        _remember(self._lock, self._grounds, key, ground, _REMEMBERED)
        return ground

    def _label(self, folder: ResultFolder, neuron: RosettaNeuron) -> ConceptLabel | None:
        partners = (partner.unit for partner in neuron.partners.values())
        key = (folder.path, folder.record.created, neuron.anchor, *partners)
        with self._lock:
            if key in self._labels:
                return self._labels[key]
        label = self._described(folder, neuron)
        _remember(self._lock, self._labels, key, label, _LABELS)
        return label

    def _described(self, folder: ResultFolder, neuron: RosettaNeuron) -> ConceptLabel | None:
        from rosetta_ui.matching import labels

        maps = self._views.small(folder, neuron.anchor)
        numbers = self._views.image_numbers(folder)
        best = self._views.best_images(folder, neuron, BEST)
        shown = [image for image in best if 0 <= image < folder.record.previews]
        if maps is None or not shown:
            return None
        cells = self._picture_cells(folder)
        places = [numbers.index(image) for image in shown]
        return labels.describe(maps[places], cells[shown])

    def _picture_cells(self, folder: ResultFolder) -> NDArray[np.float32]:
        from rosetta_ui.matching import labels

        key = (folder.path, folder.record.created)
        with self._lock:
            if key in self._cells:
                return self._cells[key]
        shown = range(max(self._views.image_numbers(folder), default=-1) + 1)
        count = min(len(shown), folder.record.previews)
        cells = labels.picture_cells([folder.preview(at) for at in range(count)])
        _remember(self._lock, self._cells, key, cells, _REMEMBERED)
        return cells

    # What classifiers say about the pictures

    def _logits(self, folder: ResultFolder) -> dict[str, NDArray[Any]]:
        """Backbone → [previews, 1000], of those that are here and have ImageNet's classes."""
        bench = self._bench
        keys = {name: key for name in folder.backbones if (key := self._key(folder, name))}
        found = {name: kept[""] for name, key in keys.items() if (kept := bench.store.get(key))}
        missing = [name for name in keys if name not in found]
        if missing and self._may_compute():
            found |= self._classified(folder, missing, keys)
        return {name: found[name] for name in keys if name in found and found[name].size}

    def _classified(
        self, folder: ResultFolder, models: Sequence[str], keys: dict[str, str]
    ) -> dict[str, NDArray[Any]]:
        pictures = np.stack([folder.preview(at) for at in range(folder.record.previews)])
        made: dict[str, NDArray[Any]] = {}
        try:
            # One model after the other: whoever waits for the device goes between them.
            for name in models:
                values = {"pictures": pictures, "model": name}
                with self._bench.lock.hold():
                    (logits,) = dispatch("logits", self._token, values)
                self._bench.store.put(keys[name], {"": logits}, "logits")
                made[name] = logits
        except RosettaError as error:
            log.warning("no classes are named: %s", error.sentence)
        return made

    def _key(self, folder: ResultFolder, model: str) -> str:
        """Where a model's logits of a result's pictures are kept; empty where it is not here."""
        bench = self._bench
        sheets = {n: s for n, s in folder.record.files.items() if n.startswith("previews")}
        if model not in bench.registry.names() or not sheets:
            return ""
        card = bench.registry.card(model)
        if bench.weights.state(card).state != "ready":
            return ""
        if bench.weights.digest(card) != folder.model(model).digest:
            return ""  # other weights than those of the result
        return digest("logits", {"model": model_key(card, bench.weights), "pictures": sheets})


def _remember(
    lock: threading.Lock, known: OrderedDict[Any, Any], key: Any, value: Any, most: int
) -> None:
    with lock:
        known[key] = value
        known.move_to_end(key)
        while len(known) > most:
            known.popitem(last=False)
