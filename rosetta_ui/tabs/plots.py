"""Plots of a result and the comparison of two: read what the page asks, call, present."""

# ruff: noqa: D102 - the protocol repeats methods that the engine documents

from __future__ import annotations

from typing import Any, Protocol

from rosetta_ui.errors import BadRequestError
from rosetta_ui.tabs import present
from rosetta_ui.types import ResultInfo, Selection
from rosetta_ui.widgets.compare_view import compare_view
from rosetta_ui.widgets.factory import Asked
from rosetta_ui.widgets.plot_view import plot_view

FIRST_PLOT = "layers"


class PlotsEngine(Protocol):
    """What plots and comparison ask of the engine."""

    def results(self) -> list[ResultInfo]: ...
    def plot(
        self,
        result: str,
        selection: Selection,
        name: str,
        model: str = "",
        layers: tuple[str, str] = ("", ""),
    ) -> dict[str, Any]: ...
    def comparison(
        self, first: str, second: str, selection: Selection, backbone: str = ""
    ) -> dict[str, Any]: ...


class Plots:
    """Answers to the two widgets."""

    def __init__(self, engine: PlotsEngine) -> None:
        self._engine = engine

    def plot(self, asked: Asked) -> present.Json:
        """One plot of one result."""
        return self._engine.plot(
            present.text_of(asked, "result"),
            self._selection(asked),
            present.text_of(asked, "name") or FIRST_PLOT,
            present.text_of(asked, "model"),
            _two_texts(asked.get("layers")),
        )

    def comparison(self, asked: Asked) -> present.Json:
        """One result beside another."""
        return self._engine.comparison(
            present.text_of(asked, "result"),
            present.text_of(asked, "other"),
            self._selection(asked),
            present.text_of(asked, "backbone"),
        )

    def results(self, asked: Asked) -> list[present.Json]:
        """Every result, bundled ones first."""
        return [present.result_json(info) for info in self._engine.results()]

    def _selection(self, asked: Asked) -> Selection:
        result = present.text_of(asked, "result")
        own = next((i for i in self._engine.results() if i.result == result), None)
        return present.selection_of(asked, own.request.score if own else Selection().score)


def _two_texts(given: object) -> tuple[str, str]:
    if given is None:
        return "", ""
    if isinstance(given, list) and len(given) == 2 and all(isinstance(v, str) for v in given):
        return str(given[0]), str(given[1])
    raise BadRequestError(f"{given!r} are no two layers.", "Give [layer, layer].")


def plots_section(engine: PlotsEngine) -> None:
    """Lay out the plots where the page is at."""
    plot_view(Plots(engine).plot)


def compare_section(engine: PlotsEngine) -> None:
    """Lay out the comparison where the page is at."""
    plots = Plots(engine)
    compare_view(plots.results, plots.comparison)
