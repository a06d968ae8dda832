"""Files written in one step and read with suspicion: arrays, JSON and text, never a pickle.

A file is there whole or not at all: written beside its place, flushed to the disk, then renamed.
Every failure of the disk becomes a StoreError with one sentence.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as safetensors_bytes

from rosetta_ui.errors import StoreError

PARTIAL = ".partial-"
"""Start of the name of a file that is still being written."""

Seal = tuple[int, str]
"""Bytes and SHA-256 of a file."""

_KINDS = "biuf"  # booleans, integers, floats: no objects, no text, no records


class SealedWriter:
    """A binary file that counts and digests what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._bytes = 0

    def write(self, data: bytes | memoryview) -> int:
        """Append bytes."""
        self._file.write(data)
        self._digest.update(data)
        self._bytes += len(data)
        return len(data)

    @property
    def seal(self) -> Seal:
        """Bytes and SHA-256 so far."""
        return self._bytes, self._digest.hexdigest()


@contextmanager
def said_plainly(path: Path, doing: str) -> Generator[None]:
    """Turn an OSError about a path into a StoreError with one sentence.

    Args:
        path: what is read or written.
        doing: "write", "read" or "remove".
    """
    try:
        yield
    except OSError as error:
        raise StoreError(*_reason(error, path, doing)) from error


def _reason(error: OSError, path: Path, doing: str) -> tuple[str, str]:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk is full: '{path}' could not be written.",
            "Free some space or choose another folder with --cache-dir; nothing else was changed.",
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return (
            f"No permission to {doing} '{path}'.",
            "Choose a folder of your own with --cache-dir, or change its permissions.",
        )
    if error.errno == errno.ENOENT and doing == "read":
        return f"'{path}' is missing.", "Run the match again, or restore the file."
    return f"'{path}' could not be {_PAST[doing]}: {error.strerror or error}.", "Check the disk."


_PAST = {"write": "written", "read": "read", "remove": "removed"}


@contextmanager
def writing(path: Path) -> Generator[SealedWriter]:
    """Write a file in one step: it appears under its name only when the `with` ends well.

    Raises:
        StoreError: the disk is full, read-only or broken; nothing is left behind.
    """
    temporary = path.with_name(f"{PARTIAL}{secrets.token_hex(8)}-{path.name}"[:200])
    with said_plainly(path, "write"):
        try:
            with temporary.open("xb") as file:
                yield SealedWriter(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def flush_folder(folder: Path) -> None:
    """Make renames inside a folder survive a power cut, where the system can."""
    if os.name == "nt":  # Windows has no handle of a folder to flush
        return
    with said_plainly(folder, "write"):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_bytes(path: Path, data: bytes) -> Seal:
    """Write bytes in one step."""
    with writing(path) as out:
        out.write(data)
    return out.seal


def write_json(path: Path, value: Any) -> Seal:
    """Write plain JSON values in one step.

    Raises:
        ValueError: a number is not finite; JSON has no such number, write None instead.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1)
    return write_bytes(path, text.encode("utf-8"))


def write_npy(
    path: Path, blocks: Iterable[NDArray[Any]], shape: tuple[int, ...], dtype: str
) -> Seal:
    """Stream consecutive blocks of rows into one .npy file.

    Args:
        path: where.
        blocks: each [b, ...shape[1:]], converted to dtype.
        shape: of the whole array.
        dtype: such as "float32".

    Raises:
        ValueError: the blocks do not make up the shape.
        StoreError: the disk is full, read-only or broken.
    """
    kind = np.dtype(dtype)
    header = {"descr": npy.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    rows = 0
    with writing(path) as out:
        npy.write_array_header_1_0(out, header)  # pyright: ignore[reportArgumentType]
        for block in blocks:
            if block.shape[1:] != shape[1:]:
                raise ValueError(f"a block of {block.shape} does not fit an array of {shape}")
            rows += len(block)
            out.write(np.ascontiguousarray(block, kind).tobytes())
        if rows != shape[0]:
            raise ValueError(f"the blocks hold {rows} rows of {shape[0]}")
    return out.seal


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Seal:
    """Write named arrays as one safetensors file in one step."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return write_bytes(path, safetensors_bytes(whole))


def read_json(path: Path, limit: int = 16 << 20) -> Any:
    """Read a JSON file of at most `limit` bytes.

    Raises:
        StoreError: it is missing, too large, or not JSON.
    """
    with said_plainly(path, "read"):
        size = path.stat().st_size
        if size > limit:
            raise StoreError(f"'{path}' is {size:,} bytes; at most {limit:,} were expected.")
        data = path.read_bytes()
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f"'{path}' is not valid JSON.", "Restore the file or make the result again."
        ) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def map_npy(path: Path, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Memory-map a .npy file of numbers, read-only; its header and size are checked.

    Raises:
        StoreError: it is missing, cut short, not of numbers, or of another shape.
    """
    with said_plainly(path, "read"):
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise _damaged(path) from error
    if not isinstance(array, np.memmap) or array.dtype.kind not in _KINDS:
        raise _damaged(path)
    if shape is not None and array.shape != shape:
        raise StoreError(f"'{path}' holds {array.shape}, but {shape} was expected.", _AGAIN)
    return array


def read_arrays(path: Path, prefix: str = "") -> dict[str, NDArray[Any]]:
    """Read the arrays of a safetensors file whose names start with a prefix.

    Raises:
        StoreError: it is missing or damaged.
    """
    with _opened(path) as file:
        names: list[str] = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
        return {name: file.get_tensor(name) for name in names}


@contextmanager
def _opened(path: Path) -> Generator[Any]:
    # TypeError and KeyError: a kind of number that numpy lacks, such as bfloat16.
    with said_plainly(path, "read"):
        try:
            with safe_open(str(path), framework="numpy") as file:
                yield file
        except (SafetensorError, ValueError, TypeError, KeyError) as error:
            raise _damaged(path) from error


def _damaged(path: Path) -> StoreError:
    return StoreError(f"'{path}' is damaged.", _AGAIN)


_AGAIN = "Make the result again, or restore the file."


def seal_of(path: Path) -> Seal:
    """Bytes and SHA-256 of a file, read in pieces of 1 MiB.

    Raises:
        StoreError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with said_plainly(path, "read"), path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder; one that vanishes meanwhile counts as nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total
