"""The disk cache: arrays and result folders under their keys, within a budget.

diskcache is the index; arrays lie beside it as `.npy` or safetensors files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Entry:
    """One thing in the store.

    Attributes:
        key: as `keys.digest` makes it.
        kind: what it is, such as "heatmaps" or "result".
        bytes: on disk.
        used: seconds since the epoch of its last use.
        saved: kept by a person, never evicted.
    """

    key: str
    kind: str
    bytes: int
    used: float
    saved: bool = False


class Store:
    """A folder of arrays and results that several processes may use at once.

    Args:
        root: made where it is missing.
        budget_bytes: what unsaved entries may take; the least recently used are dropped first.

    Raises:
        StoreError: the folder cannot be written.
    """

    def __init__(self, root: Path, budget_bytes: int) -> None:
        raise NotImplementedError

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        """The arrays under a key (a lone one memory-mapped), or None.

        A damaged entry is dropped, logged, and None as well: the caller computes it again.
        """
        raise NotImplementedError

    def put(self, key: str, arrays: Mapping[str, NDArray[Any]], kind: str) -> None:
        """Keep named arrays under a key, atomically; an entry that is there already stays.

        Raises:
            StoreError: the disk is full or read-only.
        """
        raise NotImplementedError

    def new_folder(self) -> Path:
        """A fresh folder inside the store to write a result into; gone if this process dies."""
        raise NotImplementedError

    def commit_folder(self, key: str, folder: Path, kind: str = "result") -> Path:
        """Move a written folder under its key in one step; returns its final path.

        Where another process was first, its folder stays and this one is dropped.
        """
        raise NotImplementedError

    def folder(self, key: str) -> Path | None:
        """The folder under a key, or None; counts as a use."""
        raise NotImplementedError

    def entries(self) -> list[Entry]:
        """Everything in the store, least recently used first."""
        raise NotImplementedError

    def keep(self, key: str, saved: bool) -> None:
        """Take an entry out of the budget, or put it back."""
        raise NotImplementedError

    def drop(self, key: str) -> None:
        """Remove an entry."""
        raise NotImplementedError

    def prune(self, budget_bytes: int | None = None) -> list[Entry]:
        """Drop least recently used entries until the budget holds; returns what was dropped."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the index; the store can no longer be used."""
        raise NotImplementedError
