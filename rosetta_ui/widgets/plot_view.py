"""Plots of a result: figures come from the app, plotly.js from its own package on this machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import gradio as gr

from rosetta_ui.errors import RosettaError
from rosetta_ui.widgets.factory import Call, widget


def plotly_script() -> Path:
    """The plotly.js that comes with the package plotly, which is not imported for it.

    Raises:
        RosettaError: plotly is not installed.
    """
    spec = importlib.util.find_spec("plotly")
    if spec is None or spec.origin is None:
        raise RosettaError("The package plotly is not installed.", "Run pip install plotly.")
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"


def serve_plotly() -> str:
    """Let gradio serve that one file, and nothing beside it; its address for the page."""
    script = plotly_script()
    gr.set_static_paths([script])
    return f"gradio_api/file={script.as_posix()}"


def plot_view(plot: Call) -> gr.HTML:
    """Make the panel; it follows the page's selection, and a click in it changes the selection.

    Args:
        plot: {result, rule, k, score, name, model, layers} → as `Engine.plot` gives it.
    """
    value = {"plotly": serve_plotly()}
    return widget("plot_view", {"plot": plot}, label="Plots of this result", value=value)
