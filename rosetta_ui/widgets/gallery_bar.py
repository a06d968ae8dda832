"""The Gallery's bar: which result, rule and score; filters; how maps are drawn."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def gallery_bar(
    results: Call, neurons: Call, active: Call, dictionary: Call, file: Call
) -> gr.HTML:
    """Make the bar.

    Args:
        results: {} → list of results, each with id, title, images and bundled.
        neurons: {result, rule, k, score} → {models, rows, score, selection, threshold, ...}.
        active: {result, rule, k, score, image, box: [x, y] or [x0, y0, x1, y1]} → {anchors: of
            the neurons most active there, values: of each, one number a model in [0, 1]}.
        dictionary: {result, rule, k, score} → the neurons as the command line exports them.
        file: {result, rule, k, score, kind, neuron, names} → {name, mime, data: base64}.
    """
    calls = {
        "results": results,
        "neurons": neurons,
        "active": active,
        "dictionary": dictionary,
        "file": file,
    }
    return widget("gallery_bar", calls, label="Result and filters")
