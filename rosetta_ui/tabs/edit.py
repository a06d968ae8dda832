"""The Edit tab: not built yet, and it says so."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.coming import Card, coming


def edit_tab() -> None:
    """Lay out the tab that is open."""
    with gr.Column(elem_classes="r-page"):
        coming(
            "edit",
            "Editing comes next",
            "Nothing can be edited yet. This tab will change a generated picture by moving what a "
            "neuron stands for: the generator's latent is optimised until the neuron's map is "
            "where you dragged it. Until then, the Gallery shows which neurons there are to move.",
            [
                Card(
                    "Shift",
                    "Drag a concept to another place.",
                    [
                        {"tag": "circle", "class": "from", "cx": 24, "cy": 44, "r": 11},
                        {"tag": "circle", "class": "to", "cx": 46, "cy": 28, "r": 11},
                        {"tag": "path", "class": "way", "d": "M27 42l14 -10m-6 0h6v6"},
                    ],
                ),
                Card(
                    "Zoom",
                    "Turn the wheel to make it larger or smaller.",
                    [
                        {"tag": "circle", "class": "from", "cx": 36, "cy": 36, "r": 9},
                        {"tag": "circle", "class": "to", "cx": 36, "cy": 36, "r": 20},
                        {"tag": "path", "class": "way", "d": "M36 31v10M31 36h10"},
                    ],
                ),
                Card(
                    "Copy and paste",
                    "Take a region from one picture into another.",
                    [
                        {
                            "tag": "rect",
                            "class": "from",
                            "x": 12,
                            "y": 14,
                            "width": 22,
                            "height": 22,
                        },
                        {
                            "tag": "rect",
                            "class": "to",
                            "x": 38,
                            "y": 36,
                            "width": 22,
                            "height": 22,
                        },
                        {"tag": "path", "class": "way", "d": "M34 40v8h-0M30 44l4 4"},
                    ],
                ),
            ],
        )
