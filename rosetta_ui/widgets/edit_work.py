"""The talk with the engine about one page's picture: edits, progress, history, numbers, files."""

from __future__ import annotations

from collections.abc import Mapping

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def edit_work(calls: Mapping[str, Call]) -> gr.HTML:
    """Make the bar below the pad; it publishes `edit-view` and `edit-frame`.

    Args:
        calls: `open` {generator, seed, class, page} → view; `view` {page} → view; `ask` {page,
            request} → {ticket}; `progress` {page, seen} → snapshot; `stop` {page}; `go` {page, to}
            → view; `recipe` {page} → recipe; `load` {recipe, page} → view; `png` {page} → data
            address; `close` {page}.
    """
    return widget("edit_work", calls, label="Edits")
