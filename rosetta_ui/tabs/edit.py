"""The Edit tab: drag in the picture, and what its neurons stand for moves.

It reads what the page asks, calls the engine and presents the answer.
"""

# ruff: noqa: D102 - the protocol repeats methods that the engine documents

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from rosetta_ui.edits import (
    EditEntry,
    EditNumbers,
    EditProgress,
    EditRequest,
    EditView,
    Film,
    Frontier,
    UnitChoice,
)
from rosetta_ui.errors import BadRequestError
from rosetta_ui.tabs import present
from rosetta_ui.types import ModelStatus, ResultInfo, Role, RosettaNeuron, Selection, Unit
from rosetta_ui.widgets.drag_pad import drag_pad
from rosetta_ui.widgets.edit_panel import edit_panel
from rosetta_ui.widgets.edit_strengths import edit_strengths
from rosetta_ui.widgets.edit_work import edit_work
from rosetta_ui.widgets.factory import Asked, Call, packed, picture_uri, png_uri

USUAL = "dcgan-digiface"  # answers in a second where the large one takes ten
MOST_SESSIONS = 256
SHOWN_UNITS = 48
LARGE = 768  # px of the picture on the pad
EXACT = 256  # px up to which a picture is sent without loss


class PictureDesk(Protocol):
    """Open pictures, one history a page."""

    def open(
        self, generator: str, seed: int, class_index: int | None, psi: float | None, page: str
    ) -> EditView: ...
    def view(self, page: str) -> EditView: ...
    def go(self, page: str, to: int) -> EditView: ...
    def ask(self, page: str, request: EditRequest) -> int: ...
    def progress(self, page: str) -> EditProgress: ...
    def stop(self, page: str) -> None: ...
    def leave(self, page: str) -> None: ...
    def close(self, page: str) -> None: ...
    def load(self, page: str, recipe: Mapping[str, Any]) -> EditView: ...
    def page_recipe(self, page: str) -> dict[str, Any]: ...
    def ask_frontier(self, page: str, request: EditRequest) -> int: ...
    def page_frontier(self, page: str) -> Frontier | None: ...
    def take(self, page: str, point: int) -> EditView: ...
    def ask_film(self, page: str, kind: str) -> int: ...
    def page_film(self, page: str) -> Film | None: ...
    def read_request(self, data: object) -> EditRequest: ...
    def unit_maps(
        self, page: str, choice: UnitChoice, most: int
    ) -> tuple[list[Unit], NDArray[np.uint8], int]: ...


class EditEngine(Protocol):
    """What the Edit tab asks of the engine."""

    @property
    def editing(self) -> PictureDesk: ...
    def models(self, role: Role | None = None) -> list[ModelStatus]: ...
    def results(self) -> list[ResultInfo]: ...
    def neurons(self, result: str, selection: Selection) -> list[RosettaNeuron]: ...


