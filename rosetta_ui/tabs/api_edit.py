"""Edits for programs: one endpoint that yields frames, the finished picture and its recipe last.

A call opens a page of its own in the engine and closes it when it ends, however it ends.
"""

# ruff: noqa: D102 - the protocol repeats methods that the engine documents

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import gradio as gr

from rosetta_ui.edits import EditEntry, EditNumbers, EditProgress, EditRequest, EditView
from rosetta_ui.errors import BadRequestError, RosettaError
from rosetta_ui.tabs import present
from rosetta_ui.widgets.factory import picture_uri, png_uri

HEARTBEAT = 0.25  # seconds between looks at an edit: also how long a cancelled call goes on
PREVIEW = 256  # px of a frame
USUAL = "dcgan-digiface"


class EditPages(Protocol):
    """Open pictures, one history a page."""

    def open(
        self, generator: str, seed: int, class_index: int | None, psi: float | None, page: str
    ) -> EditView: ...
    def load(self, page: str, recipe: Mapping[str, Any]) -> EditView: ...
    def view(self, page: str) -> EditView: ...
    def ask(self, page: str, request: EditRequest) -> int: ...
    def progress(self, page: str) -> EditProgress: ...
    def close(self, page: str) -> None: ...
    def page_recipe(self, page: str) -> dict[str, Any]: ...
    def read_request(self, data: object) -> EditRequest: ...


class EditApiEngine(Protocol):
    """What programs ask of the engine to edit."""

    @property
    def editing(self) -> EditPages: ...


class EditApi:
    """The endpoint; one for all visitors, so it keeps nothing about any."""

    def __init__(self, engine: EditApiEngine) -> None:
        self._engine = engine

    def edit(  # noqa: PLR0913 - a client names each by its own word
        self,
        edits: list[dict[str, Any]],
        generator: str = "",
        seed: int = 0,
        class_index: int | None = None,
        recipe: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        choice: dict[str, Any] | None = None,
        source_seed: int | None = None,
        judge: bool = True,
    ) -> Iterator[dict[str, Any]]:
        """Edit a generated picture; yields how far it is, the finished picture last.

        Cancelling the call stops the edit.

        Args:
            edits: [{"kind": "shift", "dx": 0.12, "dy": 0}], zoom (factor, x, y), rotate (degrees,
                x, y), mirror, scale (factor, region), paste (region, x, y), blend (share). Places
                are fractions of the width and height, a region is a list of [x, y] corners.
            generator: name; empty takes the usual one.
            seed: of the picture.
            class_index: for class-conditional generators only.
            recipe: begin with this picture instead, as a former call gave it.
            settings: {steps, restarts, pull, stages, coarse_first, colours, space, early}; what is
                missing is the generator's usual.
            choice: {"kind": "units", "units": [...]}, or usual, active (x, y), matched (result),
                concept (result, concept).
            source_seed: of the picture that a paste copies from or a blend goes to.
            judge: wait for the numbers: fidelity, held-out partners, realism.

        Returns:
            {state, step, steps, place, note, picture, recipe, numbers}; the last one has state
            "done", the picture as a PNG data address, its recipe and its numbers.
        """
        pages = self._engine.editing
        page = ""
        try:
            request = pages.read_request(
                {"edits": edits, "settings": settings, "choice": choice, "source_seed": source_seed}
            )
            if recipe:
                page = pages.load("", recipe).page
            else:
                whole = present.whole_of({"seed": seed}, "seed", 0)
                page = pages.open(generator or USUAL, whole, class_index, None, "").page
            pages.ask(page, request)
            yield from self._followed(page)
            yield from self._judged(page, judge)
        except RosettaError as error:
            raise gr.Error(error.sentence, print_exception=False) from error
        finally:
            if page:
                pages.close(page)

    def _followed(self, page: str) -> Iterator[dict[str, Any]]:
        seen = 0
        while True:
            now = self._engine.editing.progress(page)
            if now.state == "failed":
                raise BadRequestError(now.message, now.hint)
            if now.state == "stopped":
                raise BadRequestError("The edit was stopped.", "Ask again.")
            if now.state == "done":
                return
            fresh = now.picture is not None and now.frame > seen
            seen = max(seen, now.frame)
            picture = None if now.picture is None or not fresh else now.picture
            yield {
                "state": now.state,
                "step": now.step,
                "steps": now.steps,
                "place": now.place,
                "note": now.note,
                "picture": None if picture is None else picture_uri(picture, PREVIEW),
                "recipe": None,
                "numbers": None,
            }
            time.sleep(HEARTBEAT)

    def _judged(self, page: str, judge: bool) -> Iterator[dict[str, Any]]:
        while True:
            entry = self._entry(page)
            if not judge or not entry.note:
                break
            yield {**self._result(page, entry), "state": "judging", "picture": None}
            time.sleep(HEARTBEAT)
        yield self._result(page, entry)

    def _entry(self, page: str) -> EditEntry:
        view = self._engine.editing.view(page)
        return view.entries[view.at]

    def _result(self, page: str, entry: EditEntry) -> dict[str, Any]:
        steps = entry.state.steps[-1].settings.steps if entry.state.steps else 0
        return {
            "state": "done",
            "step": steps,
            "steps": steps,
            "place": 0,
            "note": entry.note,
            "picture": png_uri(entry.picture),
            "recipe": self._engine.editing.page_recipe(page),
            "numbers": numbers_json(entry.numbers),
        }


def numbers_json(numbers: EditNumbers | None) -> dict[str, Any] | None:
    """The numbers of an edit as JSON values; what is not known is null."""
    if numbers is None:
        return None
    named = {
        "fidelity_before": numbers.fidelity_before,
        "fidelity_after": numbers.fidelity_after,
        "partner_corr": numbers.partner_corr,
        "realism_percentile": numbers.realism_percentile,
    }
    rounded = {k: None if math.isnan(v) else round(v, 4) for k, v in named.items()}
    return {**rounded, "judge": numbers.judge}
