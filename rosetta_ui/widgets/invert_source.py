"""The picture that a person brings: chosen, dropped, pasted, photographed, and cut to a square."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def invert_source(read: Call, example: Call) -> gr.HTML:
    """Make the panel; it publishes `invert-target` ({picture, crop, name} or null).

    It follows `invert-generator`, whose size, framing and examples it shows.

    Args:
        read: {data: a picture file as base64} → {picture: data address, width, height, notes,
            crops: {framing: {x, y, side}}, framed: whether they are known to be right}.
        example: {generator, kind, ...} → likewise.
    """
    return widget("invert_source", {"read": read, "example": example}, label="Your picture")
