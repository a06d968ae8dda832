"""Files in the published formats, made small, and ways to poison them. Only tests write pickles."""

from __future__ import annotations

import pickle
import struct
import sys
from collections import OrderedDict
from typing import Any

import torch

CANARY = "canary-was-here"


class EasyDict(dict[str, Any]):
    """Stands in for dnnlib.util.EasyDict while a file is written."""


class Persistent:
    def __init__(self, state: dict[str, Any]) -> None:
        self.meta = {
            "type": "class",
            "version": 6,
            "module_src": f"import os\nos.system('touch {CANARY}')\nraise SystemExit\n",
            "class_name": "Generator",
            "state": state,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,)


def _reconstruct_persistent_obj(meta: dict[str, Any]) -> None:
    """Only its name goes into files."""


def module(parameters: dict[str, Any], modules: dict[str, Any], **settings: Any) -> Persistent:
    buffers = {"filter": torch.arange(4.0)}
    groups = {"_parameters": parameters, "_buffers": buffers, "_modules": modules}
    skipped = {"_non_persistent_buffers_set": set[str]()}
    return Persistent({k: OrderedDict(v) for k, v in groups.items()} | skipped | settings)


def called(module_name: str, name: str, *arguments: Any) -> bytes:
    """A pickle that calls a global when the standard reader opens it."""
    body = b"".join(pickle.dumps(a, protocol=2)[2:-1] for a in arguments)
    return b"\x80\x02c" + f"{module_name}\n{name}\n".encode() + b"(" + body + b"tR."


def named(module_name: str, name: str) -> bytes:
    """The same look-up by STACK_GLOBAL, called without arguments."""
    parts = b"".join(b"\x8c" + bytes([len(t)]) + t.encode() for t in (module_name, name))
    return b"\x80\x04" + parts + b"\x93)R."


def legacy(storage_kind: str, entries: int, held: bytes, claimed: int | None = None) -> bytes:
    """An old torch file of one storage, whose numbers may lie."""
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    text = [b"X" + struct.pack("<I", len(t)) + t for t in (b"storage", b"0", b"cuda:0")]
    kind = f"ctorch\n{storage_kind}\n".encode()
    number = b"\x8a\x08" + struct.pack("<q", entries)
    value = b"\x80\x02(" + text[0] + kind + text[1] + text[2] + number + b"NtQ."
    count = struct.pack("<q", entries if claimed is None else claimed)
    return head + value + pickle.dumps(["0"], 2) + count + held


def tensor(storage: bytes, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """A pickled tensor in a storage."""
    put = pickle.dumps
    parts = [put(storage, 3)[2:-1], *(put(v, 2)[2:-1] for v in (offset, size, stride, False))]
    load = b"ctorch.storage\n_load_from_bytes\n" + parts[0] + b"\x85R"
    rest = b"".join(parts[1:])
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"\x80\x03ctorch._utils\n_rebuild_tensor_v2\n(" + load + rest + hooks + b"tR."
