"""The picture that is dragged: an arrow is a shift, the wheel a zoom, a box or lasso a region."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import widget


def drag_pad() -> gr.HTML:
    """Make the pad; it asks nothing itself.

    It shows the topics `edit-view` and `edit-frame`, and publishes `edit-ask` ({edits, place}) when
    a gesture ends, and `edit-region` (corners or null).
    """
    return widget("drag_pad", label="Edit pad")
