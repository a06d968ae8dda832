"""The list of results: open, run again, rename, keep, delete."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def match_history(results: Call, keep: Call, rename: Call, delete: Call) -> gr.HTML:
    """Make the list.

    Args:
        results: {} → list of results, bundled ones first.
        keep: {result, saved} → {}.
        rename: {result, title} → {}.
        delete: {result} → {}.
    """
    calls = {"results": results, "keep": keep, "rename": rename, "delete": delete}
    return widget("match_history", calls, label="Earlier results")
