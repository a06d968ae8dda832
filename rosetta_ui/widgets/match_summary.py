"""What a match found: headline numbers, one line a backbone, the ranked neurons."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def match_summary(summary: Call) -> gr.HTML:
    """Make the panel; it follows the result, rule, K and score of the page's selection.

    Args:
        summary: {result, rule, k, score} → {title, summary, models, rows}.
    """
    return widget("match_summary", {"summary": summary}, label="What the match found")
