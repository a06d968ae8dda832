"""Pictures that are edited without networks: a drawn face is rolled, turned over or brightened."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.editing.history import History
from rosetta_ui.editing.recipe import recipe_json, recipe_state, request_of
from rosetta_ui.edits import (
    EditEntry,
    EditNumbers,
    EditProgress,
    EditRequest,
    EditSettings,
    EditStep,
    EditView,
    Film,
    Frontier,
    FrontierPoint,
    Mirror,
    PictureState,
    Rung,
    Shift,
    UnitChoice,
)
from rosetta_ui.errors import BadRequestError
from rosetta_ui.types import Latents, Unit

STEPS = 20
SETTINGS = EditSettings("z", STEPS, 0.1)
SKETCH_ERROR = 0.041


class FakeDesk:
    """Answers as the engine's desk does; an edit takes some seconds of the clock."""

    def __init__(self, draw: Callable[[int, int], NDArray[np.uint8]], seconds: float = 1.0) -> None:
        self._draw = draw
        self._seconds = seconds
        self._pages: dict[str, History[EditEntry]] = {}
        self._running: dict[str, tuple[int, float, EditEntry, bool]] = {}
        self._tickets = itertools.count(1)
        self._looks: Counter[int] = Counter()
        self.asked: list[EditRequest] = []
        self.closed: list[str] = []
        self.left: list[str] = []
        self._frontiers: dict[str, Frontier] = {}
        self._films: dict[str, Film] = {}

    def open(
        self, generator: str, seed: int, class_index: int | None, psi: float | None, page: str
    ) -> EditView:
        latents = Latents("z", np.full((1, 4), seed, np.float32), class_index)
        state = PictureState(generator, seed, 1.0, class_index, latents, latents)
        page = page or f"page{len(self._pages)}"
        self._pages[page] = History([EditEntry(f"Seed {seed}", self._draw(seed, 256), state)])
        return self.view(page)

    def start_picture(
        self, generator: str, seed: int, class_index: int | None = None, psi: float | None = None
    ) -> tuple[PictureState, NDArray[np.uint8]]:
        latents = Latents("z", np.full((1, 4), seed, np.float32), class_index)
        state = PictureState(generator, seed, 1.0, class_index, latents, latents)
        return state, self._draw(seed, 256)

    def open_latents(self, generator: str, latents: Latents, page: str = "") -> EditView:
        state = PictureState(generator, -1, 1.0, latents.class_index, latents, latents)
        page = page or f"page{len(self._pages)}"
        self._pages[page] = History([EditEntry("Inverted picture", self._draw(1, 256), state)])
        return self.view(page)

    def view(self, page: str) -> EditView:
        if page not in self._pages:
            raise BadRequestError("This picture is no longer open here.", "Choose a seed.")
        history = self._pages[page]
        return EditView(page, tuple(history.entries), history.at)

    def go(self, page: str, to: int) -> EditView:
        self._running.pop(page, None)
        self._pages[page].go(to)
        return self.view(page)

    def ask(self, page: str, request: EditRequest) -> int:
        self.asked.append(request)
        now = self._pages[page].current
        picture = now.picture
        for edit in request.edits:
            if isinstance(edit, Shift):
                moved = (round(edit.dy * picture.shape[0]), round(edit.dx * picture.shape[1]))
                picture = np.roll(picture, moved, (0, 1))
            elif isinstance(edit, Mirror):
                picture = np.ascontiguousarray(picture[:, ::-1])
            else:
                picture = np.clip(picture * 1.2, 0, 255).astype(np.uint8)
        step = EditStep(request.edits, (), SETTINGS)
        state = replace(now.state, steps=(*now.state.steps, step))
        after = 0.62 if Mirror() in request.edits else 0.84  # faces are not turned over easily
        numbers = EditNumbers(0.58, after, float("nan"), 97.0, 40.0, 97.0, "dinov2-s")
        ticket = next(self._tickets)
        entry = EditEntry(type(request.edits[0]).__name__, picture, state, numbers)
        self._running[page] = (ticket, time.monotonic(), entry, False)
        return ticket

    def progress(self, page: str) -> EditProgress:
        self.view(page)
        if page not in self._running:
            return EditProgress(0, "stopped")
        ticket, begun, entry, stopped = self._running[page]
        share = (time.monotonic() - begun) / self._seconds
        self._looks[ticket] += 1
        if begun and self._looks[ticket] == 1:
            share = min(share, 0.9)  # a slow page sees it run all the same
        if stopped:
            return EditProgress(ticket, "stopped")
        if share >= 1:
            if self._pages[page].current is not entry:
                self._pages[page].add(entry)
            return EditProgress(ticket, "done", STEPS, STEPS, -0.6)
        step = max(int(share * STEPS), 1)
        left = self._seconds * (1 - share)
        picture = entry.picture[::4, ::4]
        error = SKETCH_ERROR if entry.state.generator == "mobilestylegan" else math.nan
        now = EditProgress(
            ticket, "running", step, STEPS, -0.5, left, 0, step, picture, step < STEPS
        )
        return replace(now, error=error)

    def stop(self, page: str) -> None:
        ticket, begun, entry, _ = self._running[page]
        self._running[page] = (ticket, begun, entry, True)

    def leave(self, page: str) -> None:
        self.left.append(page)

    def close(self, page: str) -> None:
        self.closed.append(page)

    def load(self, page: str, recipe: Mapping[str, Any]) -> EditView:
        state = recipe_state(recipe)
        view = self.open(state.generator, state.seed, state.class_index, None, page)
        self._pages[view.page].add(EditEntry("Loaded", self._draw(state.seed, 256), state))
        return self.view(view.page)

    def page_recipe(self, page: str) -> dict[str, Any]:
        entry = self._pages[page].current
        return recipe_json(entry.state, [entry.numbers] * len(entry.state.steps))

    def ask_frontier(self, page: str, request: EditRequest) -> int:
        now = self._pages[page].current
        points: list[FrontierPoint] = []
        for i, share in enumerate((0.5, 1.0)):
            step = EditStep(request.edits, (), SETTINGS, None, (Rung(0.5, 0), Rung(1, 0)), i)
            state = replace(now.state, steps=(*now.state.steps, step))
            numbers = EditNumbers(
                0.58, 0.6 + 0.2 * share, 0.7, 97 * share, 40, 97 * share, "dinov2-s"
            )
            points.append(FrontierPoint(Rung(share, 0), now.picture, state, numbers))
        self._frontiers[page] = Frontier("Shift", tuple(points), 0)
        return self._finished(page)

    def page_frontier(self, page: str) -> Frontier | None:
        return self._frontiers.get(page)

    def take(self, page: str, point: int) -> EditView:
        found = self._frontiers[page].points[point]
        self._pages[page].add(EditEntry("Taken", found.picture, found.state, found.numbers))
        return self.view(page)

    def ask_film(self, page: str, kind: str) -> int:
        self._films[page] = Film(b"film", kind, 2)
        return self._finished(page)

    def page_film(self, page: str) -> Film | None:
        return self._films.get(page)

    def _finished(self, page: str) -> int:
        ticket = next(self._tickets)
        self._running[page] = (ticket, 0.0, self._pages[page].current, False)
        return ticket

    def read_request(self, data: object) -> EditRequest:
        return request_of(data)

    def unit_maps(
        self, page: str, choice: UnitChoice, most: int
    ) -> tuple[list[Unit], NDArray[np.uint8], int]:
        units = [Unit(self._pages[page].current.state.generator, "conv0", c) for c in range(30)]
        maps = np.random.default_rng(0).integers(0, 256, (30, 16, 16)).astype(np.uint8)
        return units[:most], maps[:most], len(units)
