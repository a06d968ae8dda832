"""One edit at several strengths: fidelity against realism, and a click takes one."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import widget


def edit_strengths() -> gr.HTML:
    """Make the panel; it asks nothing itself.

    It shows the topic `edit-frontier` and publishes `edit-take` (number of a strength).
    """
    return widget("edit_strengths", label="Several strengths")
