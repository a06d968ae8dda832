"""Pickles for the published notebooks, spelled out step by step: tensors and lists of tensors.

Nothing is pickled by Python here, so nothing but these few steps can get into a file: a tensor is
`torch._utils._rebuild_tensor_v2` over a storage that `torch.storage._load_from_bytes` reads from
what `torch.save` wrote before it used zip files. Any torch opens that; torch itself is not needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.store.files import SealedWriter, writing

# Steps of the pickle format, by the letters that the format gives them.
_PROTOCOL_2, _PROTOCOL_4 = b"\x80\x02", b"\x80\x04"  # the fourth has bytes above 4 GiB
_MARK, _TUPLE, _TUPLE1, _EMPTY_TUPLE = b"(", b"t", b"\x85", b")"
_EMPTY_LIST, _APPEND, _APPENDS = b"]", b"a", b"e"
_NONE, _FALSE, _CALL, _OUTSIDE, _STOP = b"N", b"\x89", b"R", b"Q", b"."
_BYTES8 = b"\x8e"

_TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
_STORAGE = b"ctorch.storage\n_load_from_bytes\n"
_NO_HOOKS = b"ccollections\nOrderedDict\n" + _EMPTY_TUPLE + _CALL
_CLASSES = {"float32": b"ctorch\nFloatStorage\n", "float64": b"ctorch\nDoubleStorage\n"}

_MAGIC = 0x1950A86A20F9469CFC6C  # how such a torch file begins
_VERSION = 1001
_BLOCK = 1 << 22


def write_tensor(
    path: Path, blocks: Iterable[NDArray[Any]], shape: tuple[int, ...], dtype: str = "float32"
) -> None:
    """Stream one tensor into a pickle.

    Args:
        path: replaced where it exists.
        blocks: consecutive blocks of rows, each [b, ...shape[1:]].
        shape: of the tensor.
        dtype: float32 or float64.

    Raises:
        ValueError: the blocks do not make up the shape.
        StoreError: the disk is full or read-only.
    """
    with writing(path) as out:
        out.write(_PROTOCOL_4)
        _tensor(out, blocks, shape, dtype)
        out.write(_STOP)


def write_pairs(path: Path, pairs: Sequence[Sequence[NDArray[Any]]]) -> None:
    """Write a list of lists of tensors; float64 stays, all else becomes float32.

    Lists, because the notebooks replace their entries when they move them to a device.

    Raises:
        StoreError: the disk is full or read-only.
    """
    with writing(path) as out:
        out.write(_PROTOCOL_4 + _EMPTY_LIST + _MARK)
        for arrays in pairs:
            out.write(_EMPTY_LIST + _MARK)
            for array in arrays:
                dtype = "float64" if array.dtype == np.float64 else "float32"
                _tensor(out, [array], array.shape, dtype)
            out.write(_APPENDS)
        out.write(_APPENDS + _STOP)


def _tensor(
    out: SealedWriter, blocks: Iterable[NDArray[Any]], shape: tuple[int, ...], dtype: str
) -> None:
    """Push a contiguous tensor that needs no gradient."""
    kind = np.dtype(dtype).newbyteorder("<")
    entries = int(np.prod(shape, dtype=np.int64))
    head = _storage_head(entries, dtype)
    out.write(_TENSOR + _MARK + _STORAGE)
    out.write(_BYTES8 + struct.pack("<Q", len(head) + entries * kind.itemsize) + head)
    written = 0
    for block in blocks:
        if block.shape[1:] != shape[1:]:
            raise ValueError(f"a block of {block.shape} does not fit a tensor of {shape}")
        rows = max(1, _BLOCK // max(1, block[:1].size))
        for first in range(0, len(block), rows):
            out.write(np.ascontiguousarray(block[first : first + rows], kind).tobytes())
        written += block.size
    if written != entries:
        raise ValueError(f"the blocks hold {written} of {entries} entries")
    steps = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        steps[axis] = steps[axis + 1] * shape[axis + 1]
    out.write(_TUPLE1 + _CALL + _integer(0) + _integers(shape) + _integers(steps))
    out.write(_FALSE + _NO_HOOKS + _TUPLE + _CALL)


def _storage_head(entries: int, dtype: str) -> bytes:
    """Everything before the numbers in a torch file that holds one storage."""
    system = b"}" + _MARK
    system += _text("protocol_version") + _integer(_VERSION)
    system += _text("little_endian") + b"\x88" + b"u"
    reference = _text("storage") + _CLASSES[dtype] + _text("0") + _text("cpu")
    reference += _integer(entries) + _NONE
    pickles = (
        _integer(_MAGIC),
        _integer(_VERSION),
        system,
        _MARK + reference + _TUPLE + _OUTSIDE,
        _EMPTY_LIST + _text("0") + _APPEND,
    )
    head = b"".join(_PROTOCOL_2 + steps + _STOP for steps in pickles)
    return head + struct.pack("<q", entries)


def _integers(values: Sequence[int]) -> bytes:
    return _MARK + b"".join(_integer(value) for value in values) + _TUPLE


def _integer(value: int) -> bytes:
    if value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def _text(value: str) -> bytes:
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content
