"""Pictures that are being edited: one history a page, one edit at a time in each.

Imports no torch; what needs it goes through `dispatch` while the device is held.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from rosetta_ui.editing.history import History
from rosetta_ui.edits import (
    Blend,
    EditEntry,
    EditFrame,
    EditNumbers,
    EditProgress,
    EditStep,
    EditView,
    Film,
    Frontier,
    Mirror,
    Paste,
    PictureState,
    Rotate,
    Scale,
    Shift,
    Zoom,
    has_parts,
    part_of,
)
from rosetta_ui.engine.desk import Desk, Page, Task
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError


@dataclass
class EditPage(Page[EditProgress]):
    """A page on which a picture is edited.

    Attributes:
        history: its pictures; never empty once the page is entered.
        frontier: of the edit that was last tried at several strengths.
        tried: the picture that it begins from.
        film: that was last drawn.
    """

    history: History[EditEntry] = field(default_factory=lambda: History[EditEntry]([]))
    frontier: Frontier | None = None
    tried: PictureState | None = None
    film: Film | None = None


Work = Callable[[str], Iterator[EditFrame | Frontier | Film]]
"""Job's id → frames, the last with a state, or followed by a frontier or a film; runs while the
device is held."""


class EditDesk(Desk[EditPage, EditProgress]):
    """All open pages.

    Args:
        bench: models, cache and the device's lock.
        token: of the bench, for `dispatch`.
    """

    lost = BadRequestError(
        "This picture is no longer open here.", "Choose a seed, or load its recipe."
    )

    def __init__(self, bench: Workbench, token: str) -> None:
        super().__init__(bench, token, "edit")

    # Pages

    def open(self, first: EditEntry, page: str = "") -> EditView:
        """Begin a history; in a page that is known it takes the place of the old one."""
        self._sweep()
        known = self._pages.get(page) or self._enter(EditPage(history=History([first])))
        with known.lock:
            self._cancel(known)
            known.history = History([first])
            known.frontier = known.tried = known.film = None
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

    def frontier(self, page: str) -> Frontier | None:
        """The frontier that a page last asked for, or None."""
        return self._page(page).frontier

    def film(self, page: str) -> Film | None:
        """The film that a page last asked for, or None."""
        return self._page(page).film

    def take(self, page: str, point: int) -> EditView:
        """Put one point of a page's frontier after the picture that it begins from.

        Raises:
            BadRequestError: there is no such point, or its first picture is forgotten.
        """
        found = self._page(page)
        with found.lock:
            points = found.frontier.points if found.frontier else ()
            if not 0 <= point < len(points):
                raise BadRequestError("There is no such strength.", "Try several strengths first.")
            chosen = points[point]
            states = [entry.state for entry in found.history.entries]
            base = next((i for i, state in enumerate(states) if state is found.tried), -1)
            if base < 0:
                raise BadRequestError(
                    "The picture that these strengths are of is no longer in the history.",
                    "Try several strengths of this one.",
                )
            label = label_of(chosen.state.steps[-1])
            self._cancel(found)
            found.history.go(base)
            found.history.add(EditEntry(label, chosen.picture, chosen.state, chosen.numbers))
        return self.view(page)

    def current(self, page: str) -> PictureState:
        """The state where a page stands."""
        return self._page(page).history.current.state

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

        def run(found: EditPage, task: Task[EditProgress]) -> None:
            self._run(found, task, label, work, before)

        return self._begin(self._page(page), lambda t: EditProgress(t, "queued"), run)

    def stop(self, page: str) -> None:
        """End a page's edit; what it had is dropped, the picture stays."""
        found = self._page(page)
        with found.lock:
            self._cancel(found)

    def progress(self, page: str) -> EditProgress:
        """A snapshot of a page's newest edit."""
        return self._told(self._page(page)) or EditProgress(0, "stopped")

    def _run(
        self,
        page: EditPage,
        task: Task[EditProgress],
        label: str,
        work: Work,
        before: PictureState | None,
    ) -> None:
        entry: EditEntry | None = None
        made: Frontier | Film | None = None

        def note(frame: EditFrame | Frontier | Film) -> None:
            nonlocal entry, made
            task.handle.cancel.check()
            if not isinstance(frame, EditFrame):
                made = frame
                return
            self._note(page, task, frame)
            if frame.state is not None and frame.picture is not None:
                entry = EditEntry(label, frame.picture, frame.state)

        self._work(page, task, work, note, lambda: self._finish(page, task, entry or made))
        if entry is not None and before is not None:
            self._judge(page, entry, before)

    def _note(self, page: EditPage, task: Task[EditProgress], frame: EditFrame) -> None:
        was = task.progress
        passed = time.monotonic() - task.started
        left = passed / frame.step * (frame.steps - frame.step) if frame.step else float("nan")
        fresh = frame.picture is not None
        shown = frame if fresh else was
        now = EditProgress(
            task.ticket,
            "running",
            frame.step,
            frame.steps,
            frame.loss,
            left,
            frame=was.frame + fresh,
            picture=shown.picture,
            preview=shown.preview,
            error=shown.error,
            note=frame.note,
        )
        self._say(page, task, now)

    def _finish(
        self,
        page: EditPage,
        task: Task[EditProgress],
        made: EditEntry | Frontier | Film | None,
    ) -> None:
        with page.lock:
            if page.task is task and not task.handle.cancel.is_set() and made is not None:
                if isinstance(made, EditEntry):
                    page.history.add(made)
                elif isinstance(made, Film):
                    page.film = made
                else:
                    page.frontier, page.tried = made, page.history.current.state
                task.progress = replace(task.progress, state="done")
            else:
                task.progress = replace(task.progress, state="stopped")

    # Numbers

    def _prepare(self, page: EditPage, state: PictureState) -> None:
        """Make what edits of a picture stand on while a person looks at it."""

        def work() -> None:
            for _ in self._quietly(page, {"what": "prepare", "state": state}, "edit"):
                pass

        threading.Thread(target=work, name="edit-prepare", daemon=True).start()

    def _judge(self, page: EditPage, entry: EditEntry, before: PictureState) -> None:
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

    def _annotate(
        self, page: EditPage, entry: EditEntry, numbers: EditNumbers | None, note: str
    ) -> EditEntry:
        after = replace(entry, numbers=numbers, note=note)
        with page.lock:
            entries = page.history.entries
            for i, known in enumerate(entries):
                if known is entry:
                    entries[i] = after
        return after


def label_of(step: EditStep) -> str:
    """What an edit did, in a few words."""
    rung = step.ladder[step.rung] if step.ladder else None
    words: list[str] = []
    for whole in step.edits:
        edit = part_of(whole, rung.share) if rung else whole
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
            case Blend(share):
                words.append(f"Blend {100 * share:.0f} %")
    text = ", ".join(words)
    return text if rung is None or has_parts(step.edits) else f"{text}, pull {rung.pull:g}"
