"""Reading JSON values that somebody else wrote: each is checked for type and range before use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from rosetta_ui.errors import StoreError


class Checked:
    """A JSON value with its place in the file, for sentences that say where something is wrong.

    Args:
        value: as `json.loads` gave it.
        place: how a person would name it, such as "tables[0]".
    """

    def __init__(self, value: Any, place: str) -> None:
        self.value = value
        self.place = place

    def wrong(self, expected: str) -> StoreError:
        """The error for this value."""
        shown = repr(self.value)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        return StoreError(f"{self.place} should be {expected}, but is {shown}.")

    def get(self, key: str) -> Checked:
        """A member that must be there."""
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        if key not in self.value:
            raise StoreError(f"{self.place} has no '{key}'.")
        return Checked(self.value[key], f"{self.place} → {key}")

    def has(self, key: str) -> bool:
        """Whether a member is there and is not null."""
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def object(self) -> dict[str, Any]:
        """The value as an object."""
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        return self.value

    def members(self, limit: int = 10_000) -> Iterator[tuple[str, Checked]]:
        """Members of an object, at most `limit`."""
        if len(self.object()) > limit:
            raise self.wrong(f"an object of at most {limit} members")
        for key, value in self.object().items():
            yield key, Checked(value, f"{self.place} → {key}")

    def items(self, limit: int = 10_000) -> list[Checked]:
        """Items of a list, at most `limit`."""
        if not isinstance(self.value, list) or len(self.value) > limit:
            raise self.wrong(f"a list of at most {limit} items")
        return [Checked(item, f"{self.place}[{at}]") for at, item in enumerate(self.value)]

    def text(self, limit: int = 2_000) -> str:
        """Text of at most `limit` characters."""
        if not isinstance(self.value, str) or len(self.value) > limit:
            raise self.wrong(f"text of at most {limit} characters")
        return self.value

    def name(self, limit: int = 300, forbidden: str = "") -> str:
        """Printable text that is not empty and has none of some characters."""
        text = self.text(limit)
        if not text or not text.isprintable() or any(c in text for c in forbidden):
            raise self.wrong("a name" + (f" without {' '.join(forbidden)}" if forbidden else ""))
        return text

    def choice(self, options: Sequence[str]) -> Any:
        """One of some words."""
        if not isinstance(self.value, str) or self.value not in options:
            raise self.wrong(f"one of {', '.join(options)}")
        return self.value

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high."""
        value = self.value
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(f"a whole number from {low} to {high}")
        return value

    def number(self, low: float, high: float) -> float:
        """A finite number from low to high."""
        value = self.value
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.wrong("a number")
        if not low <= value <= high or not math.isfinite(value):
            raise self.wrong(f"a number from {low:g} to {high:g}")
        return float(value)

    def truth(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def digest(self) -> str:
        """A SHA-256 in lower-case hexadecimal, or empty."""
        text = self.text(64)
        if text and (len(text) != 64 or set(text) - set("0123456789abcdef")):
            raise self.wrong("a SHA-256")
        return text
