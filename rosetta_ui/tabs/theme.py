"""The look of the page: theme, head, launch options. All is inline: nothing is fetched."""

from __future__ import annotations

from typing import Any

import gradio as gr

from rosetta_ui.widgets.factory import page_script, page_style

TITLE = "Rosetta UI"
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
    "%3Cg fill='%234d7df0' fill-opacity='.55'%3E%3Ccircle cx='12' cy='12' r='9'/%3E"
    "%3Ccircle cx='20' cy='12' r='9'/%3E%3Ccircle cx='16' cy='19.5' r='9'/%3E%3C/g%3E"
    "%3Ccircle cx='16' cy='14.4' r='3' fill='%231d55d6'/%3E%3C/svg%3E"
)


def head(colours: str) -> str:
    """What goes into the page's head: icon, shared style and shared script.

    Args:
        colours: the colour table of heatmaps, a JSON list of 768 numbers.
    """
    return (
        f'<link rel="icon" type="image/svg+xml" href="{ICON}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{page_style()}</style><script>{page_script(colours)}</script>"
    )


def theme() -> gr.themes.Base:
    """Gradio's own parts in the page's fonts; system fonts, so that none is fetched."""
    return gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def launch_options(colours: str) -> dict[str, Any]:
    """Keyword arguments of `Blocks.launch` that make the page look and behave as ours.

    Runs are not recorded in the browser, pages are not rendered by a node server, and errors keep
    their sentence on the way to the page.

    Args:
        colours: as `head` takes it.
    """
    return {
        "theme": theme(),
        "head": head(colours),
        "footer_links": [],
        "ssr_mode": False,
        "run_history": False,
        "show_error": True,
        "max_file_size": "10mb",
        "enable_monitoring": False,
    }
