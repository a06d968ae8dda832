"""Answers about plots, comparisons and files, with a drawn engine in the place of the real one."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from fake_engine import FakeEngine

from rosetta_ui.errors import BadRequestError, StoreError
from rosetta_ui.tabs.files import file_json
from rosetta_ui.tabs.gallery import Gallery
from rosetta_ui.tabs.plots import FIRST_PLOT, Plots
from rosetta_ui.types import Selection
from rosetta_ui.widgets.plot_view import plotly_script


class Noted(FakeEngine):
    """Notes the selection that it was asked with."""

    asked: Selection | None = None

    def plot(self, result: str, selection: Selection, *given: Any, **named: Any) -> dict[str, Any]:
        self.asked = selection
        return super().plot(result, selection, *given, **named)


@pytest.fixture
def engine() -> Noted:
    return Noted(n_neurons=20)


@pytest.fixture
def plots(engine: Noted) -> Plots:
    return Plots(engine)


def test_the_first_plot_is_drawn_with_the_results_own_score(plots: Plots, engine: Noted) -> None:
    answer = plots.plot({"result": "bundled"})
    assert answer["name"] == FIRST_PLOT
    assert engine.asked == Selection(score="centred")
    json.dumps(answer, allow_nan=False)


def test_rule_k_and_score_of_the_page_are_used(plots: Plots, engine: Noted) -> None:
    plots.plot({"result": "bundled", "rule": "mutual", "k": 3, "score": "pearson"})
    assert engine.asked == Selection("mutual", 3, "pearson")


def test_two_layers_lead_to_their_units(plots: Plots) -> None:
    layers = ["layers.2.conv1", "blocks.4"]
    answer = plots.plot({"result": "bundled", "model": "mobilenetv2", "layers": layers})
    assert answer["layers"] == layers
    assert answer["model"] == "mobilenetv2"


@pytest.mark.parametrize("layers", ["low", ["low"], ["low", 3], [None, None]])
def test_what_is_no_pair_of_layers_is_refused(plots: Plots, layers: object) -> None:
    with pytest.raises(BadRequestError, match="no two layers"):
        plots.plot({"result": "bundled", "layers": layers})


def test_unknown_results_and_plots_are_refused(plots: Plots) -> None:
    with pytest.raises(StoreError):
        plots.plot({"result": "nothing"})
    with pytest.raises(BadRequestError, match="no plot 'pie'"):
        plots.plot({"result": "bundled", "name": "pie"})


def test_a_comparison_is_json_of_both_results(plots: Plots) -> None:
    answer = plots.comparison({"result": "bundled", "other": "second", "backbone": "mobilenetv2"})
    assert answer["backbone"] == "mobilenetv2"
    json.dumps(answer, allow_nan=False)


def test_results_are_listed_for_the_choice(plots: Plots) -> None:
    assert [info["id"] for info in plots.results({})] == ["bundled", "second"]


def test_a_file_carries_the_names_that_a_person_gave(engine: Noted) -> None:
    asked = {"result": "bundled", "kind": "html", "names": {"a/b:1": "x" * 99}}
    answer = Gallery(engine).file(asked)
    made = json.loads(base64.b64decode(answer["data"]))
    assert made["names"] == {"a/b:1": "x" * 60}
    assert answer["mime"] == "text/html"


def test_a_file_of_an_unknown_kind_is_refused(engine: Noted) -> None:
    with pytest.raises(BadRequestError, match="'exe' is no kind of file"):
        Gallery(engine).file({"result": "bundled", "kind": "exe"})


def test_the_name_of_a_file_is_safe() -> None:
    assert file_json("../a b/${x}", "csv", b"")["name"] == "rosetta-_a_b_x_.csv"


def test_the_script_of_plotly_comes_with_its_package() -> None:
    assert plotly_script().stat().st_size > 1_000_000
