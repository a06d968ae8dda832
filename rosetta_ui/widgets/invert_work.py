"""The talk with the engine about one page's inversions: frames, loss, results side by side."""

from __future__ import annotations

from collections.abc import Mapping

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def invert_work(calls: Mapping[str, Call]) -> gr.HTML:
    """Make the panel; it follows `invert-ask`; publishes `invert-busy`, `-chosen` and `-framed`.

    Its value is {session: of the browser's connection}, by which the app notices that it is gone.

    Args:
        calls: `open` {page, session} → {page}; `prepare` {page, generator, picture};
            `framed` {page} → {ready, crop}; `ask` {page, request} → {ticket, target}; `progress`
            {page, seen, frame} → snapshot; `stop` {page}; `more` {page, steps} → {ticket};
            `results` {page} → {runs}; `result` {page, which} → run in full; `forget` {page,
            which}; `alive` {page}; `close` {page}.
    """
    return widget("invert_work", calls, label="Inversions", value={"session": ""})
