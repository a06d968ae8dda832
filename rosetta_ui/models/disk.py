"""Writing whole files or none, and saying what a disk refused. Knows paths and bytes, no models."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from rosetta_ui.errors import StoreError

LOCK_SECONDS = 0.2
TEMPORARY = ".tmp"
ELSEWHERE = "Choose another cache folder with --cache-dir or ROSETTA_CACHE_DIR."

_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def digest_of(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def megabytes(size: int) -> str:
    """A size for a person: `37.6 MB`."""
    return f"{size / 1e6:.1f} MB"


@contextmanager
def writing_to(folder: Path) -> Generator[None]:
    """Turn what a disk refuses inside the `with` into one sentence.

    Raises:
        StoreError: instead of any `OSError`; a full disk and a read-only folder are named.
    """
    try:
        yield
    except ConnectionError:  # a reader of our output that went away is no fault of the disk
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise full_disk(folder) from error
        if error.errno in _REFUSED:
            raise StoreError(f"The folder {folder} cannot be written.", ELSEWHERE) from error
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise StoreError(f"'{error.filename}' is not a folder.", ELSEWHERE) from error
        raise StoreError(f"The folder {folder} cannot be used: {error}.", ELSEWHERE) from error


def full_disk(folder: Path, needed: int = 0) -> StoreError:
    """The error of a disk with too little space.

    Args:
        folder: on the disk in question.
        needed: bytes that are to be written, 0 where unknown.
    """
    free = shutil.disk_usage(_existing(folder)).free
    need = f" but {megabytes(needed)} are needed" if needed else ""
    return StoreError(
        f"The disk of {folder} is full: {megabytes(free)} are free{need}.",
        f"Free some space. {ELSEWHERE}",
    )


def require_space(folder: Path, needed: int) -> None:
    """Refuse to start writing what cannot fit.

    Raises:
        StoreError: fewer than `needed` bytes are free.
    """
    if shutil.disk_usage(_existing(folder)).free < needed:
        raise full_disk(folder, needed)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that, whenever the process dies, the old one or the new one is there.

    The bytes reach the disk before the name does: without the fsync some file systems keep the new
    name with no content after a power cut.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        move_whole(Path(name), path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def move_whole(source: Path, target: Path) -> None:
    """Rename within one file system, atomically, and make the rename last."""
    source.replace(target)
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def sync(path: Path) -> None:
    """Bring a file that another process wrote to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sweep_temporary(folder: Path) -> None:
    """Remove what killed writers left in a folder; call it under the folder's lock only."""
    for path in folder.glob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Generator[None]:
    """Hold a lock against other threads and processes.

    It is the operating system's and ends with its process, also after kill -9; a file made with
    O_EXCL would need a rule for when it is stale. Only double work hangs on it: every write here is
    whole by itself.

    Args:
        path: of the lock file; its folder is made where missing.
        waiting: called several times a second while another holds it; may raise to give up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=LOCK_SECONDS)
            break
        except Timeout:
            waiting()
    try:
        yield
    finally:
        lock.release()


def _existing(folder: Path) -> Path:
    return next(p for p in (folder, *folder.parents) if p.exists())