class Editor:
    """Answers to the Edit tab's widgets; what belongs to a page is the engine's, under its id."""

    def __init__(self, engine: EditEngine) -> None:
        self._engine = engine
        self._sessions: dict[str, str] = {}  # connection of a browser → its page

    def begin(self, request: gr.Request) -> present.Json:
        """Tell the page its connection, so that its end is noticed here."""
        return {"session": request.session_hash or ""}

    def gone(self, request: gr.Request) -> None:
        """A browser's connection ended: what runs for it ends too."""
        page = self._sessions.pop(request.session_hash or "", "")
        if page:
            self._engine.editing.leave(page)

    def _remember(self, asked: Asked, page: str) -> None:
        session = present.text_of(asked, "session")
        if session:
            self._sessions[session] = page
        while len(self._sessions) > MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]

    def catalogue(self, asked: Asked) -> present.Json:
        """Generators, and results whose neurons could be moved."""
        return {
            "generators": [present.model_json(s) for s in self._engine.models("generator")],
            "results": [present.result_json(info) for info in self._engine.results()],
            "usual": USUAL,
        }

    def concepts(self, asked: Asked) -> list[present.Json]:
        """Concepts of a result, largest first."""
        neurons = self._engine.neurons(present.text_of(asked, "result"), Selection(score="centred"))
        sizes = Counter(n.concept for n in neurons if n.concept >= 0)
        return [{"number": number, "size": size} for number, size in sizes.most_common()]

    def units(self, asked: Asked) -> present.Json:
        """The neurons that a choice means, with their maps of the page's picture."""
        request = self._engine.editing.read_request(
            {"edits": [{"kind": "mirror"}], "choice": asked.get("choice")}
        )
        page = present.text_of(asked, "page")
        units, maps, total = self._engine.editing.unit_maps(page, request.choice, SHOWN_UNITS)
        return {"units": [str(unit) for unit in units], "maps": packed(maps), "total": total}

    def open(self, asked: Asked) -> present.Json:
        """Begin with the first picture of a seed."""
        given = asked.get("class")
        view = self._engine.editing.open(
            present.text_of(asked, "generator"),
            present.whole_of(asked, "seed", 0),
            None if given is None else present.whole_of(asked, "class", 0),
            None,
            present.text_of(asked, "page"),
        )
        self._remember(asked, view.page)
        return view_json(view)

    def view(self, asked: Asked) -> present.Json:
        """The history of a page."""
        view = self._engine.editing.view(present.text_of(asked, "page"))
        self._remember(asked, view.page)
        return view_json(view)

    def ask(self, asked: Asked) -> present.Json:
        """Start an edit."""
        request = self._engine.editing.read_request(asked.get("request"))
        return {"ticket": self._engine.editing.ask(present.text_of(asked, "page"), request)}

    def progress(self, asked: Asked) -> present.Json:
        """A snapshot of the page's edit; the history when it is done."""
        page = present.text_of(asked, "page")
        now = self._engine.editing.progress(page)
        fresh = now.frame > present.whole_of(asked, "seen", 0) and now.state == "running"
        return {
            "ticket": now.ticket,
            "state": now.state,
            "step": now.step,
            "steps": now.steps,
            "left": present.number(now.seconds_left, 1),
            "place": now.place,
            "frame": now.frame,
            "preview": now.preview,
            "off": present.number(now.error),
            "picture": _uri(now.picture) if fresh and now.picture is not None else None,
            "note": now.note,
            "message": now.message,
            "hint": now.hint,
            "view": view_json(self._engine.editing.view(page)) if now.state == "done" else None,
        }

    def strengths(self, asked: Asked) -> present.Json:
        """Try an edit at several strengths."""
        request = self._engine.editing.read_request(asked.get("request"))
        ticket = self._engine.editing.ask_frontier(present.text_of(asked, "page"), request)
        return {"ticket": ticket}

    def frontier(self, asked: Asked) -> present.Json:
        """The strengths that the page tried last."""
        found = self._engine.editing.page_frontier(present.text_of(asked, "page"))
        if found is None:
            return {"points": []}
        return {
            "label": found.label,
            "natural": found.natural,
            "points": [
                {
                    "share": point.rung.share,
                    "pull": point.rung.pull,
                    "thumb": picture_uri(point.picture, 192),
                    "numbers": _numbers(point.numbers),
                }
                for point in found.points
            ],
        }

    def take(self, asked: Asked) -> present.Json:
        """Make one of the tried strengths the page's picture."""
        point = present.whole_of(asked, "point", -1)
        return view_json(self._engine.editing.take(present.text_of(asked, "page"), point))

    def film(self, asked: Asked) -> present.Json:
        """Draw a film of the page's history."""
        kind = present.text_of(asked, "kind")
        return {"ticket": self._engine.editing.ask_film(present.text_of(asked, "page"), kind)}

    def film_file(self, asked: Asked) -> present.Json:
        """The film that the page drew last."""
        found = self._engine.editing.page_film(present.text_of(asked, "page"))
        if found is None:
            raise BadRequestError("There is no film yet.", "Ask for one.")
        data = base64.b64encode(found.data).decode("ascii")
        return {"film": f"data:image/{found.kind};base64,{data}", "kind": found.kind}

    def stop(self, asked: Asked) -> present.Json:
        """End the page's edit."""
        self._engine.editing.stop(present.text_of(asked, "page"))
        return {}

    def go(self, asked: Asked) -> present.Json:
        """Stand at another state of the history."""
        page = present.text_of(asked, "page")
        return view_json(self._engine.editing.go(page, present.whole_of(asked, "to", 0)))

    def recipe(self, asked: Asked) -> present.Json:
        """The recipe of the page's picture."""
        return self._engine.editing.page_recipe(present.text_of(asked, "page"))

    def png(self, asked: Asked) -> present.Json:
        """The page's picture in full, without loss."""
        return {"png": png_uri(self._current(asked).picture)}

    def load(self, asked: Asked) -> present.Json:
        """Open a recipe."""
        recipe = asked.get("recipe")
        if not isinstance(recipe, dict):
            raise BadRequestError("This file is no recipe.", "Choose a downloaded recipe.")
        return view_json(self._engine.editing.load(present.text_of(asked, "page"), recipe))

    def alive(self, asked: Asked) -> present.Json:
        """The page is still open."""
        page = present.text_of(asked, "page")
        self._engine.editing.progress(page)
        self._remember(asked, page)
        return {}

    def close(self, asked: Asked) -> present.Json:
        """The page is gone."""
        self._engine.editing.close(present.text_of(asked, "page"))
        return {}

    def _current(self, asked: Asked) -> EditEntry:
        view = self._engine.editing.view(present.text_of(asked, "page"))
        return view.entries[view.at]


