"""Plots: values in, figures of plotly as JSON out. Knows no results, no files and no page.

A figure says what it shows, not how it looks: each trace carries a role in `meta`, and the page
gives every role its colour in light and in dark. What a click on a point chooses lies in
`customdata`: {"neuron": unit}, {"rows": layer, "cols": layer}, {"backbone": name} or None.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

_NUMBERED = 8  # rows: in larger matrices the numbers would not fit into their cells

Figure = dict[str, Any]
Chosen = Mapping[str, str] | None
Number = float | int | None


@dataclass(frozen=True)
class Axes:
    """The words beside a plot: across, up, and of the colour scale."""

    x: str
    y: str
    colour: str = ""


@dataclass(frozen=True)
class Series:
    """One line, cloud or set of bars.

    Attributes:
        name: in the legend.
        role: accent, other, null, good or warn.
        x, y: values.
        clicks: what each point chooses; empty for nothing.
        words: what each point says on hover; empty for its numbers.
    """

    name: str
    role: str
    x: Sequence[Any]
    y: Sequence[Number]
    clicks: Sequence[Chosen] = ()
    words: Sequence[str] = ()


def matrix(
    values: Sequence[Sequence[Number]],
    names: tuple[Sequence[str], Sequence[str]],
    axes: Axes,
    *,
    clicks: Sequence[Sequence[Chosen]] | None = None,
    words: Sequence[Sequence[str]] | None = None,
    counts: bool = False,
) -> Figure:
    """Numbers as colours, the first row on top.

    Args:
        values: rows of numbers, None where undefined.
        names: of the rows and of the columns.
        axes: titles.
        clicks: what every cell chooses, as in `Series`.
        words: what every cell says on hover.
        counts: the numbers are counts: colours start at 0, and they stand in the cells of a small
            matrix.
    """
    trace = go.Heatmap(
        z=[list(row) for row in values],
        x=list(names[1]),
        y=list(names[0]),
        customdata=None if clicks is None else [[_plain(c) for c in row] for row in clicks],
        text=None if words is None else [list(row) for row in words],
        hovertemplate="%{text}<extra></extra>" if words else "%{y}<br>%{x}<br>%{z}<extra></extra>",
        hoverongaps=False,
        zmin=0 if counts else None,
        zmax=max((v for row in values for v in row if v is not None), default=1)
        if counts
        else None,
        texttemplate="%{z:,}" if counts and len(values) <= _NUMBERED else None,
        colorbar={
            "title": {"text": axes.colour, "side": "right"},
            "thickness": 12,
            "outlinewidth": 0,
        },
        meta={"role": "scale"},
        xgap=1,
        ygap=1,
    )
    figure = _figure([trace], axes)
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    figure.update_xaxes(type="category", showgrid=False)
    return _json(figure)


def histogram(
    edges: Sequence[float],
    groups: Sequence[Series],
    axes: Axes,
    *,
    threshold: float | None = None,
) -> Figure:
    """Counts over common bins, each group as a share of itself; a line where the threshold is.

    Args:
        edges: of the bins, one more than counts.
        groups: counts in `y`; their `x` is not looked at.
        axes: titles.
        threshold: where to draw the line, None for none.
    """
    middles = [(a + b) / 2 for a, b in pairwise(edges)]
    width = edges[1] - edges[0] if len(edges) > 1 else 1.0
    traces: list[go.Bar] = []
    for group in groups:
        total = sum(float(v or 0) for v in group.y) or 1.0
        words = [
            f"{group.name}: {int(count or 0)} between {low:.3g} and {high:.3g}"
            for count, low, high in zip(group.y, edges, edges[1:], strict=False)
        ]
        traces.append(
            go.Bar(
                x=middles,
                y=[100 * float(v or 0) / total for v in group.y],
                width=width,
                name=group.name,
                customdata=_clicks(group),
                hovertext=words,
                hovertemplate="%{hovertext}<extra></extra>",
                opacity=0.72 if len(groups) > 1 else 1.0,
                meta={"role": group.role},
            )
        )
    figure = _figure(traces, axes)
    figure.update_layout(barmode="overlay", bargap=0)
    if threshold is not None:
        figure.add_shape(
            type="line", x0=threshold, x1=threshold, y0=0, y1=1, yref="paper", name="threshold"
        )
        figure.add_annotation(
            x=threshold,
            y=1,
            yref="paper",
            text=f"threshold {threshold:.2f}",
            showarrow=False,
            xanchor="left",
            yanchor="top",
            xshift=5,
        )
    return _json(figure)


def bars(groups: Sequence[Series], axes: Axes) -> Figure:
    """Counts by name, side by side."""
    traces = [
        go.Bar(
            x=list(group.x),
            y=list(group.y),
            name=group.name,
            customdata=_clicks(group),
            **_hover(group),
            meta={"role": group.role},
        )
        for group in groups
    ]
    figure = _figure(traces, axes)
    figure.update_xaxes(type="category")
    return _json(figure)


def bands(
    groups: Sequence[Series], spread: Mapping[str, Sequence[tuple[Number, Number]]], axes: Axes
) -> Figure:
    """Lines with points, each with the range of its middle half.

    Args:
        groups: medians.
        spread: name of a group → (lower, upper) quartile at each of its points.
        axes: titles.
    """
    traces: list[go.Scatter] = []
    for group in groups:
        reach = spread.get(group.name, [])
        up = [
            None if u is None or y is None else u - y
            for (_, u), y in zip(reach, group.y, strict=True)
        ]
        down = [
            None if d is None or y is None else y - d
            for (d, _), y in zip(reach, group.y, strict=True)
        ]
        traces.append(
            go.Scatter(
                x=list(group.x),
                y=list(group.y),
                name=group.name,
                mode="lines+markers",
                customdata=_clicks(group),
                **_hover(group),
                error_y={
                    "type": "data",
                    "array": up,
                    "arrayminus": down,
                    "symmetric": False,
                    "thickness": 1.2,
                    "width": 3,
                },
                marker={"size": 9},
                meta={"role": group.role},
            )
        )
    return _json(_figure(traces, axes))


def lines(groups: Sequence[Series], axes: Axes, *, log_x: bool = False) -> Figure:
    """Lines with points."""
    traces = [
        go.Scatter(
            x=list(group.x),
            y=list(group.y),
            name=group.name,
            mode="lines+markers",
            customdata=_clicks(group),
            **_hover(group),
            marker={"size": 8},
            meta={"role": group.role},
        )
        for group in groups
    ]
    figure = _figure(traces, axes)
    if log_x:
        ticks = sorted({int(x) for group in groups for x in group.x})
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{t:,}" for t in ticks])
    figure.update_yaxes(rangemode="tozero")
    return _json(figure)


def scatter(groups: Sequence[Series], axes: Axes, *, diagonal: bool = True) -> Figure:
    """Points; with a line where both axes are equal."""
    traces: list[go.Scatter] = [
        go.Scatter(
            x=list(group.x),
            y=list(group.y),
            name=group.name,
            mode="markers",
            customdata=_clicks(group),
            **_hover(group),
            marker={"size": 7, "opacity": 0.75},
            meta={"role": group.role},
        )
        for group in groups
    ]
    figure = _figure(traces, axes)
    across = [float(x) for group in groups for x in group.x if x is not None]
    if diagonal and across:
        # Only as long as the points are wide: a longer one would squeeze them into a corner.
        low, high = min(across), max(across)
        figure.add_shape(type="line", x0=low, y0=low, x1=high, y1=high, name="equal")
    return _json(figure)


def _clicks(group: Series) -> list[Any] | None:
    return [_plain(chosen) for chosen in group.clicks] or None


def _plain(chosen: Chosen) -> dict[str, str] | None:
    return None if chosen is None else dict(chosen)


def _hover(group: Series) -> dict[str, Any]:
    if not group.words:
        return {}
    return {"hovertext": list(group.words), "hovertemplate": "%{hovertext}<extra></extra>"}


def _figure(traces: Sequence[Any], axes: Axes) -> go.Figure:
    figure = go.Figure(list(traces))
    # The page has its own look for light and dark; plotly's default template is 7 kB a figure.
    figure.update_layout(
        template=go.layout.Template(), hovermode="closest", showlegend=len(traces) > 1
    )
    figure.update_xaxes(title={"text": axes.x}, automargin=True)
    figure.update_yaxes(title={"text": axes.y}, automargin=True)
    return figure


def _json(figure: go.Figure) -> Figure:
    return json.loads(str(figure.to_json()))
