"""The form of the Invert tab: into which generator, what guides, how hard."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def invert_form(catalogue: Call) -> gr.HTML:
    """Make the form; it publishes `invert-generator` and, when it is sent, `invert-ask`.

    Args:
        catalogue: {} → {generators: with presets, results, spaces, framing and examples; usual}.
    """
    return widget("invert_form", {"catalogue": catalogue}, label="What guides the inversion")
