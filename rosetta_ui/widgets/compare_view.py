"""Two results side by side: what both found, what only one did, and how their scores agree."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget
from rosetta_ui.widgets.plot_view import serve_plotly


def compare_view(results: Call, comparison: Call) -> gr.HTML:
    """Make the panel; it follows the page's selection, of which `other` is the second result.

    Args:
        results: {} → list of results, each with id, title, generator, images and seed.
        comparison: {result, other, rule, k, score, backbone} → as `Engine.comparison` gives it.
    """
    calls = {"results": results, "comparison": comparison}
    value = {"plotly": serve_plotly()}
    return widget("compare_view", calls, label="Compare two results", value=value)
