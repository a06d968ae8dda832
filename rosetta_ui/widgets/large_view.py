"""The large view: one neuron on one image, every model's map at the same size."""

from __future__ import annotations

from collections.abc import Mapping

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def large_view(calls: Mapping[str, Call]) -> gr.HTML:
    """Make the large view; it follows the neuron and image of the page's selection.

    Args:
        calls: what its script asks:

            large: {result, rule, k, score, anchor, image or null} → {image, n_images, picture,
                cells: [{unit, width, height, values: base64 of float32, low, high}], best,
                pictures, coarse}.
            coarse: the same from stored small maps, whose values are shares of the unit's range;
                asked together with `large` and shown until that answers.
            there: {result, image, box} → [{model, looked_at, every, units: [[unit, deviations above
                its mean], ...]}]: the most active units of every model at a place.
            unit: {result, rule, k, score, unit, image} → {image, picture, cell, pairs: [[unit,
                score, null], ...]}: any unit on that image and its pairs under the rule.
            express: {result, rule, k, score, anchor} → {job}: images are made to express it.
            expressed: {job, seen: step} → a snapshot of the job, with step and images: [{start,
                before, after, cells: [{unit, ..., before, after: deviations}]}], null where the
                page has seen them.
            stop: {job} → {}.
    """
    return widget("large_view", calls, label="The chosen neuron in every model")
