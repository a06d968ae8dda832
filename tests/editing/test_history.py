"""Undo, redo and the way back."""

from __future__ import annotations

from rosetta_ui.editing.history import MOST_ENTRIES, History


def test_undo_goes_back_exactly_one_and_redo_returns() -> None:
    history = History(["a"])
    history.add("b")
    history.add("c")
    assert history.undo() == "b"
    assert history.undo() == "a"
    assert history.undo() == "a"
    assert history.redo() == "b"
    assert history.go(9) == "c"


def test_a_new_edit_forgets_what_was_undone() -> None:
    history = History(["a"])
    history.add("b")
    history.undo()
    history.add("c")
    assert history.entries == ["a", "c"]
    assert history.redo() == "c"


def test_a_long_history_keeps_its_start() -> None:
    history = History([0])
    for i in range(1, 200):
        history.add(i)
    assert len(history.entries) == MOST_ENTRIES
    assert history.entries[0] == 0
    assert history.current == 199
