"""Open pages and what runs for them: ids, one task at a time in each, goodbyes.

A task belongs to its page and ends with it: pages are dropped when they say goodbye or have not
been heard of for a while. The newest task of a page wins: an older one that still runs is
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
from typing import Any, Generic, TypeVar

from rosetta_ui.edits import EditProgress
from rosetta_ui.engine.dispatch import dispatch
from rosetta_ui.engine.jobs import JobHandle
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError, Cancelled, RosettaError
from rosetta_ui.inversions import InversionProgress

log = logging.getLogger(__name__)

MOST_PAGES = 64
SILENT_SECONDS = 300.0
"""A page that is open says so every 20 s; browsers slow hidden ones down to once a minute."""

DESERTED_SECONDS = 75.0
"""A task whose page has not asked for so long ends."""

Snapshot = TypeVar("Snapshot", EditProgress, InversionProgress)


@dataclass
class Task(Generic[Snapshot]):
    """One task that runs, or the last one that ran.

    Attributes:
        ticket: its number.
        handle: stops it.
        progress: what the page is told.
        started: when it got the device; 0 before.
    """

    ticket: int
    handle: JobHandle
    progress: Snapshot
    started: float = 0.0


@dataclass
class Page(Generic[Snapshot]):
    """What one open page has.

    Attributes:
        name: its id, which nobody can guess.
        heard: when it last asked for something.
        task: its newest one.
        closed: it said goodbye, or was not heard of.
        lock: for all of it.
    """

    name: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    heard: float = field(default_factory=time.monotonic)
    task: Task[Snapshot] | None = None
    closed: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)


PageT = TypeVar("PageT", bound=Page[Any])


class Desk(Generic[PageT, Snapshot]):
    """All open pages of one kind.

    Args:
        bench: models, cache and the device's lock.
        token: of the bench, for `dispatch`.
        kind: of its tasks, as a person calls them: edit or inversion.
    """

    lost = BadRequestError("This page is no longer open here.", "Load it again.")
    """What is said where a page is not known."""

    def __init__(self, bench: Workbench, token: str, kind: str) -> None:
        self._bench = bench
        self._token = token
        self._kind = kind
        self._pages: dict[str, PageT] = {}
        self._lock = threading.Lock()
        self._tickets = itertools.count(1)
        self._closed = False
        self._running = 0
        self._idle = threading.Event()
        self._idle.set()

    # Pages

    @property
    def open_pages(self) -> int:
        """How many pages are known."""
        return len(self._pages)

    def close(self, page: str) -> None:
        """Forget a page and end its task; an unknown one is no error."""
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

    def _enter(self, page: PageT) -> PageT:
        with self._lock:
            self._pages[page.name] = page
        return page

    def _page(self, name: str) -> PageT:
        found = self._pages.get(name)
        if found is None or self._closed:
            raise type(self.lost)(self.lost.message, self.lost.hint)
        found.heard = time.monotonic()
        return found

    def leave(self, page: str) -> None:
        """The browser of a page is gone: its task ends now, the page itself a while later.

        It stays if it is heard of again: a laptop that sleeps ends its connection too, and comes
        back. An unknown page is no error.
        """
        found = self._pages.get(page)
        if found is None:
            return
        with found.lock:
            self._cancel(found)
        later = threading.Timer(SILENT_SECONDS + 1, self._sweep)
        later.daemon = True
        later.start()

    def _cancel(self, page: PageT) -> None:
        if page.task is not None:
            page.task.handle.cancel.set()

    def _sweep(self) -> None:
        now = time.monotonic()
        with self._lock:
            pages = sorted(self._pages.values(), key=lambda page: page.heard)
        for i, page in enumerate(pages):
            surplus = i < len(pages) - MOST_PAGES
            if surplus or now - page.heard > SILENT_SECONDS:
                self.close(page.name)

    # Tasks

    def _begin(
        self,
        page: PageT,
        progress: Callable[[int], Snapshot],
        run: Callable[[PageT, Task[Snapshot]], None],
    ) -> int:
        """Start a task in a thread of its own; the page's older one is cancelled.

        Args:
            page: whose.
            progress: ticket → what is told before it begins.
            run: does it; calls `_work`.

        Returns:
            The ticket.
        """
        ticket = next(self._tickets)
        name = f"{self._kind}-{ticket}"
        task = Task(ticket, JobHandle(name, self._kind, "steps"), progress(ticket))
        with page.lock:
            self._cancel(page)
            page.task = task
        self._count(1)
        threading.Thread(target=run, args=(page, task), name=name, daemon=True).start()
        return ticket

    def _work(
        self,
        page: PageT,
        task: Task[Snapshot],
        work: Callable[[str], Iterator[Any]],
        note: Callable[[Any], None],
        finish: Callable[[], None],
    ) -> None:
        """Run a task while the device is held, and say how it ended.

        Args:
            page: whose.
            task: it.
            work: job's id → frames.
            note: called with each frame.
            finish: called once all are there and the device is free again.
        """
        job = task.handle.status.job
        self._bench.handles[job] = task.handle
        try:
            with self._bench.lock.hold():
                task.started = time.monotonic()
                for frame in work(job):
                    if time.monotonic() - page.heard > DESERTED_SECONDS:
                        task.handle.cancel.set()
                    note(frame)
            finish()
        except Cancelled:
            self._say(page, task, replace(task.progress, state="stopped", picture=None))
        except RosettaError as error:
            now = replace(task.progress, state="failed", message=error.message, hint=error.hint)
            self._say(page, task, now)
        except BaseException:
            message = f"The {self._kind} broke. What was there before is kept."
            hint = "The log in the terminal says why."
            now = replace(task.progress, state="failed", message=message, hint=hint)
            self._say(page, task, now)
            raise
        finally:
            self._bench.handles.pop(job, None)
            self._count(-1)

    def _say(self, page: PageT, task: Task[Snapshot], progress: Snapshot) -> None:
        with page.lock:
            task.progress = progress

    def _told(self, page: PageT) -> Snapshot | None:
        """What a page is told now; None before its first task."""
        with page.lock:
            task: Task[Snapshot] | None = page.task
            if task is None:
                return None
            if task.progress.state == "queued":
                return replace(task.progress, place=max(self._bench.lock.waiting, 1))
            return task.progress

    def _count(self, by: int) -> None:
        with self._lock:
            self._running += by
            if self._running:
                self._idle.clear()
            else:
                self._idle.set()

    # Beside them

    def _quietly(self, page: PageT, values: dict[str, Any], task: str) -> Iterator[Any]:
        """Background work of a page: it ends with the page, and its failure is only a log line.

        It holds the device for one piece at a time, and begins none while a task of any page runs.
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
