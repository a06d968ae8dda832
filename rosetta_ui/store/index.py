"""What the store's index holds, and how its failures are said."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diskcache

from rosetta_ui.errors import StoreError
from rosetta_ui.store.checked import Checked
from rosetta_ui.store.disk import JsonDisk
from rosetta_ui.store.files import said_plainly

_KEY = frozenset("0123456789abcdefghijklmnopqrstuvwxyz-_")


@dataclass(frozen=True)
class Entry:
    """One thing in the store.

    Attributes:
        key: as `keys.digest` makes it.
        kind: what it is, such as "heatmaps" or "result".
        bytes: on disk.
        used: seconds since the epoch of its last use.
        saved: kept by a person, never evicted.
        sha256: of a file; empty for folders, which carry digests of their own.
        form: npy, safetensors or folder.
    """

    key: str
    kind: str
    bytes: int
    used: float
    saved: bool = False
    sha256: str = ""
    form: str = "safetensors"


def open_index(folder: Path) -> diskcache.Cache:
    """Open or make the index; a damaged or planted key shows here.

    Raises:
        sqlite3.Error, StoreError: it cannot be used.
    """
    # diskcache's own eviction stays off: it counts only what lies in its database.
    index = diskcache.Cache(
        str(folder), disk=JsonDisk, eviction_policy="none", cull_limit=0, timeout=60
    )
    list(index)
    return index


def entry_of(key: str, value: Any) -> Entry:
    """An entry from what the index holds under its key.

    Raises:
        StoreError: a value is missing or wrong.
    """
    data = Checked(value, f"the index entry {key}")
    return Entry(
        key=checked_key(key),
        kind=data.get("kind").text(100),
        bytes=data.get("bytes").integer(0, 1 << 60),
        used=data.get("used").number(0, 1e12),
        saved=data.get("saved").truth(),
        sha256=data.get("sha256").digest(),
        form=data.get("form").choice(("npy", "safetensors", "folder")),
    )


def is_key(text: str) -> bool:
    """Whether a text may be a key, and so a file name."""
    return 0 < len(text) <= 100 and set(text) <= _KEY


def checked_key(key: str) -> str:
    """A key that may be a file name.

    Raises:
        StoreError: it may not.
    """
    if not is_key(key):
        raise StoreError(f"'{key[:60]}' is no key of the cache.", "Use an id from the list.")
    return key


@contextmanager
def index_said(root: Path) -> Generator[None]:
    """Turn the index's failures into a StoreError with one sentence."""
    try:
        with said_plainly(root, "write"):
            yield
    except diskcache.Timeout as error:
        raise StoreError(
            f"The cache in '{root}' stayed locked for a minute.", "Close other programs using it."
        ) from error
    except sqlite3.Error as error:
        text = str(error)
        hint = "Choose another folder with --cache-dir."
        if "full" in text:
            raise StoreError(f"The disk is full: '{root}' could not be written.", hint) from error
        if "readonly" in text or "unable to open" in text:
            raise StoreError(f"No permission to write '{root}'.", hint) from error
        raise StoreError(f"The cache's index in '{root}' failed: {text}.", hint) from error
