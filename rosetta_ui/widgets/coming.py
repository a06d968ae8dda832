"""What stands in a tab whose work is not built yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rosetta_ui.widgets.factory import widget

Shape = Mapping[str, str | int]


@dataclass(frozen=True)
class Card:
    """One thing that will be possible.

    Attributes:
        title, text: for people.
        shapes: of a drawing on 72 × 72: `tag`, `class` (from, to or way) and SVG attributes.
    """

    title: str
    text: str
    shapes: Sequence[Shape]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values for the page."""
        return {
            "title": self.title,
            "text": self.text,
            "shapes": [dict(shape) for shape in self.shapes],
        }


def coming(name: str, title: str, text: str, cards: Sequence[Card]) -> gr.HTML:
    """Say honestly that a tab is not built yet, and what it will do.

    Args:
        name: of the tab, for its element's id.
        title: what a person reads first.
        text: the honest sentence.
        cards: what will be possible.
    """
    value = {"title": title, "text": text, "cards": [card.to_json() for card in cards]}
    return widget("coming", label=title, value=value, elem_id=f"{name}-coming")
