"""What the names inside published checkpoints mean: plain arrays and settings, built by us.

Covers pickles of the StyleGAN2-ADA, StyleGAN3 and StyleGAN-XL releases (the last written with dill)
and everything that `torch.save` wrote, zipped or not. Every tensor is checked against the storage
that it claims to lie in. The source text of classes is kept as text and never compiled.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.models.pickles import (
    Budget,
    Inert,
    Name,
    Vocabulary,
    damaged,
    hashable,
    read_pickle,
    refuse_name,
    shown,
)

TORCH_MAGIC = 0x1950A86A20F9469CFC6C
TORCH_PROTOCOL = 1001

# Storage class or dtype name → (name of the torch dtype, bytes an entry).
DTYPES: dict[str, tuple[str, int]] = {
    "DoubleStorage": ("float64", 8),
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}

# Classes that stand in the discriminator of StyleGAN-XL files; met only as things to be skipped.
_INERT_ROOTS = ("torch.nn.", "timm.", "pg_modules.", "feature_networks.")
_SIMPLE_TYPES = ("set", "frozenset", "dict", "list", "tuple", "object", "type")
_CODE_TYPES = ("CodeType", "FunctionType", "CellType", "MethodType")
_MOST_ENTRIES = 1 << 40
_ENTRY_BYTES = 64  # what an entry of a copied mapping or set takes in memory


@dataclass
class Storage:
    """A flat run of numbers.

    Attributes:
        dtype: name of the torch dtype.
        itemsize: bytes an entry.
        entries: how many the file says there are.
        data: as they lie in the file; None until they are found there.
    """

    dtype: str
    itemsize: int
    entries: int
    data: memoryview | None = field(default=None, repr=False)

    def fill(self, data: memoryview) -> None:
        """Take the bytes that were found.

        Raises:
            WeightsCorruptError: there are fewer or more than the file says.
        """
        if len(data) != self.entries * self.itemsize:
            damaged(f"a storage of {self.entries:,} entries has {len(data):,} bytes")
        self.data = data


@dataclass(frozen=True)
class StoredTensor:
    """A tensor inside a storage; its extent has been checked."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass
class StoredArray:
    """A numpy array; filled when its state is read."""

    value: NDArray[Any] | None = None


