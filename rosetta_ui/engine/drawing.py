"""Draws one result under one selection: joins its numbers with figures.

Where a result lacks what a plot needs, the answer is why. Needs no torch and no weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rosetta_ui.engine.plot_names import PLOTS
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.types import RosettaNeuron, Selection, Unit

Json = dict[str, Any]
Drawn = tuple[Json | None, str, str]
"""The figure or None, why there is none, and how to read it where that is not the usual."""

_NO_NULL = "This result keeps no match of shuffled images, so there is no chance to compare with."
_NO_STATS = "This result keeps no statistics of its units."
_NO_NEURON = "No Rosetta Neuron is found under this rule: choose a larger K, or another rule."
_NO_STEPS = (
    "This result keeps no tables of some of its images, from which this is drawn; a match run "
    "here keeps them from 16 images on."
)


class Drawing:
    """One result under one selection, ready to be drawn.

    Args:
        folder: the result.
        selection: how neurons are chosen.
        report: of the result under this selection.
        neurons: under this selection, best first.
    """

    def __init__(
        self,
        folder: ResultFolder,
        selection: Selection,
        report: Json,
        neurons: Sequence[RosettaNeuron],
    ) -> None:
        from rosetta_ui.rendering import figures  # plotly: 0.1 s that starting can do without

        self._figures = figures
        self._folder, self._selection = folder, selection
        self._report, self._neurons = report, neurons

    def of(self, name: str, model: str, layers: tuple[str, str]) -> Drawn:
        """Draw the plot of this name.

        Args:
            name: a key of `PLOTS`.
            model: the backbone or model that it shows, where it shows one.
            layers: two layers to see unit by unit, or empty texts.
        """
        ways: dict[str, Callable[[], Drawn]] = {
            "layers": lambda: self._units(model, layers) if layers[0] else self._layers(model),
            "scores": self._scores,
            "nulls": lambda: self._nulls(model),
            "depth": lambda: self._depth(model),
            "where": lambda: self._where(model),
            "models": self._models,
            "convergence": self._convergence,
            "mean": lambda: self._statistic(model, "mean"),
            "deviation": lambda: self._statistic(model, "deviation"),
            "selectivity": lambda: self._selectivity(model),
        }
        return ways[name]()

    def _layers(self, backbone: str) -> Drawn:
        from rosetta_ui.matching.plotted import layer_scores

        rows = [s.name for s in self._folder.index(self._folder.anchor).layers]
        cols = [s.name for s in self._folder.index(backbone).layers]
        pairs: list[list[int]] = self._report["tables"][backbone]["layers"]
        means = layer_scores(self._folder, backbone, self._selection.score)
        values: list[list[Any]] = pairs if means is None else [_rounded(r) for r in means.tolist()]
        words = [
            [
                f"{row} × {col}<br>{pairs[i][j]} matched pairs"
                + ("" if means is None else f"<br>mean best r {_text(values[i][j])}")
                for j, col in enumerate(cols)
            ]
            for i, row in enumerate(rows)
        ]
        clicks = [[{"rows": row, "cols": col} for col in cols] for row in rows]
        colour = "matched pairs" if means is None else "mean best r"
        read = (
            ""
            if means is not None
            else (
                "The brighter a cell, the more matched pairs these two layers have; whole tables "
                "of scores are left out of this small result. Click one to see its units."
            )
        )
        axes = self._figures.Axes(f"layer of {backbone}", f"layer of {self._folder.anchor}", colour)
        return (
            self._figures.matrix(
                values, (rows, cols), axes, clicks=clicks, words=words, counts=means is None
            ),
            "",
            read,
        )

    def _units(self, backbone: str, layers: tuple[str, str]) -> Drawn:
        from rosetta_ui.matching.plotted import unit_scores

        found = unit_scores(self._folder, backbone, self._selection.score, layers)
        if not found.cols:
            return None, "No score between units of these two layers is kept.", ""
        rows, cols = [str(u.channel) for u in found.rows], [str(u.channel) for u in found.cols]
        values = [_rounded(row) for row in found.values.tolist()]
        words = [
            [f"{a}<br>{b}<br>r {_text(values[i][j])}" for j, b in enumerate(found.cols)]
            for i, a in enumerate(found.rows)
        ]
        clicks = [[{"neuron": str(a)} for _ in found.cols] for a in found.rows]
        axes = self._figures.Axes(f"unit of {backbone} {layers[1]}", f"unit of {layers[0]}", "r")
        rest = f" {found.hidden} weaker units are not shown." if found.hidden else ""
        read = (
            "Each cell is the score of two units, best matched first: a bright cell that is alone "
            f"in its row and column is a clear match. Click one to select the neuron.{rest}"
        )
        return (
            self._figures.matrix(values, (rows, cols), axes, clicks=clicks, words=words),
            "",
            read,
        )

    def _scores(self) -> Drawn:
        if not self._neurons:
            return None, _NO_NEURON, ""
        if not any(math.isfinite(n.null_min) for n in self._neurons):
            return None, _NO_NULL, ""
        groups = [
            ("above the null", "accent", [n for n in self._neurons if n.above_null]),
            ("no better than chance", "other", [n for n in self._neurons if not n.above_null]),
        ]
        series = [
            self._figures.Series(
                name,
                role,
                [_number(n.null_min) for n in some],
                [_number(n.score_min) for n in some],
                [{"neuron": str(n.anchor)} for n in some],
                [f"{n.anchor}<br>r {n.score_min:.2f}, null {n.null_min:.2f}" for n in some],
            )
            for name, role, some in groups
            if some
        ]
        return self._figures.scatter(series, self._figures.Axes("null", "weakest r")), "", ""

    def _nulls(self, backbone: str) -> Drawn:
        table = self._report["tables"][backbone]
        kept = table["scores"]
        if not any(kept["counts"]["null"]):
            return None, _NO_NULL, ""
        values = [n.partners[backbone].score for n in self._neurons]
        return self._histogram(
            kept["edges"],
            [
                ("shuffled images", "null", kept["counts"]["null"]),
                ("real images", "accent", kept["counts"]["best"]),
            ],
            values,
            self._figures.Axes(f"best score of a unit in {backbone}", "share of units, %"),
            table["threshold"],
        )

    def _histogram(
        self,
        edges: Sequence[float],
        groups: Sequence[tuple[str, str, Sequence[int]]],
        values: Sequence[float],
        axes: Any,
        threshold: float | None = None,
    ) -> Drawn:
        """Bars of which the last group's choose the best neuron in them."""
        from rosetta_ui.matching.plotted import first_in_bins

        keys = first_in_bins(edges, values, [str(n.anchor) for n in self._neurons])
        clicks = [{"neuron": key} if key else None for key in keys]
        series = [
            self._figures.Series(name, role, (), counts, clicks) for name, role, counts in groups
        ]
        return self._figures.histogram(edges, series, axes, threshold=threshold), "", ""

    def _depth(self, backbone: str) -> Drawn:
        from rosetta_ui.matching.plotted import strongest_by_layer

        best = strongest_by_layer(self._folder, backbone, self._selection.score)
        series: list[Any] = []
        spread: dict[str, list[tuple[Any, Any]]] = {}
        for side, model, role in (
            ("rows", self._folder.anchor, "accent"),
            ("cols", backbone, "good"),
        ):
            layers = [d for d in self._report["tables"][backbone]["depth"][side] if d["count"]]
            if not layers:
                continue
            last = max(len(self._folder.index(model).layers) - 1, 1)
            series.append(
                self._figures.Series(
                    model,
                    role,
                    [d["depth"] / last for d in layers],
                    [d["median"] for d in layers],
                    [_choice(best.get(f"{model}/{d['layer']}")) for d in layers],
                    [
                        f"{model}/{d['layer']}<br>median {d['median']:.2f}, best {d['max']:.2f}, "
                        f"{d['count']} units"
                        for d in layers
                    ],
                )
            )
            spread[model] = [(d["lower"], d["upper"]) for d in layers]
        axes = self._figures.Axes("depth: 0 is the first layer, 1 the last", "best score of a unit")
        return self._figures.bands(series, spread, axes), "", ""

    def _where(self, model: str) -> Drawn:
        if not self._neurons:
            return None, _NO_NEURON, ""
        layers = [spec.name for spec in self._folder.index(model).layers]
        counts = dict.fromkeys(layers, 0)
        first: dict[str, Unit] = {}
        for neuron in self._neurons:
            layer = self._unit_in(neuron, model).layer
            counts[layer] += 1
            first.setdefault(layer, neuron.anchor)
        words = [f"{model}/{name}<br>{counts[name]} Rosetta Neurons" for name in layers]
        clicks = [_choice(first.get(name)) for name in layers]
        series = self._figures.Series(
            model, "accent", layers, [counts[n] for n in layers], clicks, words
        )
        axes = self._figures.Axes(f"layer of {model}", "Rosetta Neurons")
        return self._figures.bars([series], axes), "", ""

    def _unit_in(self, neuron: RosettaNeuron, model: str) -> Unit:
        return neuron.anchor if model == neuron.anchor.model else neuron.partners[model].unit

    def _models(self) -> Drawn:
        kept = self._report["matrix"]
        names: list[str] = kept["models"]
        anchor = names[0]
        words = [
            [
                _pair_words(a, b, kept["counts"][i][j], kept["null_counts"][i][j])
                for j, b in enumerate(names)
            ]
            for i, a in enumerate(names)
        ]
        clicks = [[_other(a, b, anchor) for b in names] for a in names]
        axes = self._figures.Axes("", "", "best buddies")
        figure = self._figures.matrix(
            kept["counts"], (names, names), axes, clicks=clicks, words=words, counts=True
        )
        alone = all(c is None for row in kept["counts"][1:] for c in row[1:])
        read = (
            ""
            if not alone
            else (f"{PLOTS['models'].read} The backbones were not matched with each other here.")
        )
        return figure, "", read

    def _convergence(self) -> Drawn:
        lines = [("Rosetta Neurons", self._report["rosetta"]["convergence"], "count", None)] + [
            (name, table["convergence"], "pairs", {"backbone": name})
            for name, table in self._report["tables"].items()
        ]
        lines = [line for line in lines if len(line[1]) > 1]
        if not lines:
            return None, _NO_STEPS, ""
        roles = ("accent", "good", "warn", "null", "other", "bad")
        series = [
            self._figures.Series(
                name,
                roles[at % len(roles)],
                [step["images"] for step in steps],
                [step[what] for step in steps],
                [chosen for _ in steps],
                [_step_words(name, step, what) for step in steps],
            )
            for at, (name, steps, what, chosen) in enumerate(lines)
        ]
        axes = self._figures.Axes("images", "pairs found")
        return self._figures.lines(series, axes, log_x=True), "", ""

    def _statistic(self, model: str, name: str) -> Drawn:
        stats = self._folder.stats(model)
        kept = self._report["models"][model].get(name)
        if stats is None or kept is None or not kept["edges"]:
            return None, _NO_STATS, ""
        axes = self._figures.Axes(f"{name} of a unit of {model}", "share of units, %")
        groups = [("all units", "accent", kept["counts"]["all"])]
        return self._histogram(kept["edges"], groups, self._of_units(model, name), axes)

    def _of_units(self, model: str, name: str) -> list[float]:
        from rosetta_ui.matching.plotted import flats

        stats, index = self._folder.stats(model), self._folder.index(model)
        units = [self._unit_in(neuron, model) for neuron in self._neurons]
        return getattr(stats, name)[flats(index, units)].tolist()

    def _selectivity(self, model: str) -> Drawn:
        kept = self._report["models"][model].get("selectivity")
        if kept is None or not kept["edges"]:
            return None, _NO_STATS, ""
        if not kept["rosetta"]["count"]:
            return None, _NO_NEURON, ""
        chance = kept["more_selective"]
        read = PLOTS["selectivity"].read
        if chance is not None:
            read += (
                f" Here a Rosetta Neuron beats another unit in {100 * chance:.0f} % of the cases."
            )
        groups = [
            ("other units", "other", kept["counts"]["others"]),
            ("Rosetta Neurons", "accent", kept["counts"]["rosetta"]),
        ]
        axes = self._figures.Axes(f"excess kurtosis of a unit of {model}", "share of units, %")
        figure, why, _ = self._histogram(
            kept["edges"], groups, self._of_units(model, "kurtosis"), axes
        )
        return figure, why, read


def _rounded(values: Sequence[float]) -> list[float | None]:
    return [round(v, 4) if math.isfinite(v) else None for v in values]


def _number(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _text(value: float | None) -> str:
    return "not kept" if value is None else f"{value:.2f}"


def _choice(unit: Unit | None) -> dict[str, str] | None:
    return None if unit is None else {"neuron": str(unit)}


def _other(a: str, b: str, anchor: str) -> dict[str, str] | None:
    """The backbone of a cell of the models' matrix, where the other model is the anchor."""
    if a == b or anchor not in (a, b):
        return None
    return {"backbone": b if a == anchor else a}


def _pair_words(a: str, b: str, count: int | None, null: int | None) -> str:
    if count is None:
        return f"{a} × {b}<br>not matched"
    return f"{a} × {b}<br>{count} best buddies" + ("" if null is None else f"<br>{null} by chance")


def _step_words(name: str, step: Mapping[str, Any], what: str) -> str:
    share = step["overlap"]
    kept = "" if share is None else f"<br>{100 * share:.0f} % of the final ones"
    return f"{name}: {step[what]} after {step['images']} images{kept}"
