"""Pictures that are being edited: one history a page, one edit at a time in each.

An edit belongs to its page and ends with it: pages are dropped when they say goodbye or have not
been heard of for a while. The newest edit of a page wins: an older one that still runs is
cancelled. Imports no torch; what needs it goes through `dispatch` while the device is held.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from rosetta_ui.editing.history import History
from rosetta_ui.edits import (
    EditEntry,
    EditFrame,
    EditNumbers,
    EditProgress,
    EditStep,
    EditView,
    Mirror,
    Paste,
    PictureState,
    Rotate,
    Scale,
    Shift,
    Zoom,
)
from rosetta_ui.engine.dispatch import dispatch
from rosetta_ui.engine.jobs import JobHandle
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError, Cancelled, RosettaError

log = logging.getLogger(__name__)

MOST_PAGES = 64
SILENT_SECONDS = 300.0
"""A page that is open says so every 20 s; browsers slow hidden ones down to once a minute."""

DESERTED_SECONDS = 75.0
"""An edit whose page has not asked for so long ends."""


@dataclass
class Task:
    """One edit that runs, or the last one that ran."""

    ticket: int
    handle: JobHandle
    begun: float = field(default_factory=time.monotonic)
    progress: EditProgress = field(default_factory=lambda: EditProgress(0, "stopped"))
    started: float = 0.0


@dataclass
class Page:
    """What one open page has.

    Attributes:
        name: its id, which nobody can guess.
        history: its pictures.
        heard: when it last asked for something.
        task: its newest edit.
        lock: for all of it.
    """

    name: str
    history: History[EditEntry]
    heard: float = field(default_factory=time.monotonic)
    task: Task | None = None
    closed: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)


Work = Callable[[str], Iterator[EditFrame]]
"""Job's id → frames, the last with a state; runs while the device is held."""