@dataclass
class DType:
    """A numpy number type: kind, size and byte order."""

    text: str
    order: Literal["<", ">"] = "<"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The type itself."""
        return np.dtype(self.text).newbyteorder(self.order)


@dataclass(frozen=True)
class PersistentModule:
    """A module of an NVIDIA release: its class by name, its parts, its source as text.

    Attributes:
        class_name: as the file gives it.
        state: `_parameters`, `_buffers`, `_modules` and plain attributes.
        source: text of the class's module; never compiled.
    """

    class_name: str
    state: Mapping[str, Any]
    source: str = field(repr=False)


def vocabulary(
    budget: Budget, storage_of: Callable[[str, str, int], Storage] | None = None
) -> Vocabulary:
    """The meaning of names for one file.

    Args:
        budget: of the file.
        storage_of: for torch files, (key, storage class, entries) → the storage; None refuses
            references to the outside.
    """
    words = _Words(budget)
    calls: dict[str, Callable[[tuple[Any, ...]], Any]] = {
        "collections.OrderedDict": words.mapping,
        "dnnlib.util.EasyDict": words.mapping,
        "torch._utils._rebuild_tensor_v2": words.tensor,
        "torch._utils._rebuild_parameter": words.parameter,
        "torch.storage._load_from_bytes": words.storage_from_bytes,
        "torch.Size": words.size,
        "torch_utils.persistence._reconstruct_persistent_obj": words.persistent_module,
        "numpy.dtype": words.dtype,
        "_codecs.encode": words.encode,
        "builtins.set": words.set_,
        "__builtin__.set": words.set_,
        "copyreg._reconstructor": words.reconstructor,
        "copy_reg._reconstructor": words.reconstructor,
        "dill._dill._load_type": words.load_type,
        "dill._dill._import_module": words.import_module,
        "dill._dill._get_attr": words.get_attr,
    }
    for root in ("numpy.core", "numpy._core"):
        calls[f"{root}.multiarray.scalar"] = words.scalar
        calls[f"{root}.multiarray._reconstruct"] = words.array
        calls[f"{root}.numeric._frombuffer"] = words.from_buffer
    words.known = Vocabulary(
        calls,
        inert=_is_inert,
        marks=_is_mark,
        set_state=words.set_state,
        persistent=None if storage_of is None else _reference_reader(storage_of),
    )
    return words.known


def _is_inert(full: str) -> bool:
    made_of_code = ("_create_function", "_create_code", "_create_cell")
    return full.startswith(_INERT_ROOTS) or full in {f"dill._dill.{n}" for n in made_of_code}


def _is_mark(full: str) -> bool:
    if full.startswith("torch."):
        name = full.removeprefix("torch.")
        return name in DTYPES or name in {dtype for dtype, _ in DTYPES.values()}
    return full in ("numpy.ndarray", "builtins.object", "__builtin__.object")


def _reference_reader(storage_of: Callable[[str, str, int], Storage]) -> Callable[[Any], Storage]:
    def read(reference: Any) -> Storage:
        if not (isinstance(reference, tuple) and len(reference) >= 5 and reference[0] == "storage"):
            damaged("a reference is no storage")
        _, kind, key, _location, entries = reference[:5]
        if not isinstance(kind, Name) or not _is_mark(str(kind)) or kind.name not in DTYPES:
            damaged("a storage is of no known type")
        if not isinstance(key, str):
            damaged("a storage has no name")
        return storage_of(key, kind.name, _count(entries))

    return read


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MOST_ENTRIES:
        damaged("a size is no sensible number")
    return value


def _counts(value: Any) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or len(value) > 16:
        damaged("a shape is no list of numbers")
    return tuple(_count(item) for item in value)


class _Words:
    """The functions behind the names; each takes the arguments of a call in the file."""

    known: Vocabulary

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    @staticmethod
    def _need(arguments: tuple[Any, ...], least: int, what: str) -> None:
        if len(arguments) < least:
            damaged(f"{what} lacks an argument")

    def mapping(self, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        if not arguments:
            return {}
        pairs = arguments[0]
        if isinstance(pairs, (dict, list)):
            self._budget.spend(_ENTRY_BYTES * len(pairs))
        if isinstance(pairs, dict):
            return dict(pairs)
        if not isinstance(pairs, list) or not all(
            isinstance(p, (list, tuple)) and len(p) == 2 and isinstance(p[0], str) for p in pairs
        ):
            damaged("a mapping is made of no pairs")
        return {pair[0]: pair[1] for pair in pairs}

    def set_(self, arguments: tuple[Any, ...]) -> set[Any]:
        items: Any = arguments[0] if arguments else []
        if not isinstance(items, (list, tuple, set, frozenset)):
            damaged("a set is made of no list")
        self._budget.spend(_ENTRY_BYTES * len(items))
        return {hashable(item) for item in items}

    def size(self, arguments: tuple[Any, ...]) -> tuple[int, ...]:
        self._need(arguments, 1, "a size")
        return _counts(arguments[0])

    def encode(self, arguments: tuple[Any, ...]) -> bytes:
        self._need(arguments, 2, "an encoded text")
        text, encoding = arguments[:2]
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            refuse_name(f"_codecs.encode to {shown(encoding)}")
        self._budget.spend(len(text))
        try:
            return text.encode("latin1")
        except UnicodeEncodeError:
            damaged("an encoded text holds other characters")

    def reconstructor(self, arguments: tuple[Any, ...]) -> Inert:
        self._need(arguments, 1, "an object")
        kind = arguments[0]
        if not isinstance(kind, Name) or not _is_inert(str(kind)):
            refuse_name(f"copyreg._reconstructor({shown(kind)})")
        return Inert(str(kind))

    # NVIDIA's persistence

    def persistent_module(self, arguments: tuple[Any, ...]) -> PersistentModule:
        self._need(arguments, 1, "a module")
        meta = arguments[0]
        if not isinstance(meta, dict) or meta.get("type") != "class":
            damaged("a module has no description")
        state, name = meta.get("state"), meta.get("class_name")
        if not isinstance(state, dict) or not isinstance(name, str):
            damaged("a module has no state")
        source = meta.get("module_src")
        return PersistentModule(name, state, source if isinstance(source, str) else "")

    # Tensors

    def parameter(self, arguments: tuple[Any, ...]) -> StoredTensor:
        self._need(arguments, 1, "a parameter")
        if not isinstance(arguments[0], StoredTensor):
            damaged("a parameter holds no tensor")
        return arguments[0]

    def tensor(self, arguments: tuple[Any, ...]) -> StoredTensor:
        self._need(arguments, 4, "a tensor")
        storage = arguments[0]
        if not isinstance(storage, Storage):
            damaged("a tensor lies in no storage")
        offset, size, stride = _count(arguments[1]), _counts(arguments[2]), _counts(arguments[3])
        if len(size) != len(stride):
            damaged("a tensor's shape and strides differ in length")
        entries = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        # More entries than the storage holds would be one number seen many times over: a few bytes
        # could then ask for any amount of memory.
        if entries > storage.entries or (entries and last >= storage.entries):
            damaged(
                f"a tensor of {entries:,} entries reaches past its storage of {storage.entries:,}"
            )
        self._budget.spend(entries * storage.itemsize)
        return StoredTensor(storage, offset, size, stride)

    def storage_from_bytes(self, arguments: tuple[Any, ...]) -> Storage:
        self._need(arguments, 1, "a storage")
        if not isinstance(arguments[0], (bytes, bytearray)):
            damaged("a storage is not made of bytes")
        value = read_torch_stream(arguments[0], self._budget)
        if not isinstance(value, Storage):
            damaged("a storage holds something else")
        return value

    # numpy

    def dtype(self, arguments: tuple[Any, ...]) -> DType:
        self._need(arguments, 1, "a number type")
        text = arguments[0]
        if not (
            isinstance(text, str) and len(text) == 2 and text[0] in "biuf" and text[1] in "1248"
        ):
            refuse_name(f"numpy.dtype({shown(text)})")
        if text in ("b2", "b4", "b8", "f1"):
            damaged(f"there is no number type {text}")
        return DType(text)

    def scalar(self, arguments: tuple[Any, ...]) -> bool | int | float:
        self._need(arguments, 2, "a number")
        kind, data = arguments[:2]
        if not isinstance(kind, DType) or not isinstance(data, bytes):
            damaged("a number has no type")
        if len(data) != kind.numpy.itemsize:
            damaged("a number has the wrong length")
        return np.frombuffer(data, kind.numpy)[0].item()

    def array(self, _arguments: tuple[Any, ...]) -> StoredArray:
        return StoredArray()

    def from_buffer(self, arguments: tuple[Any, ...]) -> StoredArray:
        self._need(arguments, 4, "an array")
        data, kind, shape, order = arguments[:4]
        return StoredArray(self._numbers(data, kind, shape, order == "F"))

    def _numbers(self, data: Any, kind: Any, shape: Any, fortran: bool) -> NDArray[Any]:
        if not isinstance(kind, DType) or not isinstance(data, (bytes, bytearray)):
            damaged("an array has no type or no content")
        size = _counts(shape)
        if math.prod(size) * kind.numpy.itemsize != len(data):
            damaged("an array's shape and content differ")
        self._budget.spend(len(data))
        return np.frombuffer(bytes(data), kind.numpy).reshape(size, order="F" if fortran else "C")

    def set_state(self, value: Any, state: Any) -> Any:
        if isinstance(value, DType):
            if not (isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|")):
                damaged("a number type has no byte order")
            value.order = ">" if state[1] == ">" else "<"
        elif isinstance(value, StoredArray):
            if not isinstance(state, tuple) or len(state) != 5:
                damaged("an array has no content")
            value.value = self._numbers(state[4], state[2], state[1], bool(state[3]))
        elif not (isinstance(value, dict) and isinstance(state, dict)):
            # A mapping may have attributes (`_metadata` of a state dict); they hold no numbers.
            damaged(f"a value of type {type(value).__name__} is given a state")
        return value

    # dill: only StyleGAN-XL's files were written with it

    def load_type(self, arguments: tuple[Any, ...]) -> Any:
        self._need(arguments, 1, "a type")
        name = arguments[0]
        if name in _SIMPLE_TYPES:
            return Name("builtins", str(name))
        if name not in _CODE_TYPES:
            refuse_name(f"dill._load_type({shown(name)})")
        return Inert(str(name))

    def import_module(self, arguments: tuple[Any, ...]) -> Inert:
        self._need(arguments, 1, "a module")
        name = arguments[0]
        allowed = ("torch", "timm", "pg_modules", "feature_networks")
        if not isinstance(name, str) or name.partition(".")[0] not in allowed:
            refuse_name(f"import {shown(name)}")
        return Inert("module", (name,))

    def get_attr(self, arguments: tuple[Any, ...]) -> Any:
        self._need(arguments, 2, "an attribute")
        module, name = arguments[:2]
        if not (isinstance(module, Inert) and module.name == "module" and isinstance(name, str)):
            refuse_name(f"getattr(…, {shown(name)})")
        return self.known.look_up(str(module.arguments[0]), name)


def read_torch_stream(data: bytes | bytearray | memoryview, budget: Budget) -> Any:
    """Read what `torch.save` wrote before it used zip files: four pickles, then the storages.

    Raises:
        UnsafeFileError: it asks for code, or for more than its size explains.
        WeightsCorruptError: it is damaged.
    """
    content = bytes(data)
    plain = vocabulary(budget)
    magic, at = read_pickle(content, plain, budget)
    version, at = read_pickle(content, plain, budget, at)
    if magic != TORCH_MAGIC or version != TORCH_PROTOCOL:
        damaged("it does not begin like a torch file")
    _system, at = read_pickle(content, plain, budget, at)
    storages: dict[str, Storage] = {}
    value, at = read_pickle(content, vocabulary(budget, claims(storages)), budget, at)
    keys, at = read_pickle(content, plain, budget, at)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        damaged("its list of storages is none")
    if sorted(keys) != sorted(storages):
        damaged("its storages are not those that it refers to")
    for key in keys:
        storage = storages[key]
        length = storage.entries * storage.itemsize
        if at + 8 + length > len(content):
            damaged("a storage is cut short")
        if struct.unpack_from("<q", content, at)[0] != storage.entries:
            damaged("a storage has another length than it claims")
        storage.fill(memoryview(content)[at + 8 : at + 8 + length])
        at += 8 + length
    return value


def claims(storages: dict[str, Storage]) -> Callable[[str, str, int], Storage]:
    """Note every storage that a torch pickle refers to, to be filled afterwards."""

    def claim(key: str, kind: str, entries: int) -> Storage:
        dtype, itemsize = DTYPES[kind]
        storage = storages.setdefault(key, Storage(dtype, itemsize, entries))
        if (storage.dtype, storage.entries) != (dtype, entries):
            damaged("one storage is described twice, differently")
        return storage

    return claim
