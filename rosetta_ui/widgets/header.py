"""The line above the tabs: name, status chip, light and dark."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def header(readiness: Call) -> gr.HTML:
    """Make the header.

    Args:
        readiness: {} → {stage, text, fraction or null}; asked every second until it is ready.
    """
    return widget("header", {"readiness": readiness}, label="Rosetta UI")
