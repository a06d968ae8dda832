"""The large view: one neuron on one image, every model's map at the same size."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def large_view(coarse: Call, large: Call) -> gr.HTML:
    """Make the large view; it follows the neuron and image of the page's selection.

    Args:
        large: {result, rule, k, score, anchor, image or null} → {image, n_images, picture, cells:
            [{unit, width, height, values: base64 of float32, low, high}], best, pictures, coarse}.
        coarse: the same from stored small maps, whose values are shares of the unit's range;
            asked together with `large` and shown until that answers.
    """
    calls = {"coarse": coarse, "large": large}
    return widget("large_view", calls, label="The chosen neuron in every model")