class EditDesk:
    """All open pages.

    Args:
        bench: models, cache and the device's lock.
        token: of the bench, for `dispatch`.
    """

    def __init__(self, bench: Workbench, token: str) -> None:
        self._bench = bench
        self._token = token
        self._pages: dict[str, Page] = {}
        self._lock = threading.Lock()
        self._tickets = itertools.count(1)
        self._closed = False
        self._running = 0
        self._idle = threading.Event()
        self._idle.set()

    # Pages

    def open(self, first: EditEntry, page: str = "") -> EditView:
        """Begin a history; in a page that is known it takes the place of the old one."""
        self._sweep()
        with self._lock:
            known = self._pages.get(page)
            if known is None:
                known = Page(secrets.token_urlsafe(12), History([first]))
                self._pages[known.name] = known
        with known.lock:
            self._cancel(known)
            known.history = History([first])
        self._prepare(known, first.state)
        return self.view(known.name)

    def view(self, page: str) -> EditView:
        """The history of a page.

        Raises:
            BadRequestError: there is no such page (any more).
        """
        found = self._page(page)
        with found.lock:
            return EditView(found.name, tuple(found.history.entries), found.history.at)

    def go(self, page: str, to: int) -> EditView:
        """Stand at another entry of the history; an edit that runs is stopped."""
        found = self._page(page)
        with found.lock:
            self._cancel(found)
            found.history.go(to)
        return self.view(page)

    def add(self, page: str, entry: EditEntry) -> EditView:
        """Put a finished state at the end of a page's history."""
        found = self._page(page)
        with found.lock:
            self._cancel(found)
            found.history.add(entry)
        return self.view(page)

    def current(self, page: str) -> PictureState:
        """The state where a page stands."""
        return self._page(page).history.current.state

    def close(self, page: str) -> None:
        """Forget a page and end its edit; an unknown one is no error."""
        with self._lock:
            found = self._pages.pop(page, None)
        if found is not None:
            with found.lock:
                found.closed = True
                self._cancel(found)

    def close_all(self) -> None:
        """Forget every page."""
        self._closed = True
        for name in list(self._pages):
            self.close(name)

    @property
    def open_pages(self) -> int:
        """How many pages are known."""
        return len(self._pages)

    # Edits

    def start(self, page: str, label: str, work: Work, before: PictureState | None) -> int:
        """Run an edit in a thread of its own; the page's older one is cancelled.

        Args:
            page: whose.
            label: of the state that comes out.
            work: gives the frames.
            before: the state that the numbers compare with; None asks for no numbers.

        Returns:
            The edit's ticket.
        """
        found = self._page(page)
        ticket = next(self._tickets)
        task = Task(ticket, JobHandle(f"edit-{ticket}", "edit", "steps"))
        task.progress = EditProgress(ticket, "queued")
        with found.lock:
            self._cancel(found)
            found.task = task
        self._count(1)
        args = (found, task, label, work, before)
        threading.Thread(target=self._run, args=args, name=f"edit-{ticket}", daemon=True).start()
        return ticket

    def stop(self, page: str) -> None:
        """End a page's edit; what it had is dropped, the picture stays."""
        found = self._page(page)
        with found.lock:
            self._cancel(found)

    def progress(self, page: str) -> EditProgress:
        """A snapshot of a page's newest edit."""
        found = self._page(page)
        with found.lock:
            if found.task is None:
                return EditProgress(0, "stopped")
            now = found.task.progress
            if now.state == "queued":
                return replace(now, place=max(self._bench.lock.waiting, 1))
            return now

    def _run(
        self, page: Page, task: Task, label: str, work: Work, before: PictureState | None
    ) -> None:
        job = task.handle.status.job
        self._bench.handles[job] = task.handle
        entry: EditEntry | None = None
        try:
            with self._bench.lock.hold():
                task.started = time.monotonic()
                for frame in work(job):
                    task.handle.cancel.check()
                    if time.monotonic() - page.heard > DESERTED_SECONDS:
                        task.handle.cancel.set()
                    self._note(page, task, frame)
                    if frame.state is not None and frame.picture is not None:
                        entry = EditEntry(label, frame.picture, frame.state)
            self._finish(page, task, entry)
        except Cancelled:
            self._say(page, task, replace(task.progress, state="stopped", picture=None))
        except RosettaError as error:
            self._say(
                page,
                task,
                replace(task.progress, state="failed", message=error.message, hint=error.hint),
            )
        except BaseException:
            message = "The edit broke. The last picture is kept."
            hint = "The log in the terminal says why."
            failed = replace(task.progress, state="failed", message=message, hint=hint)
            self._say(page, task, failed)
            raise
        finally:
            self._bench.handles.pop(job, None)
            self._count(-1)
        if entry is not None and before is not None:
            self._judge(page, entry, before)

    def _count(self, by: int) -> None:
        with self._lock:
            self._running += by
            if self._running:
                self._idle.clear()
            else:
                self._idle.set()

    def _note(self, page: Page, task: Task, frame: EditFrame) -> None:
        was = task.progress
        passed = time.monotonic() - task.started
        left = passed / frame.step * (frame.steps - frame.step) if frame.step else float("nan")
        now = EditProgress(
            task.ticket, "running", frame.step, frame.steps, frame.loss, left, 0, was.frame
        )
        now = replace(now, picture=was.picture, preview=was.preview)
        if frame.picture is not None:
            now = replace(now, frame=was.frame + 1, picture=frame.picture, preview=frame.preview)
        self._say(page, task, now)

    def _finish(self, page: Page, task: Task, entry: EditEntry | None) -> None:
        with page.lock:
            if page.task is task and not task.handle.cancel.is_set() and entry is not None:
                page.history.add(entry)
                task.progress = replace(task.progress, state="done")
            else:
                task.progress = replace(task.progress, state="stopped")

    def _say(self, page: Page, task: Task, progress: EditProgress) -> None:
        with page.lock:
            task.progress = progress

    # Numbers

    def _prepare(self, page: Page, state: PictureState) -> None:
        """Make what edits of a picture stand on while a person looks at it."""

        def work() -> None:
            for _ in self._quietly(page, {"what": "prepare", "state": state}, "edit"):
                pass

        threading.Thread(target=work, name="edit-prepare", daemon=True).start()

    def _judge(self, page: Page, entry: EditEntry, before: PictureState) -> None:
        """Fill in an entry's numbers; runs in the edit's own thread, after the device was freed."""
        at = self._annotate(page, entry, None, "Judging.")
        values = {"before": before, "after": entry.state}
        for found in self._quietly(page, values, "edit-numbers"):
            if isinstance(found, EditNumbers):
                at = self._annotate(page, at, found, "Learning what is natural.")
            else:
                note = f"Learning what is natural: {found} pictures so far."
                at = self._annotate(page, at, at.numbers, note)
        note = "" if at.numbers is not None else "The judge is not ready."
        self._annotate(page, at, at.numbers, note)

    def _quietly(self, page: Page, values: dict[str, Any], task: str) -> Iterator[Any]:
        """Background work of a page: it ends with the page, and its failure is only a log line.

        It holds the device for one piece at a time, and begins none while anybody's edit runs.
        """
        handle = JobHandle(f"{task}-{next(self._tickets)}", task, "steps")
        job = handle.status.job
        self._bench.handles[job] = handle
        work = dispatch(task, self._token, {**values, "job": job})
        try:
            while True:
                while not self._idle.wait(1.0):
                    if page.closed or self._closed:
                        return
                if page.closed or self._closed:
                    return
                with self._bench.lock.hold():
                    found = next(work, None)
                if found is None:
                    return
                yield found
        except Cancelled:
            pass
        except RosettaError as error:
            log.warning("%s could not be done: %s", task, error.sentence)
        finally:
            self._bench.handles.pop(job, None)

    def _annotate(
        self, page: Page, entry: EditEntry, numbers: EditNumbers | None, note: str
    ) -> EditEntry:
        after = replace(entry, numbers=numbers, note=note)
        with page.lock:
            entries = page.history.entries
            for i, known in enumerate(entries):
                if known is entry:
                    entries[i] = after
        return after

    # The pages themselves

    def _page(self, name: str) -> Page:
        found = self._pages.get(name)
        if found is None or self._closed:
            raise BadRequestError(
                "This picture is no longer open here.", "Choose a seed, or load its recipe."
            )
        found.heard = time.monotonic()
        return found

    def _cancel(self, page: Page) -> None:
        if page.task is not None:
            page.task.handle.cancel.set()

    def _sweep(self) -> None:
        now = time.monotonic()
        names = sorted(self._pages, key=lambda name: self._pages[name].heard)
        for i, name in enumerate(names):
            surplus = i < len(names) - MOST_PAGES
            found = self._pages.get(name)
            if found is not None and (surplus or now - found.heard > SILENT_SECONDS):
                self.close(name)


def label_of(step: EditStep) -> str:
    """What an edit did, in a few words."""
    words: list[str] = []
    for edit in step.edits:
        match edit:
            case Shift(dx, dy):
                words.append(f"Shift {100 * dx:+.0f}, {100 * dy:+.0f} %")
            case Zoom(factor):
                words.append(f"Zoom ×{factor:.2f}")
            case Rotate(degrees):
                words.append(f"Turn {degrees:+.0f}°")
            case Mirror():
                words.append("Mirror")
            case Scale(factor):
                words.append(f"Strength ×{factor:.1f}")
            case Paste():
                words.append("Paste")
    return ", ".join(words)
