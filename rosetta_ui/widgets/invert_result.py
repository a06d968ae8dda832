"""What came of an inversion: numbers, the maps on which the models agree, files, and on to Edit."""

from __future__ import annotations

from collections.abc import Mapping

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def invert_result(calls: Mapping[str, Call]) -> gr.HTML:
    """Make the panel; it shows `invert-chosen` and publishes `edit-adopt`.

    Args:
        calls: `heatmaps` {page, which} → {backbones, neurons}; `png` {page, which} → {png: data
            address}; `recipe` {page, which} → recipe; `edit` {page, which} → {page: in Edit}.
    """
    return widget("invert_result", calls, label="The result")
