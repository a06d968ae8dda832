"""What was done to a picture, and the way back. Knows values, no model and no page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

Value = TypeVar("Value")

MOST_ENTRIES = 60
"""States that are kept: a w+ latent and a 1024 px picture are 3 MB."""


@dataclass
class History(Generic[Value]):
    """A line of values and the place in it where one stands; the first value is where it began.

    Attributes:
        entries: oldest first; never empty.
        at: the current one.
    """

    entries: list[Value]
    at: int = field(default=0)

    @property
    def current(self) -> Value:
        """Where one stands."""
        return self.entries[self.at]

    def add(self, value: Value) -> None:
        """Go on from here; what was undone is forgotten, and the oldest edit where it is full."""
        self.entries = [*self.entries[: self.at + 1], value]
        if len(self.entries) > MOST_ENTRIES:
            del self.entries[1]
        self.at = len(self.entries) - 1

    def undo(self) -> Value:
        """One back; stays at the first."""
        return self.go(self.at - 1)

    def redo(self) -> Value:
        """One forward; stays at the last."""
        return self.go(self.at + 1)

    def go(self, to: int) -> Value:
        """To any entry, the nearest there is."""
        self.at = min(max(to, 0), len(self.entries) - 1)
        return self.current
