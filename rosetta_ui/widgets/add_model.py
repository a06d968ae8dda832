"""A form that adds a model from a file of the person's own."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def add_model(addable: Call, add: Call) -> gr.HTML:
    """Make the form; it is folded until somebody opens it.

    Args:
        addable: {} → {names}: published models whose file a person may bring.
        add: {name, file, backbone} → {job}.
    """
    return widget("add_model", {"addable": addable, "add": add}, label="Add a model from a file")
