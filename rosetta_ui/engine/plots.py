"""The plots of a result and of two results, each drawn once. Needs no torch and no weights."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rosetta_ui.engine.answers import Answers
from rosetta_ui.engine.drawing import Drawing
from rosetta_ui.engine.plot_names import PLOTS, PlotRequest
from rosetta_ui.errors import BadRequestError
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.store.shelf import ResultShelf
from rosetta_ui.types import Selection

if TYPE_CHECKING:
    from rosetta_ui.matching.compare import ComparedPair, ComparedTable, Comparison

_REMEMBERED = 48
MOST_LISTED = 200
"""Pairs of each kind and backbone that a comparison lists; the plot shows them all."""
MOST_POINTS = 4_000
"""Points of each kind in the plot of a comparison: more make it slow and say nothing new."""

Json = dict[str, Any]


class Plots:
    """Draws plots of results, each once.

    Args:
        shelf: opens results.
        answers: knows neurons and reports.
    """

    def __init__(self, shelf: ResultShelf, answers: Answers) -> None:
        self._shelf, self._answers = shelf, answers
        self._known: OrderedDict[tuple[Any, ...], Json] = OrderedDict()
        self._lock = threading.Lock()

    def plot(self, result: str, selection: Selection, asked: PlotRequest) -> Json:
        """See `Engine.plot`."""
        if asked.name not in PLOTS:
            raise BadRequestError(f"There is no plot '{asked.name}'.", f"Try {', '.join(PLOTS)}.")
        folder = self._shelf.open(result)
        key = (result, folder.record.created, selection, asked)
        with self._lock:
            if key in self._known:
                return self._known[key]
        drawn = self._draw(result, folder, selection, asked)
        with self._lock:
            self._known[key] = drawn
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return drawn

    def _draw(
        self, result: str, folder: ResultFolder, selection: Selection, asked: PlotRequest
    ) -> Json:
        told = PLOTS[asked.name]
        choices = {"backbone": folder.backbones, "model": list(folder.indexes()), "": []}[told.of]
        model = asked.model if asked.model in choices else (choices[0] if choices else "")
        drawing = Drawing(
            folder,
            selection,
            self._answers.report(result, selection),
            self._answers.neurons(result, selection),
        )
        layers = asked.layers if asked.name == "layers" and all(asked.layers) else ("", "")
        figure, why, read = drawing.of(asked.name, model, layers)
        return {
            "name": asked.name,
            "title": told.title,
            "read": read or told.read,
            "why": why,
            "figure": figure,
            "plots": [{"name": name, "title": t.title} for name, t in PLOTS.items()],
            "choices": choices,
            "of": told.of,
            "model": model,
            "layers": list(layers),
        }

    def compare(self, first: str, second: str, selection: Selection) -> Comparison:
        """See `Engine.compare`."""
        from rosetta_ui.matching.compare import compare  # scipy, through the answers

        return compare(self._shelf.open(first), self._shelf.open(second), selection)

    def comparison(self, first: str, second: str, selection: Selection, backbone: str) -> Json:
        """See `Engine.comparison`."""
        found = self.compare(first, second, selection)
        names = [table.backbone for table in found.tables]
        table = found.tables[names.index(backbone) if backbone in names else 0]
        listed = {
            where: [_pair(p) for p in table.pairs if p.where == where][:MOST_LISTED]
            for where in ("both", "first", "second")
        }
        return {
            "anchor": found.anchor,
            "score": found.score,
            "rosetta": list(found.rosetta),
            "missing_first": list(found.missing_first),
            "missing_second": list(found.missing_second),
            "tables": [_counts(each) for each in found.tables],
            "backbone": table.backbone,
            "pairs": listed,
            "figure": _agreement(table),
        }


def _counts(table: ComparedTable) -> Json:
    values = asdict(table)
    del values["pairs"]
    return {name: _finite(value) for name, value in values.items()}


def _pair(pair: ComparedPair) -> list[Any]:
    return [str(pair.anchor), str(pair.partner), _finite(pair.first), _finite(pair.second)]


def _agreement(table: ComparedTable) -> Json | None:
    """The scores of the pairs in one result against those in the other."""
    from rosetta_ui.rendering import figures

    series: list[figures.Series] = []
    for where, name, role in (
        ("both", "in both", "accent"),
        ("first", "only in this one", "warn"),
        ("second", "only in the other", "good"),
    ):
        known = [
            pair
            for pair in table.pairs
            if pair.where == where and math.isfinite(pair.first) and math.isfinite(pair.second)
        ][:MOST_POINTS]
        if known:
            series.append(
                figures.Series(
                    name,
                    role,
                    [round(pair.first, 4) for pair in known],
                    [round(pair.second, 4) for pair in known],
                    [{"neuron": str(pair.anchor)} for pair in known],
                    [
                        f"{p.anchor}<br>{p.partner}<br>r {p.first:.2f} here, {p.second:.2f} there"
                        for p in known
                    ],
                )
            )
    axes = figures.Axes("r in this result", "r in the other")
    return figures.scatter(series, axes) if series else None


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
