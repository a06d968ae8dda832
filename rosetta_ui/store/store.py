"""The disk cache: arrays and result folders under their keys, within a budget.

    index/                      diskcache: key → kind, bytes, digest, last use, saved
    entries/<key>.safetensors   named arrays (.npy where there is only one: it can be mapped)
    results/<key>/              result folders
    writing/                    what is being written, a folder a process

Files are made in `writing/` and renamed into place, so an entry is there whole or not at all. What
the index says is only believed where the file agrees. Knows nothing of what the arrays mean.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self, cast

import diskcache
from numpy.typing import NDArray

from rosetta_ui.errors import StoreError
from rosetta_ui.store.files import (
    flush_folder,
    folder_bytes,
    map_npy,
    read_arrays,
    said_plainly,
    seal_of,
    write_arrays,
    write_npy,
)
from rosetta_ui.store.index import Entry, checked_key, entry_of, index_said, is_key, open_index
from rosetta_ui.store.scratch import Scratch

_log = logging.getLogger(__name__)

_DIGESTED = 64 << 20
"""Entries up to this size are compared with their digest at every use (0.11 s at the top)."""

_COUNT_EVERY = 64
"""Additions after which all entries are counted anew, as other processes add entries too."""

SAVED_MARK = "saved"
"""An empty file in a folder that a person saved."""

_GRACE = 3600.0
"""Files without an index entry go after an hour: a live process may be about to add the entry."""


class Store:
    """A folder of arrays and results that several threads and processes may use at once.

    Args:
        root: made where it is missing.
        budget_bytes: what unsaved entries may take; the least recently used are dropped first. The
            entry that was just written stays even where it alone is above the budget.

    Raises:
        StoreError: the folder cannot be written.
    """

    def __init__(self, root: Path, budget_bytes: int) -> None:
        self.root = root
        self.budget_bytes = budget_bytes
        self._entries, self._results = root / "entries", root / "results"
        with said_plainly(root, "write"):
            for folder in (root, self._entries, self._results):
                folder.mkdir(parents=True, exist_ok=True)
        self._scratch = Scratch(root / "writing")
        self._scratch.sweep()
        self._index = self._open_index()
        self._reconcile()
        self._unsaved = sum(entry.bytes for entry in self.entries() if not entry.saved)
        self._uncounted = 0

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        """The arrays under a key (a lone one memory-mapped, named ""), or None.

        A damaged entry is dropped, logged, and None as well: the caller computes it again.
        """
        entry = self._touch(key)
        if entry is None or entry.form == "folder":
            return None
        path = self._path(entry)
        try:
            self._check(path, entry)
            return {"": map_npy(path)} if entry.form == "npy" else read_arrays(path)
        except StoreError as error:
            _log.warning("A cache entry is dropped and made again: %s", error)
            self.drop(key)
            return None

    def put(self, key: str, arrays: Mapping[str, NDArray[Any]], kind: str) -> None:
        """Keep named arrays under a key, atomically; an entry that is there already stays.

        Args:
            key: as `keys.digest` makes it.
            arrays: of numbers. A single one named "" is kept as .npy, so that it can be mapped.
            kind: what it is, for lists and logs.

        Raises:
            StoreError: the disk is full or read-only.
        """
        form = "npy" if list(arrays) == [""] else "safetensors"
        entry = Entry(checked_key(key), kind, 0, time.time(), form=form)
        temporary = self._scratch.fresh()
        if form == "npy":
            array = arrays[""]
            size, sha256 = write_npy(temporary, [array], array.shape, array.dtype.str)
        else:
            size, sha256 = write_arrays(temporary, arrays)
        entry = replace(entry, bytes=size, sha256=sha256)
        with self._transaction():
            if (old := self._entry(key)) is not None and self._path(old).exists():
                temporary.unlink()
                return
            with said_plainly(self._path(entry), "write"):
                temporary.replace(self._path(entry))
            self._set(entry)
        flush_folder(self._entries)
        self._added(entry)

    def new_folder(self) -> Path:
        """A fresh folder inside the store to write a result into; gone if this process dies."""
        folder = self._scratch.fresh()
        with said_plainly(folder, "write"):
            folder.mkdir()
        return folder

    def commit_folder(self, key: str, folder: Path, kind: str = "result") -> Path:
        """Move a written folder under its key in one step; returns its final path.

        Where another process was first, its folder stays and this one is dropped.

        Raises:
            StoreError: the disk is full or read-only.
        """
        final = self._results / checked_key(key)
        entry = Entry(key, kind, folder_bytes(folder), time.time(), form="folder")
        with self._transaction():
            if final.is_dir():
                self._scratch.remove(folder)
            else:
                with said_plainly(final, "write"):
                    folder.rename(final)
            if self._entry(key) is None:
                self._set(entry)
        flush_folder(self._results)
        self._added(entry)
        return final

    def folder(self, key: str) -> Path | None:
        """The folder under a key, or None; counts as a use."""
        entry = self._touch(key)
        if entry is None or entry.form != "folder":
            return None
        path = self._path(entry)
        if not path.is_dir():
            self.drop(key)
            return None
        return path

    def entries(self) -> list[Entry]:
        """Everything in the store, least recently used first."""
        with self._transaction():
            found = [self._entry(key) for key in self._keys()]
        return sorted((e for e in found if e is not None), key=lambda entry: entry.used)

    def entry(self, key: str) -> Entry | None:
        """What the index says of one key; no use."""
        with self._transaction():
            return self._entry(checked_key(key))

    def keep(self, key: str, saved: bool) -> None:
        """Take an entry out of the budget, or put it back.

        Raises:
            StoreError: there is no such entry.
        """
        with self._transaction():
            entry = self._entry(key)
            if entry is None:
                raise StoreError(f"The cache has no entry '{key}'.")
            if entry.form == "folder":
                # Also said in the folder itself: what a person saved outlives a lost index.
                mark = self._path(entry) / SAVED_MARK
                with said_plainly(mark, "write"):
                    mark.touch() if saved else mark.unlink(missing_ok=True)
            self._set(replace(entry, saved=saved))
        if not saved:
            self._evict(self.budget_bytes, spare=key)

    def drop(self, key: str) -> None:
        """Remove an entry; one that is not there is no error."""
        with self._transaction():
            entry = self._entry(key)
            hidden = None if entry is None else self._hide(entry)
        self._scratch.remove(hidden)

    def prune(self, budget_bytes: int | None = None) -> list[Entry]:
        """Drop least recently used unsaved entries until a budget holds.

        Args:
            budget_bytes: the store's own by default; 0 drops everything that is not saved.

        Returns:
            What was dropped.
        """
        return self._evict(self.budget_bytes if budget_bytes is None else budget_bytes)

    def close(self) -> None:
        """Close the index; the store can no longer be used."""
        self._index.close()
        self._scratch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _added(self, entry: Entry) -> None:
        """Make room after an addition; everything is counted only when it may be needed."""
        self._unsaved += entry.bytes
        self._uncounted += 1
        if self._unsaved > self.budget_bytes or self._uncounted >= _COUNT_EVERY:
            self._evict(self.budget_bytes, spare=entry.key)

    def _evict(self, budget: int, spare: str = "") -> list[Entry]:
        dropped: list[Entry] = []
        hidden: list[Path | None] = []
        with self._transaction():  # one process at a time, or two would drop twice what is needed
            unsaved = [entry for entry in self.entries() if not entry.saved]
            self._unsaved, self._uncounted = sum(entry.bytes for entry in unsaved), 0
            excess = self._unsaved - budget
            for entry in unsaved:
                if excess > 0 and entry.key != spare:
                    excess -= entry.bytes
                    self._unsaved -= entry.bytes
                    hidden.append(self._hide(entry))
                    dropped.append(entry)
        for path in hidden:
            self._scratch.remove(path)
        return dropped

    def _hide(self, entry: Entry) -> Path | None:
        del self._index[entry.key]
        return self._scratch.hide(self._path(entry))

    def _keys(self) -> list[str]:
        return cast(list[str], list(self._index))

    def _touch(self, key: str) -> Entry | None:
        checked_key(key)
        with self._transaction():
            entry = self._entry(key)
            if entry is not None:
                self._set(replace(entry, used=max(time.time(), entry.used)))
            return entry

    def _check(self, path: Path, entry: Entry) -> None:
        with said_plainly(path, "read"):
            size = path.stat().st_size
        if size != entry.bytes:
            raise StoreError(f"'{path}' is {size:,} bytes, but {entry.bytes:,} were written.")
        if size <= _DIGESTED and seal_of(path)[1] != entry.sha256:
            raise StoreError(f"'{path}' is not what was written.")

    def _path(self, entry: Entry) -> Path:
        if entry.form == "folder":
            return self._results / entry.key
        return self._entries / f"{entry.key}.{entry.form}"

    def _entry(self, key: str) -> Entry | None:
        try:
            value = self._index.get(key)
            return None if value is None else entry_of(key, value)
        except StoreError as error:
            _log.warning("An entry of the cache's index is dropped: %s", error)
            del self._index[key]
            return None

    def _set(self, entry: Entry) -> None:
        self._index[entry.key] = {k: v for k, v in asdict(entry).items() if k != "key"}

    @contextmanager
    def _transaction(self) -> Generator[None]:
        """Hold the index for a read and a write together; other processes wait."""
        with index_said(self.root), self._index.transact(retry=True):
            yield

    def _open_index(self) -> diskcache.Cache:
        folder = self.root / "index"
        with index_said(self.root):
            try:
                return open_index(folder)
            except (sqlite3.DatabaseError, StoreError) as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise  # read-only, full or locked: the index itself is sound
                _log.warning("The cache's index is damaged and is made anew: %s", error)
                self._scratch.remove(self._scratch.hide(folder))
                return open_index(folder)

    def _reconcile(self) -> None:
        """Make index and files agree: after a kill, a copy by hand, or a lost index."""
        with self._transaction():
            known = set(self._keys())
            for path in sorted(self._results.iterdir()):
                if path.name not in known and is_key(path.name) and path.is_dir():
                    size, used = folder_bytes(path), path.stat().st_mtime
                    saved = (path / SAVED_MARK).exists()
                    self._set(Entry(path.name, "result", size, used, saved, form="folder"))
            old = [
                self._scratch.hide(path)
                for path in sorted(self._entries.iterdir())
                if path.stem not in known and time.time() - path.stat().st_mtime > _GRACE
            ]
        for path in old:
            self._scratch.remove(path)
