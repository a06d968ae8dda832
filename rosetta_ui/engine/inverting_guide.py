"""Which matched pairs guide an inversion: from a result folder to plain values. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError, EmptyMatchError, StoreError, WeightsUnavailableError
from rosetta_ui.inversions import InversionRequest
from rosetta_ui.inverting.guide import Guide, Pair, chosen_pairs
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.types import Partner, ResultInfo, ScoreName, Selection, Unit

Pairs = Callable[[str, str, Selection], list[tuple[Unit, Partner]]]
"""(result, backbone, selection) → its matched pairs, highest score first."""

Stats = dict[str, NDArray[np.float32]]


def dictionaries(bench: Workbench, generator: str) -> list[ResultInfo]:
    """Results of a generator: bundled ones first, then newest first."""
    return [info for info in bench.shelf.list() if info.request.generator == generator]


def guide_of(
    bench: Workbench, pairs: Pairs, request: InversionRequest, *, always: bool = False
) -> Guide | None:
    """What guides a request; None where no neuron does.

    Args:
        bench: has the results.
        pairs: of a result.
        request: names the generator, the result and the backbones.
        always: whether also where the neurons have no weight.

    Raises:
        BadRequestError: the result is another generator's, or was made with other weights.
        EmptyMatchError: no result has matched pairs of this generator.
        WeightsUnavailableError: a backbone's weights are not here.
        UnknownModelError: the result has no such backbone.
    """
    if not request.guidance.neurons and not always:
        return None
    result = request.guidance.result or _usual(bench, request.generator)
    folder = bench.shelf.open(result)
    if folder.anchor != request.generator:
        raise BadRequestError(
            f"This result has no matched neurons of '{request.generator}'; it is of "
            f"'{folder.anchor}'.",
            f"Choose a result of '{request.generator}', or match it first.",
        )
    _same_weights(bench, folder, request.generator)
    names = _ready(bench, folder, request.guidance.backbones)
    stats = {name: _stats(folder, name) for name in (request.generator, *names)}
    mean = {name: each[0] for name, each in stats.items()}
    deviation = {name: each[1] for name, each in stats.items()}
    # The centred score sees what moves, not what aligned faces share by layout.
    scores = folder.record.tables[0].kept
    score: ScoreName = "centred" if "centred" in scores else next(iter(scores))
    selection = Selection(rule="mutual", k=1, score=score)
    found = {
        name: [Pair(unit, p.unit, p.score) for unit, p in pairs(result, name, selection)]
        for name in names
    }
    return Guide(result, chosen_pairs(found, _layers(folder), deviation), mean, deviation)


def _usual(bench: Workbench, generator: str) -> str:
    known = dictionaries(bench, generator)
    if not known:
        raise EmptyMatchError(
            f"No result says which neurons '{generator}' shares with the backbones.",
            f"Match '{generator}' first, or set the neurons' weight to 0.",
        )
    return known[0].result


def _same_weights(bench: Workbench, folder: ResultFolder, name: str) -> None:
    card = bench.registry.card(name)
    if bench.weights.digest(card) != folder.model(name).digest:
        raise BadRequestError(
            f"The result was made with other weights of '{name}' than those that are here.",
            "Match again, or choose another result.",
        )


def _ready(bench: Workbench, folder: ResultFolder, chosen: tuple[str, ...]) -> list[str]:
    """The backbones that can look: all that were named, or those of the result that are here."""
    for name in chosen:
        folder.model(name)  # raises where the result has none of this name
    ready: list[str] = []
    for name in chosen or folder.backbones:
        if name not in bench.registry.names():
            continue
        status = bench.weights.state(bench.registry.card(name))
        if status.state == "ready":
            _same_weights(bench, folder, name)
            ready.append(name)
        elif chosen:
            raise WeightsUnavailableError(
                status.detail, status.command and f"Run: {status.command}"
            )
    if not ready:
        names = " ".join(folder.backbones)
        raise WeightsUnavailableError(
            "None of the backbones that guide is ready here.",
            f"Run: python -m rosetta_ui zoo fetch {names}",
        )
    return ready


def _layers(folder: ResultFolder) -> list[str]:
    """Layers of the generator that an inversion may ask for."""
    from rosetta_ui.editing.setup import editable

    return [spec.name for spec in editable(folder.index(folder.anchor).layers)]


def _stats(folder: ResultFolder, name: str) -> tuple[Stats, Stats]:
    """(mean, deviation) of a model's units, by layer."""
    stats = folder.stats(name)
    if stats is None:
        raise StoreError(
            f"This result keeps no statistics of '{name}'.", "Choose another one, or match again."
        )
    index = folder.index(name)

    def by_layer(values: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
        return {spec.name: values[index.layer_slice(spec.name)] for spec in index.layers}

    return dict(by_layer(stats.mean)), dict(by_layer(stats.deviation))
