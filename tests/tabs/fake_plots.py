"""Plots, comparison and files of the drawn engine: real figures of drawn numbers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from rosetta_ui.engine.plot_names import PLOTS
from rosetta_ui.errors import BadRequestError
from rosetta_ui.rendering import figures
from rosetta_ui.rendering.figures import Axes, Series
from rosetta_ui.types import PersonNames, RosettaNeuron, Selection

EDGES = np.linspace(0, 1, 31).tolist()


class FakePlots:
    """What the drawn engine adds to `FakeEngine`, which gives neurons and index."""

    def plot(
        self,
        result: str,
        selection: Selection,
        name: str,
        model: str = "",
        layers: tuple[str, str] = ("", ""),
    ) -> dict[str, Any]:
        if name not in PLOTS:
            raise BadRequestError(f"There is no plot '{name}'.", "Try layers.")
        index = self.index(result)  # pyright: ignore
        told = PLOTS[name]
        choices = {"backbone": list(index)[1:], "model": list(index), "": []}[told.of]
        model = model if model in choices else (choices[0] if choices else "")
        layers = layers if name == "layers" and all(layers) else ("", "")
        neurons: list[RosettaNeuron] = self.neurons(result, selection)  # pyright: ignore
        figure = None
        if name != "convergence":
            figure = _figure(name, model, layers, index, neurons)
        return {
            "name": name,
            "title": told.title,
            "read": told.read,
            "why": "" if figure else "This result keeps no tables of some of its images.",
            "figure": figure,
            "plots": [{"name": n, "title": t.title} for n, t in PLOTS.items()],
            "choices": choices,
            "of": told.of,
            "model": model,
            "layers": list(layers),
        }

    def comparison(
        self, first: str, second: str, selection: Selection, backbone: str = ""
    ) -> dict[str, Any]:
        neurons: list[RosettaNeuron] = self.neurons(first, selection)  # pyright: ignore
        names = list(neurons[0].partners)
        backbone = backbone if backbone in names else names[0]
        pairs: dict[str, list[list[Any]]] = {"both": [], "first": [], "second": []}
        for at, neuron in enumerate(neurons):
            partner = neuron.partners[backbone]
            row = [
                str(neuron.anchor),
                str(partner.unit),
                partner.score,
                partner.score - (at * 37 % 100) / 500,
            ]
            pairs[("both", "both", "first", "second")[at % 4]].append(row)
        series = [
            Series(
                where,
                role,
                [p[2] for p in pairs[where]],
                [p[3] for p in pairs[where]],
                [{"neuron": p[0]} for p in pairs[where]],
            )
            for where, role in (("both", "accent"), ("first", "warn"), ("second", "good"))
        ]
        counts = {w: len(p) for w, p in pairs.items()}
        return {
            "anchor": neurons[0].anchor.model,
            "score": selection.score,
            "rosetta": [counts["both"], counts["first"], counts["second"]],
            "missing_first": [],
            "missing_second": ["clip"],
            "tables": [
                {
                    "backbone": name,
                    "both": counts["both"],
                    "only_first": counts["first"],
                    "only_second": counts["second"],
                    "jaccard": 0.5,
                    "correlation": 0.93,
                    "k": selection.k,
                }
                for name in names
            ],
            "backbone": backbone,
            "pairs": pairs,
            "figure": figures.scatter(series, Axes("r in this result", "r in the other")),
        }

    def export_file(
        self,
        result: str,
        selection: Selection,
        kind: str,
        neuron: str = "",
        names: PersonNames | None = None,
    ) -> bytes:
        if kind not in ("json", "csv", "parquet", "zip", "html", "webp"):
            raise BadRequestError(f"'{kind}' is no kind of file.", "Choose json.")
        given = names or PersonNames()
        told = {"kind": kind, "neuron": neuron, "names": dict(given.neurons)}
        if kind == "json":
            told |= self.export(result, selection)  # pyright: ignore
            told |= {"concept_names": dict(given.concepts), "favourites": dict(given.neurons)}
        return json.dumps(told).encode()


def _figure(
    name: str, model: str, layers: tuple[str, str], index: Any, neurons: list[RosettaNeuron]
) -> dict[str, Any]:
    anchor = next(iter(index))
    if layers[0]:
        rows = [n for n in neurons if n.anchor.layer == layers[0]][:20]
        names = [str(n.anchor.channel) for n in rows]
        values = [
            [round(0.9 / (1 + abs(i - j)), 3) for j in range(len(rows))] for i in range(len(rows))
        ]
        clicks = [[{"neuron": str(n.anchor)} for _ in rows] for n in rows]
        words = [[f"{a.anchor}" for _ in rows] for a in rows]
        return figures.matrix(
            values, (names, names), Axes("units", "units", "r"), clicks=clicks, words=words
        )
    if name in ("layers", "models"):
        rows = list(index) if name == "models" else [s.name for s in index[anchor].layers]
        cols = rows if name == "models" else [s.name for s in index[model].layers]
        rng = np.random.default_rng(len(cols))
        values = np.round(rng.random((len(rows), len(cols))), 3).tolist()
        chosen = (
            (lambda r, c: {"rows": r, "cols": c})
            if name == "layers"
            else (lambda _r, c: {"backbone": c})
        )
        clicks = [[chosen(r, c) for c in cols] for r in rows]
        return figures.matrix(
            values, (rows, cols), Axes("layer", "layer", "mean best r"), clicks=clicks
        )
    clicks = [{"neuron": str(n.anchor)} for n in neurons]
    if name == "scores":
        words = [str(n.anchor) for n in neurons]
        return figures.scatter(
            [
                Series(
                    "above the null",
                    "accent",
                    [n.null_min for n in neurons],
                    [n.score_min for n in neurons],
                    clicks,
                    words,
                )
            ],
            Axes("null", "weakest r"),
        )
    if name == "depth":
        some = neurons[:5]
        group = Series(
            anchor, "accent", [0, 0.25, 0.5, 0.75, 1], [n.score_min for n in some], clicks[:5]
        )
        spread = {anchor: [(n.score_min - 0.1, n.score_min + 0.1) for n in some]}
        return figures.bands([group], spread, Axes("depth", "best score of a unit"))
    if name == "where":
        names = [s.name for s in index[model].layers]
        return figures.bars(
            [Series(model, "accent", names, list(range(1, len(names) + 1)), clicks)],
            Axes("layer", "Rosetta Neurons"),
        )
    counts = np.histogram([n.score_min for n in neurons], EDGES)[0].tolist()
    null = np.histogram(np.random.default_rng(0).normal(0.3, 0.05, 400), EDGES)[0].tolist()
    groups = [
        Series("shuffled images", "null", (), null, clicks[:30]),
        Series("real images", "accent", (), counts, clicks[:30]),
    ]
    return figures.histogram(
        EDGES, groups, Axes("best score of a unit", "share of units, %"), threshold=0.34
    )
