"""Figures: what they hold, not how they look."""

from __future__ import annotations

import json

import plotly.graph_objects as go
import pytest

from rosetta_ui.rendering import figures
from rosetta_ui.rendering.figures import Axes, Series

AXES = Axes("across", "up", "colour")


def test_every_kind_is_a_figure_that_plotly_accepts() -> None:
    points = Series("a", "accent", [1, 2], [3, None], [{"neuron": "m/l:1"}, None], ["x", "y"])
    made = [
        figures.matrix([[1.0, None]], (["r"], ["c", "d"]), AXES),
        figures.histogram([0, 1, 2], [Series("a", "null", (), [3, 4])], AXES, threshold=1.5),
        figures.bars([points], AXES),
        figures.bands([points], {"a": [(2, 4), (None, None)]}, AXES),
        figures.lines([points], AXES, log_x=True),
        figures.scatter([points], AXES),
    ]
    for figure in made:
        go.Figure(figure)
        json.dumps(figure, allow_nan=False)
        assert figure["data"][0]["meta"]["role"]


def test_a_matrix_has_its_first_row_on_top_and_leaves_gaps() -> None:
    clicks = [[{"rows": "r", "cols": "c"}, None]]
    figure = figures.matrix([[0.5, None]], (["r"], ["c", "d"]), AXES, clicks=clicks)
    trace = figure["data"][0]
    assert trace["z"] == [[0.5, None]]
    assert trace["customdata"] == clicks
    assert figure["layout"]["yaxis"]["autorange"] == "reversed"


def test_bars_of_a_histogram_are_shares_of_their_group() -> None:
    groups = [Series("few", "accent", (), [1, 1]), Series("many", "null", (), [30, 10])]
    figure = figures.histogram([0.0, 0.5, 1.0], groups, AXES, threshold=0.25)
    assert [trace["y"] for trace in figure["data"]] == [[50, 50], [75, 25]]
    assert figure["data"][0]["x"] == [0.25, 0.75]
    assert figure["layout"]["shapes"][0]["x0"] == 0.25
    assert "0.25" in figure["layout"]["annotations"][0]["text"]


def test_no_look_is_sent_to_the_page() -> None:
    figure = figures.lines([Series("a", "accent", [8, 16], [1, 2])], AXES)
    assert len(json.dumps(figure)) < 1000
    assert "color" not in json.dumps(figure["data"])


def test_the_diagonal_is_as_long_as_the_points_are_wide() -> None:
    figure = figures.scatter([Series("a", "accent", [0.1, 0.3], [0.8, 0.9])], AXES)
    (line,) = figure["layout"]["shapes"]
    assert (line["x0"], line["y0"], line["x1"], line["y1"]) == pytest.approx((0.1, 0.1, 0.3, 0.3))


def test_colours_of_counts_start_at_nought_and_small_ones_are_written_in() -> None:
    trace = figures.matrix([[3, None], [None, 7]], ("ab", "cd"), AXES, counts=True)["data"][0]
    assert (trace["zmin"], trace["zmax"]) == (0, 7)
    assert "z" in trace["texttemplate"]
    assert "texttemplate" not in figures.matrix([[3.0]], ("a", "b"), AXES)["data"][0]
