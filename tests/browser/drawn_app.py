"""Serves the page over the drawn engine: `python drawn_app.py PORT [NEURONS]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "tabs")]

from fake_engine import FakeEngine  # noqa: E402 - found through the line above

from rosetta_ui.rendering.colormap import table_json  # noqa: E402
from rosetta_ui.tabs.build import build  # noqa: E402
from rosetta_ui.tabs.serve import Serving, serve  # noqa: E402

if __name__ == "__main__":
    neurons = int(sys.argv[2]) if len(sys.argv) > 2 else 160
    page = build(FakeEngine(n_neurons=neurons, seconds=20, hostile=True))
    serve(page, Serving("127.0.0.1", int(sys.argv[1])), table_json())
    page.block_thread()
