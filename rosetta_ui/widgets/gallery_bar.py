"""The Gallery's bar: which result, rule and score; filters; how maps are drawn."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def gallery_bar(results: Call, neurons: Call) -> gr.HTML:
    """Make the bar.

    Args:
        results: {} → list of results, each with id, title, images and bundled.
        neurons: {result, rule, k, score} → {models, rows, score, selection, threshold, ...}.
    """
    return widget(
        "gallery_bar", {"results": results, "neurons": neurons}, label="Result and filters"
    )
