"""The grid of heatmaps: rows are neurons, columns are the picture and then one a model."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def map_grid(thumbs: Call) -> gr.HTML:
    """Make the grid; it shows what the Gallery's bar publishes.

    Args:
        thumbs: {result, rule, k, score, anchors, image or null, have} → {maps: base64 of uint8
            [rows, models, 16, 16], images: one a row, pictures: image → data address}.
    """
    return widget("map_grid", {"thumbs": thumbs}, label="Rosetta Neurons as heatmaps")
