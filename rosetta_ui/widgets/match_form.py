"""The form of the Match tab: models, numbers, rule, and what the match would cost."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def match_form(catalogue: Call, estimate: Call, start: Call) -> gr.HTML:
    """Make the form.

    Args:
        catalogue: {} → {generators, backbones, presets, usual}.
        estimate: the form's values → {images, seconds or null, memory, disk, cached}.
        start: the form's values → {job}.
    """
    return widget(
        "match_form",
        {"catalogue": catalogue, "estimate": estimate, "start": start},
        label="What to match",
    )
