"""Answers about results, remembered: the same selection is asked for again and again by a page."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from rosetta_ui.store.exchange import export_json
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.store.shelf import ResultShelf
from rosetta_ui.types import MatchSummary, Partner, RosettaNeuron, Selection, Unit

_REMEMBERED = 32


class Answers:
    """Asks `rosetta_ui.matching.answers`, each question once.

    Args:
        shelf: opens results.
    """

    def __init__(self, shelf: ResultShelf) -> None:
        self._shelf = shelf
        self._known: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._lock = threading.Lock()

    def summary(self, result: str, selection: Selection) -> MatchSummary:
        """See `Engine.summary`."""
        from rosetta_ui.matching import answers  # scipy: half a second that starting can do without

        return self._ask(
            "summary", result, selection, lambda f: answers.summary(f, result, selection)
        )

    def neurons(self, result: str, selection: Selection) -> list[RosettaNeuron]:
        """See `Engine.neurons`."""
        from rosetta_ui.matching import answers

        return list(
            self._ask("neurons", result, selection, lambda f: answers.neurons(f, selection))
        )

    def pairs(self, result: str, backbone: str, selection: Selection) -> list[tuple[Unit, Partner]]:
        """See `Engine.pairs`."""
        from rosetta_ui.matching import answers

        what = f"pairs {backbone}"
        return list(
            self._ask(what, result, selection, lambda f: answers.pairs(f, backbone, selection))
        )

    def report(self, result: str, selection: Selection) -> dict[str, Any]:
        """See `Engine.report`."""
        from rosetta_ui.matching import answers

        return self._ask("report", result, selection, lambda f: answers.report(f, selection))

    def export(self, result: str, selection: Selection) -> dict[str, Any]:
        """See `Engine.export`."""
        return export_json(self.neurons(result, selection))

    def _ask(
        self, what: str, result: str, selection: Selection, answer: Callable[[ResultFolder], Any]
    ) -> Any:
        folder = self._shelf.open(result)
        key = (what, result, folder.record.created, selection)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        found = answer(folder)
        with self._lock:
            self._known[key] = found
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return found
