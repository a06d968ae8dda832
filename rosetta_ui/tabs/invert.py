"""The Invert tab: not built yet, and it says so."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.coming import Card, coming


def invert_tab() -> None:
    """Lay out the tab that is open."""
    with gr.Column(elem_classes="r-page"):
        coming(
            "invert",
            "Inversion comes next",
            "No picture can be inverted yet. This tab will look for the latent whose generated "
            "picture excites the same Rosetta Neurons as a picture of yours, and show every step. "
            "Until then, the Gallery shows which neurons would guide it.",
            [
                Card(
                    "Your picture",
                    "A photo, a sketch or a cartoon.",
                    [
                        {"tag": "circle", "class": "from", "cx": 26, "cy": 26, "r": 6},
                        {"tag": "path", "class": "from", "d": "M10 58l18 -20 12 12 8 -8 14 16"},
                    ],
                ),
                Card(
                    "Matched activations",
                    "The latent follows the maps of a backbone.",
                    [
                        {"tag": "circle", "class": "to", "cx": 24, "cy": 36, "r": 11},
                        {"tag": "circle", "class": "to", "cx": 48, "cy": 36, "r": 11},
                        {"tag": "path", "class": "way", "d": "M30 18h12m-4 -4 4 4 -4 4"},
                    ],
                ),
                Card(
                    "The generator's answer",
                    "Ready to be edited.",
                    [
                        {"tag": "circle", "class": "to", "cx": 36, "cy": 30, "r": 10},
                        {"tag": "path", "class": "to", "d": "M16 60a20 16 0 0 1 40 0"},
                    ],
                ),
            ],
        )
