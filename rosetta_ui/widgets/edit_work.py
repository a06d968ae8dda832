"""The talk with the engine about one page's picture: edits, progress, history, numbers, files."""

from __future__ import annotations

from collections.abc import Mapping

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def edit_work(calls: Mapping[str, Call]) -> gr.HTML:
    """Make the bar below the pad.

    It publishes `edit-view`, `edit-frame`, `edit-frontier` (strengths that were tried) and
    `edit-source` ({recipe, label} of a picture to copy from or blend towards).

    Its value is {session: of the browser's connection}, by which the app notices that it is gone.

    Args:
        calls: `open` {generator, seed, class, page, session} → view; `view` {page, session} → view;
            `ask` {page, request} → {ticket}; `progress` {page, seen} → snapshot; `stop` {page};
            `go` {page, to} → view; `recipe` {page} → recipe; `load` {recipe, page} → view;
            `png` {page} → data address; `strengths` {page, request} → {ticket}; `frontier` {page} →
            strengths; `take` {page, point} → view; `film` {page, kind} → {ticket}; `film_file`
            {page} → data address;
            `alive` {page, session}; `close` {page}.
    """
    return widget("edit_work", calls, label="Edits", value={"session": ""})
