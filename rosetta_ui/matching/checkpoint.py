"""The state of an unfinished run on disk: one file, replaced in one step, checked when read.

The file is safetensors; its metadata carries the facts as JSON and a checksum. It is written in
pieces, so saving needs no second copy of the state in memory.
"""

from __future__ import annotations

import json
import logging
import struct
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rosetta_ui.store.files import said_plainly

log = logging.getLogger(__name__)

SCHEMA = 1
"""Raised whenever a state of an earlier version would give other numbers."""

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class Checkpoint:
    """Saves and loads one run's state.

    Args:
        path: of the file; its folder is made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds = 0.0  # that the last save took
        self._saved = time.monotonic()

    def due(self, every: int, images: int) -> bool:
        """Whether it is time to save.

        Args:
            every: images between saves; 0 goes by the clock instead, at least 20 s apart and so
                that saving takes at most a twentieth of the time, however large the state is.
            images: counted since the last save.
        """
        if every:
            return images >= every
        return time.monotonic() - self._saved >= max(20.0, 19 * self.seconds)

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the saved state.

        No fsync: a killed process loses nothing that it wrote, and after a power cut the checksum
        tells a torn file, which only means matching again from the start.

        Raises:
            StoreError: the disk is full or read-only; the earlier state is still there.
        """
        begun = time.monotonic()
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        with said_plainly(self.path, "write"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    _write(file, tensors, facts)
                temporary.replace(self.path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        self._saved = time.monotonic()
        self.seconds = self._saved - begun

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The saved tensors (on the CPU) and facts, or None where there is nothing to go on with.

        A damaged file, or one of another version, is logged and removed: the run starts again.
        """
        if not self.path.is_file():
            return None
        try:
            return _read(self.path)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            log.warning("the saved state %s cannot be used: %s; starting again", self.path, error)
            self.drop()
            return None

    def drop(self) -> None:
        """Remove the saved state, if there is one."""
        with said_plainly(self.path, "remove"):
            self.path.unlink(missing_ok=True)
            self.path.with_name(f".{self.path.name}.tmp").unlink(missing_ok=True)


def _write(file: IO[bytes], tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    header: dict[str, Any] = {
        "__metadata__": {"facts": json.dumps(dict(facts)), "schema": str(SCHEMA), "crc": "0" * 8}
    }
    offset = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format wants the data aligned
    file.write(struct.pack("<Q", len(text)) + text)
    crc = zlib.crc32(json.dumps(dict(facts)).encode())
    for name, tensor in tensors.items():
        crc += _sum(name, tensor, file)
    # The sum is known only now; its place in the header has a fixed width.
    at = text.index(b'"crc": "00000000"')
    file.seek(8 + at + len(b'"crc": "'))
    file.write(_hex(crc))


def _sum(name: str, tensor: Tensor, copy_to: IO[bytes] | None = None) -> int:
    """CRC-32 of one tensor with its name and shape; its bytes are also written where asked."""
    crc = zlib.crc32(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
    if not tensor.numel():
        return crc
    flat = tensor.detach().contiguous().cpu().view(-1).view(torch.uint8)
    data = flat.numpy().data
    if copy_to is not None:
        copy_to.write(data)
    return zlib.crc32(data, crc)


def _hex(crc: int) -> bytes:
    # A sum, so that the order in which a reader lists the tensors does not matter.
    return f"{crc % (1 << 32):08x}".encode()


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(str(path), framework="pt", device="cpu") as file:
        metadata = file.metadata() or {}
        if metadata.get("schema") != str(SCHEMA):
            raise ValueError(f"it is of version {metadata.get('schema')}, not {SCHEMA}")
        names: list[str] = list(file.keys())
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in names}
    crc = zlib.crc32(metadata["facts"].encode())
    crc += sum(_sum(name, tensor) for name, tensor in tensors.items())
    if _hex(crc).decode() != metadata["crc"]:
        raise ValueError("its checksum is wrong")
    return tensors, json.loads(metadata["facts"])
