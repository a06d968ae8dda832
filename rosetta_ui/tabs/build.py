"""Puts the page together: header, then one tab a purpose."""

# ruff: noqa: D102 - the protocol repeats methods that the engine documents

from __future__ import annotations

from typing import Protocol

import gradio as gr

from rosetta_ui.tabs import present
from rosetta_ui.tabs.api import ApiEngine, api_endpoints
from rosetta_ui.tabs.api_invert import invert_endpoint
from rosetta_ui.tabs.edit import EditEngine, edit_tab
from rosetta_ui.tabs.expressing import express_endpoint
from rosetta_ui.tabs.gallery import GalleryEngine, gallery_tab
from rosetta_ui.tabs.invert import InvertEngine, invert_tab
from rosetta_ui.tabs.match import MatchEngine, match_tab
from rosetta_ui.tabs.theme import TITLE
from rosetta_ui.types import Readiness
from rosetta_ui.widgets.factory import Asked
from rosetta_ui.widgets.header import header


class PageEngine(GalleryEngine, MatchEngine, InvertEngine, EditEngine, ApiEngine, Protocol):
    """What the whole page asks of the engine."""

    def readiness(self) -> Readiness: ...


def build(engine: PageEngine, own_machine: bool = True) -> gr.Blocks:
    """The whole page over one engine. Imports and loads nothing heavy.

    Args:
        engine: does the work.
        own_machine: visitors may name files and folders of the machine that serves the page; false
            where it is open to strangers.
    """

    def readiness(asked: Asked) -> present.Json:
        now = engine.readiness()
        return {
            "stage": now.stage,
            "text": now.text,
            "fraction": present.number(now.fraction),
        }

    with gr.Blocks(title=TITLE, fill_width=True, analytics_enabled=False) as page:
        header(readiness)
        # The Gallery is open first: it is full at the first start, the other tabs need a decision.
        with gr.Tabs(selected="gallery", elem_id="tabs", overflow_behavior="wrap"):
            with gr.Tab("Match", id="match"):
                match_tab(engine, own_machine)
            with gr.Tab("Rosetta Gallery", id="gallery"):
                gallery_tab(engine)
            with gr.Tab("Edit", id="edit"):
                edit_tab(engine, page)
            with gr.Tab("Invert", id="invert"):
                invert_tab(engine, page)
        api_endpoints(engine)
        invert_endpoint(engine)
        express_endpoint(engine)
    return page
