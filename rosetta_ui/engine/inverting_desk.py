"""Pictures that are being inverted: what each page was given, asked and got. Goes with the page.

Imports no torch; what needs it goes through `dispatch` while the device is held.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.engine.desk import Desk, Page, Task
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError
from rosetta_ui.inversions import (
    Framed,
    Inversion,
    InversionFrame,
    InversionProgress,
    InversionRequest,
    LossPoint,
)
from rosetta_ui.inverting.guide import Guide

MOST_RESULTS = 12
"""Results that a page keeps: a 1024 px picture and its target are 6 MB."""

NO_JUDGE = "How natural it is could not be told: the judge is not ready."


Wanted = tuple[InversionRequest, NDArray[np.uint8] | None]


@dataclass
class InvertPage(Page[InversionProgress]):
    """A page on which a picture is inverted.

    Attributes:
        results: oldest first.
        guides: what guided each, by its number.
        points: the loss of the newest inversion, step by step.
        numbers: of the results.
        wanted: what is to be made ready, and a picture to look through; None where nothing is.
        preparing: a thread does so.
        framed: what came of the newest picture.
    """

    results: list[Inversion] = field(default_factory=list[Inversion])
    guides: dict[int, Guide | None] = field(default_factory=dict[int, Guide | None])
    points: list[LossPoint] = field(default_factory=list[LossPoint])
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    wanted: Wanted | None = None
    preparing: bool = False
    framed: Framed = field(default_factory=lambda: Framed(True))


Work = Callable[[str], Iterator[InversionFrame]]
"""Job's id → frames; those that end an inversion have its result."""