def view_json(view: EditView) -> present.Json:
    """A page's history; the current picture and the first in full, the others small."""
    current = view.entries[view.at]
    return {
        "page": view.page,
        "at": view.at,
        "generator": current.state.generator,
        "seed": current.state.seed,
        "picture": _uri(current.picture),
        "first": _uri(view.entries[0].picture),
        "entries": [
            {
                "label": entry.label,
                "thumb": picture_uri(entry.picture, 128),
                "note": entry.note,
                "numbers": _numbers(entry.numbers),
            }
            for entry in view.entries
        ],
    }


def _numbers(found: EditNumbers | None) -> present.Json | None:
    if found is None:
        return None
    return {
        "before": present.number(found.fidelity_before),
        "after": present.number(found.fidelity_after),
        "partner": present.number(found.partner_corr),
        "realism": present.number(found.realism_percentile, 1),
        "latent": present.number(found.latent_percentile, 1),
        "picture": present.number(found.picture_percentile, 1),
        "judge": found.judge,
    }


def _uri(picture: NDArray[np.uint8]) -> str:
    return png_uri(picture) if max(picture.shape) <= EXACT else picture_uri(picture, LARGE)


def edit_tab(engine: EditEngine, page: gr.Blocks) -> None:
    """Lay out the tab that is open.

    Args:
        engine: does the work.
        page: that the tab is part of; its visitors' coming and going is followed.
    """
    editor = Editor(engine)
    calls: dict[str, Call] = {
        "open": editor.open,
        "view": editor.view,
        "ask": editor.ask,
        "strengths": editor.strengths,
        "frontier": editor.frontier,
        "take": editor.take,
        "film": editor.film,
        "film_file": editor.film_file,
        "progress": editor.progress,
        "stop": editor.stop,
        "go": editor.go,
        "recipe": editor.recipe,
        "png": editor.png,
        "load": editor.load,
        "alive": editor.alive,
        "close": editor.close,
    }
    with gr.Row(elem_id="edit-page", elem_classes="r-page"):
        with gr.Column(elem_id="edit-picture-column", min_width=0):
            drag_pad()
            work = edit_work(calls)
            edit_strengths()
        with gr.Column(elem_id="edit-panel-column", min_width=0):
            edit_panel(editor.catalogue, editor.concepts, editor.units)
    page.load(editor.begin, outputs=work, show_progress="hidden", api_visibility="private")
    page.unload(editor.gone)
