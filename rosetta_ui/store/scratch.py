"""Folders that are being written: each process has its own, and those of dead processes go.

A process holds a lock on `<token>.lock` for as long as it lives; whoever can take that lock knows
that the owner is dead, so kill −9 leaves nothing behind for longer than until the next start.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from pathlib import Path

from rosetta_ui.store.files import said_plainly

try:
    import fcntl
except ImportError:  # Windows has no flock: what is left behind goes after a day instead
    fcntl = None

_OLD = 24 * 3600.0


class Scratch:
    """One process's place for unfinished files, on the same disk as the finished ones.

    Args:
        root: shared by all processes; made where it is missing.

    Raises:
        StoreError: it cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        with said_plainly(root, "write"):
            root.mkdir(parents=True, exist_ok=True)
            while True:
                token = secrets.token_hex(8)
                self._lock_path = root / f"{token}.lock"
                handle = _locked(self._lock_path, create=True)
                # A sweeper may take a fresh file between its making and its locking: try again.
                if handle is not None and self._lock_path.exists():
                    break
            self._handle: int | None = handle
            self._owner = os.getpid()
            self.folder = root / token
            self.folder.mkdir()

    def fresh(self, name: str = "") -> Path:
        """A path inside that nothing has yet."""
        return self.folder / f"{secrets.token_hex(6)}{name}"

    def sweep(self) -> list[str]:
        """Remove what dead processes left; returns their tokens."""
        swept: list[str] = []
        with said_plainly(self._root, "write"):
            for lock in sorted(self._root.glob("*.lock")):
                if lock == self._lock_path:
                    continue
                handle = _locked(lock, create=False)
                if handle is None:
                    continue
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
                os.close(handle)
                swept.append(lock.stem)
        return swept

    def hide(self, path: Path) -> Path | None:
        """Make a file or folder disappear in one step; `remove` what comes back."""
        with said_plainly(path, "remove"):
            hidden = self.fresh("-trash")
            try:
                path.rename(hidden)
            except FileNotFoundError:  # another process was faster
                return None
            return hidden

    def remove(self, hidden: Path | None) -> None:
        """Remove what `hide` gave."""
        if hidden is None:
            return
        with said_plainly(hidden, "remove"):
            if hidden.is_dir():
                shutil.rmtree(hidden)
            else:
                hidden.unlink()

    def close(self) -> None:
        """Remove everything inside and let the lock go; a second call does nothing."""
        if self._handle is None:
            return
        if os.getpid() == self._owner:  # a forked child must not empty its parent's folder
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock_path.unlink(missing_ok=True)
        os.close(self._handle)
        self._handle = None


def _locked(path: Path, *, create: bool) -> int | None:
    """Take a lock file: its handle, or None where its owner is alive or it has just gone."""
    try:
        handle = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0), 0o644)
    except FileNotFoundError:
        return None
    if fcntl is None:
        if create or time.time() - path.stat().st_mtime > _OLD:
            return handle
        os.close(handle)
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
