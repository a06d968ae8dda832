"""The Gallery's bar: which result, rule and score; filters; how maps are drawn."""

from __future__ import annotations

from collections.abc import Mapping

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def gallery_bar(calls: Mapping[str, Call]) -> gr.HTML:
    """Make the bar.

    Args:
        calls: what its script asks:

            results: {} → list of results, each with id, title, images, bundled and fixed.
            neurons: {result, rule, k, score} → {models, rows, score, selection, threshold, ...}.
            concepts: {result, rule, k, score, grouping} → [{number, members, medoid, agreement,
                label}], members and medoid as places of the rows.
            classes: the same → {number: [[backbone, class, r, chance], ...]}.
            active: {result, rule, k, score, image, box: [x, y] or [x0, y0, x1, y1]} → {anchors: of
                the neurons most active there, values: of each, one number a model in [0, 1]}.
            file: {result, rule, k, score, kind, neuron, names, concepts, grouping} → {name, mime,
                data: base64}.
            take: {data: base64 of a dictionary or bundle} → {result, rule, k, score, favourites,
                concept_names, note}.
    """
    return widget("gallery_bar", calls, label="Result and filters")
