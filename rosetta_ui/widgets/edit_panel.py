"""The form of the Edit tab: which picture, which neurons, how strongly."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def edit_panel(catalogue: Call, concepts: Call, units: Call) -> gr.HTML:
    """Make the form; it publishes `edit-open` and `edit-form`, and strength edits as `edit-ask`.

    Args:
        catalogue: {} → {generators, results}.
        concepts: {result} → [{number, size}].
        units: {page, choice} → {units: names, maps: base64 of uint8 [units, 16, 16], total}.
    """
    return widget(
        "edit_panel",
        {"catalogue": catalogue, "concepts": concepts, "units": units},
        label="What is edited",
    )