class InvertDesk(Desk[InvertPage, InversionProgress]):
    """All open pages.

    Args:
        bench: models, cache and the device's lock.
        token: of the bench, for `dispatch`.
    """

    lost = BadRequestError("This picture is no longer open here.", "Choose it again.")

    def __init__(self, bench: Workbench, token: str) -> None:
        super().__init__(bench, token, "inversion")

    # Pages

    def open(self, page: str = "") -> str:
        """A page's id; one that is known stays as it is."""
        self._sweep()
        known = self._pages.get(page) or self._enter(InvertPage())
        return self._page(known.name).name

    def results(self, page: str) -> tuple[Inversion, ...]:
        """What a page has got, oldest first.

        Raises:
            BadRequestError: there is no such page (any more).
        """
        found = self._page(page)
        with found.lock:
            return tuple(found.results)

    def result(self, page: str, which: int) -> tuple[Inversion, Guide | None]:
        """One result, and what guided it.

        Raises:
            BadRequestError: there is no such page or result.
        """
        found = self._page(page)
        with found.lock:
            for each in found.results:
                if each.which == which:
                    return each, found.guides.get(which)
        raise BadRequestError(
            f"There is no result {which} on this page.", "Choose one that is listed."
        )

    def forget(self, page: str, which: int) -> None:
        """Drop one result; one that is not there is no error."""
        found = self._page(page)
        with found.lock:
            found.results = [each for each in found.results if each.which != which]
            found.guides.pop(which, None)

    # Inversions

    def start(self, page: str, work: Work, guide: Guide | None, resume: Inversion | None) -> int:
        """Run an inversion in a thread of its own; the page's older one is stopped.

        Args:
            page: whose.
            work: gives the frames.
            guide: what guides.
            resume: the result that it goes on from; its points stay.

        Returns:
            The inversion's ticket.
        """
        found = self._page(page)
        begin: list[LossPoint] = [] if resume is None else list(resume.history)

        def run(of: InvertPage, task: Task[InversionProgress]) -> None:
            self._run(of, task, work, guide)

        with found.lock:
            found.points = begin
            return self._begin(found, lambda t: InversionProgress(t, "queued"), run)

    def stop(self, page: str) -> None:
        """End a page's inversion; the best so far is kept. One that waits ends at once."""
        found = self._page(page)
        with found.lock:
            self._cancel(found)
            task = found.task
            if task is not None and task.progress.state == "queued":
                task.progress = replace(task.progress, state="stopped")

    def progress(self, page: str, seen: int) -> InversionProgress:
        """A snapshot of a page's newest inversion, with the points of its loss from `seen` on."""
        found = self._page(page)
        with found.lock:
            now = self._told(found) or InversionProgress(0, "stopped")
            start = seen if 0 <= seen <= len(found.points) else 0
            return replace(now, history=tuple(found.points[start:]), history_end=len(found.points))

    def prepare(
        self, page: str, request: InversionRequest, picture: NDArray[np.uint8] | None
    ) -> None:
        """Make what inversions of a generator stand on while a person chooses a picture.

        Args:
            page: whose.
            request: of the generator.
            picture: is looked through then; `framed` tells what came of the newest one.
        """
        found = self._page(page)
        with found.lock:
            found.wanted = (request, picture)
            found.framed = Framed(picture is None)
            if found.preparing:
                return
            found.preparing = True
        threading.Thread(
            target=self._prepare, args=(found,), name="invert-prepare", daemon=True
        ).start()

    def framed(self, page: str) -> Framed:
        """Where the newest picture of a page has what the generator draws."""
        found = self._page(page)
        with found.lock:
            return found.framed

    def _prepare(self, page: InvertPage) -> None:
        """Do what is wanted, one after another: two at once would draw the same samples twice."""
        try:
            while True:
                with page.lock:
                    wanted, page.wanted = page.wanted, None
                    if wanted is None:
                        return
                values = {"what": "prepare", "request": wanted[0], "picture": wanted[1]}
                framed = Framed(True)
                for said in self._quietly(page, values, "invert"):
                    framed = said if isinstance(said, Framed) else framed
                with page.lock:
                    if page.wanted is None:
                        page.framed = framed
        finally:
            with page.lock:
                page.preparing = False

    def _run(
        self, page: InvertPage, task: Task[InversionProgress], work: Work, guide: Guide | None
    ) -> None:
        made: list[Inversion] = []

        def note(frame: InversionFrame) -> None:
            self._note(page, task, frame)
            if frame.result is not None:
                made.append(self._keep(page, task, frame.result, guide))

        self._work(page, task, work, note, lambda: self._finish(page, task, made))
        for result in made:
            self._judge(page, result)

    def _note(self, page: InvertPage, task: Task[InversionProgress], frame: InversionFrame) -> None:
        with page.lock:
            was = task.progress
            now = replace(
                was,
                state="running",
                step=frame.step,
                steps=frame.steps,
                left=frame.seconds_left,
                place=0,
                best=frame.best,
                message=frame.message,
            )
            if frame.picture is not None:
                now = replace(
                    now, frame=was.frame + 1, picture=frame.picture, preview=frame.preview
                )
            task.progress = now
            if frame.terms and frame.result is None and page.task is task:
                page.points.append(LossPoint(frame.step, frame.terms, frame.best))

    def _keep(
        self,
        page: InvertPage,
        task: Task[InversionProgress],
        result: Inversion,
        guide: Guide | None,
    ) -> Inversion:
        """Enter a result; one that went on takes the place of what it went on from."""
        with page.lock:
            if page.closed:
                return result
            known = [each.which for each in page.results]
            if result.which not in known:
                result = replace(result, which=next(page.numbers))
                page.results = [*page.results, result][-MOST_RESULTS:]
            else:
                page.results[known.index(result.which)] = result
            page.guides[result.which] = guide
            kept = {each.which for each in page.results}
            page.guides = {which: g for which, g in page.guides.items() if which in kept}
            task.progress = replace(task.progress, which=result.which)
            return result

    def _finish(
        self, page: InvertPage, task: Task[InversionProgress], made: list[Inversion]
    ) -> None:
        with page.lock:
            stopped = not made or made[-1].stopped
            task.progress = replace(task.progress, state="stopped" if stopped else "done", left=0.0)

    # Numbers

    def _judge(self, page: InvertPage, result: Inversion) -> None:
        """Fill in how natural a result is; in the inversion's own thread, the device freed."""
        at = self._annotate(page, result, "Learning what is natural.")
        values = {"request": at.request, "latents": at.latents, "picture": at.picture}
        for said in self._quietly(page, values, "invert-numbers"):
            if isinstance(said, str):
                at = self._annotate(page, at, said)
            elif at.numbers is not None:
                numbers = replace(at.numbers, realism_percentile=said)
                self._annotate(page, replace(at, numbers=numbers), "")
                return
        self._annotate(page, at, NO_JUDGE)

    def _annotate(self, page: InvertPage, result: Inversion, note: str) -> Inversion:
        after = replace(result, note=note)
        with page.lock:
            for i, known in enumerate(page.results):
                if known.which == after.which and known.latents is after.latents:
                    page.results[i] = after
        return after
