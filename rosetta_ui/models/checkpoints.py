"""Published and foreign checkpoint files, read as numbers and plain settings.

`read_content` recognises a file by its content, never by its name: safetensors, torch files (zipped
or not) and plain pickles. `read_generator` finds the generator inside. Nothing is imported, called,
compiled or allocated beyond what the file's size explains (`pickles`, `stand_ins`).
"""

from __future__ import annotations

import json
import mmap
import zipfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rosetta_ui.errors import BadRequestError, RosettaError, UnsafeFileError, WeightsCorruptError
from rosetta_ui.models.foreign import ForeignGenerator
from rosetta_ui.models.pickles import MOST_DEPTH, Budget, Inert, damaged, read_pickle, shown
from rosetta_ui.models.stand_ins import (
    PersistentModule,
    Storage,
    StoredArray,
    StoredTensor,
    claims,
    read_torch_stream,
    vocabulary,
)

MOST_BYTES = 16 << 30
_MOST_NODES = 1_000_000
_MOST_MODULES = 20_000
_NOT_PLAIN = object()


def read_content(path: Path) -> Any:
    """The value inside a file, with tensors on the CPU.

    Args:
        path: a safetensors file, a torch file of either format, or a pickle.

    Returns:
        dict, list, tuple, set, text, numbers, `Tensor`, `PersistentModule` or `Inert`. Arrays are
        tensors. Stored devices are ignored.

    Raises:
        UnsafeFileError: it asks for code, or for more than its size explains.
        WeightsCorruptError: it is damaged, truncated, or none of these formats.
        BadRequestError: there is no such file.
    """
    with _named(path):
        budget = Budget(path.stat().st_size)
        return _Tensors(budget).plain(_read(path, budget))


@contextmanager
def _named(path: Path) -> Generator[None]:
    """Check that there is a file, and put its name in front of what goes wrong with it."""
    if not path.is_file():
        raise BadRequestError(f"There is no file '{path}'.", "Give the path of a checkpoint.")
    size = path.stat().st_size
    if not 8 <= size <= MOST_BYTES:
        raise WeightsCorruptError(
            f"'{path.name}' has {size:,} bytes, which no checkpoint has.", "Download it again."
        )
    try:
        yield
    except RosettaError as error:
        raise type(error)(f"'{path.name}': {error.message}", error.hint) from error
    except RecursionError as error:
        raise UnsafeFileError(
            f"'{path.name}' is nested without end.", "Nothing was run."
        ) from error


def _read(path: Path, budget: Budget) -> Any:
    """The value with the reader's stand-ins for tensors."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        head = data[:10]
        if head[:4] == b"PK\x03\x04":
            return _read_zip(path, budget)
        if head[8:9] == b"{":
            return _read_safetensors(path)
        if head[:1] != b"\x80":
            damaged("it is neither a safetensors file, a torch file nor a pickle")
        content = bytes(data)
    # An old torch file begins with its magic number, a pickled integer of ten bytes.
    if content[:5] in (b"\x80\x02\x8a\nl", b"\x80\x03\x8a\nl", b"\x80\x04\x8a\nl"):
        return read_torch_stream(content, budget)
    value, end = read_pickle(content, vocabulary(budget), budget)
    if end != len(content):
        damaged("something follows its end")
    return value


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise WeightsCorruptError(
            f"The file is damaged: {str(error)[:80]}.", "Download it again."
        ) from error


def _read_zip(path: Path, budget: Budget) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_torch_zip(archive, budget)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError) as error:
        raise WeightsCorruptError(
            f"The file is damaged: {str(error)[:80]}.", "Download it again."
        ) from error


def _read_torch_zip(archive: zipfile.ZipFile, budget: Budget) -> Any:
    members = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        damaged("it is a zip file without the one data.pkl of a torch file")
    root = pickles[0].removesuffix("data.pkl")

    def content(name: str) -> bytes:
        info = members.get(name)
        if info is None:
            damaged(f"its part {name[:60]} is missing")
        # torch never compresses: a compressed part could unpack to any size.
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise UnsafeFileError(
                "The file holds compressed parts, which torch never writes.",
                "Nothing was unpacked.",
            )
        budget.spend(info.file_size)
        return archive.read(info)

    if f"{root}byteorder" in members and content(f"{root}byteorder") != b"little":
        damaged("its numbers are not little-endian")
    storages: dict[str, Storage] = {}
    value, _ = read_pickle(content(pickles[0]), vocabulary(budget, claims(storages)), budget)
    for key, storage in storages.items():
        storage.fill(memoryview(content(f"{root}data/{key}")))
    return value


class _Tensors:
    """Turns the reader's stand-ins into tensors, bottom up, each storage once."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._nodes = 0
        self._storages: dict[int, Tensor] = {}
        self._done: dict[int, tuple[Any, Any]] = {}

    def plain(self, value: Any, depth: int = 0) -> Any:
        """The value with tensors in place of stand-ins; shared parts stay shared."""
        if isinstance(value, (str, bytes, int, float)) or value is None:
            return value
        if id(value) in self._done:
            return self._done[id(value)][1]
        self._nodes += 1
        if depth > MOST_DEPTH or self._nodes > _MOST_NODES:
            raise UnsafeFileError("The file is nested without end.", "Nothing in it was run.")
        made = self._make(value, depth + 1)
        self._done[id(value)] = (value, made)
        return made

    def _make(self, value: Any, depth: int) -> Any:
        if isinstance(value, StoredTensor):
            return self._tensor(value)
        if isinstance(value, StoredArray):
            if value.value is None:
                damaged("an array has no content")
            native = value.value.astype(value.value.dtype.newbyteorder("="))
            return torch.from_numpy(native)
        if isinstance(value, Storage):
            return self._flat(value)
        if isinstance(value, dict):
            return {key: self.plain(item, depth) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self.plain(item, depth) for item in value)
        if isinstance(value, PersistentModule):
            return PersistentModule(value.class_name, self.plain(value.state, depth), value.source)
        if isinstance(value, Inert):
            return Inert(value.name, (), self.plain(value.state, depth))
        return value

    def _flat(self, storage: Storage) -> Tensor:
        if id(storage) not in self._storages:
            if storage.data is None:
                damaged("a storage is missing")
            dtype: torch.dtype = getattr(torch, storage.dtype)
            flat = torch.empty(storage.entries, dtype=dtype)
            if storage.entries:
                self._budget.spend(len(storage.data))
                raw = torch.frombuffer(bytearray(storage.data), dtype=torch.uint8)
                # A byte other than 0 and 1 in a bool would be undefined behaviour later on.
                flat = raw != 0 if dtype is torch.bool else raw.view(dtype)
            self._storages[id(storage)] = flat
        return self._storages[id(storage)]

    def _tensor(self, stored: StoredTensor) -> Tensor:
        flat = self._flat(stored.storage)
        return flat.as_strided(stored.size, stored.stride, stored.offset).clone()


def read_generator(path: Path, config: Path | None = None) -> ForeignGenerator:
    """The generator inside a published file: `G_ema` of a pickle, `g_ema` of a `.pt`, or the whole.

    Args:
        path: the checkpoint.
        config: BigGAN's `config.json`, where the checkpoint needs one.

    Raises:
        BadRequestError: the file holds no generator, or the config is no JSON object.
        UnsafeFileError: as `read_content`.
        WeightsCorruptError: as `read_content`.
    """
    attributes: dict[str, Mapping[str, Any]] = {}
    if config is not None:
        attributes[""] = read_config(config)
    with _named(path):
        budget = Budget(path.stat().st_size)
        content = _read(path, budget)
        if isinstance(content, dict) and (module := _as_module(content.get("G_ema"))):
            content = module  # the discriminator beside it is as large: leave it unread
        content = _Tensors(budget).plain(content)
    if isinstance(content, PersistentModule):
        state: dict[str, Tensor] = {}
        for prefix, module in _walk(content):
            state |= _own_tensors(module, prefix)
            attributes[prefix.removesuffix(".")] = _settings(module)
        return ForeignGenerator(state, attributes)
    if isinstance(content, dict) and isinstance(content.get("g_ema"), dict):
        content = content["g_ema"] | {k: v for k, v in content.items() if k == "latent_avg"}
    return ForeignGenerator(state_dict(content, path.name), attributes)


def _as_module(value: Any) -> PersistentModule | None:
    """A generator's module; Projected GAN's files name its class instead of carrying its source."""
    if isinstance(value, PersistentModule):
        return value
    if isinstance(value, Inert) and isinstance(value.state, dict) and "_modules" in value.state:
        return PersistentModule(value.name, value.state, "")
    return None


def state_dict(content: Any, name: str) -> dict[str, Tensor]:
    """Check that a value is a state dict: text → tensor, and nothing else.

    Raises:
        BadRequestError: it is something else; says what.
    """
    if not isinstance(content, dict) or not content:
        kind = type(content).__name__
        raise BadRequestError(f"'{name}' holds a {kind}, not a state dict.", "Give weights.")
    if others := [k for k, v in content.items() if not (isinstance(k, str) and torch.is_tensor(v))]:
        raise BadRequestError(
            f"'{name}' holds no plain state dict: its entry '{str(others[0])[:60]}' is no tensor.",
            "Save the state dict of the model alone.",
        )
    return content


def read_config(path: Path) -> dict[str, Any]:
    """BigGAN's `config.json`.

    Raises:
        BadRequestError: it is no JSON object.
    """
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadRequestError(f"'{path.name}' is no JSON file.", "Give config.json.") from error
    if not isinstance(config, dict):
        raise BadRequestError(f"'{path.name}' is no JSON object.", "Give config.json.")
    return config


def _walk(module: PersistentModule) -> list[tuple[str, PersistentModule]]:
    """Every module under its path with a trailing dot, "" for the generator itself."""
    found: list[tuple[str, PersistentModule]] = []
    waiting = [("", module)]
    while waiting:
        prefix, module = waiting.pop()
        found.append((prefix, module))
        # Shared parts can spell out a tree without end from a few bytes.
        if len(found) > _MOST_MODULES or prefix.count(".") > MOST_DEPTH:
            raise UnsafeFileError("The file's modules are nested without end.", "Nothing was run.")
        waiting += [(f"{prefix}{name}.", child) for name, child in _children(module)]
    return found


def _children(module: PersistentModule) -> Iterator[tuple[str, PersistentModule]]:
    children = module.state.get("_modules", {})
    if not isinstance(children, dict):
        damaged("a module's parts are no mapping")
    for name, child in children.items():
        if isinstance(child, PersistentModule):
            yield name, child
        elif child is not None:
            # StyleGAN-XL embeds classes with torch's own Embedding, which is kept inert.
            if not (isinstance(child, Inert) and isinstance(child.state, dict)):
                damaged(f"the part '{shown(name)}' is no module")
            yield name, PersistentModule(child.name, child.state, "")


def _own_tensors(module: PersistentModule, prefix: str) -> dict[str, Tensor]:
    skipped = module.state.get("_non_persistent_buffers_set") or ()
    found: dict[str, Tensor] = {}
    for group in ("_parameters", "_buffers"):
        entries = module.state.get(group, {})
        if not isinstance(entries, dict):
            damaged("a module's numbers are no mapping")
        for name, value in entries.items():
            if torch.is_tensor(value) and name not in skipped:
                found[f"{prefix}{name}"] = value
    return found


def _settings(module: PersistentModule) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for key, value in module.state.items():
        plain = _Plain().read(value)
        if plain is not _NOT_PLAIN:
            settings[key] = plain
    return settings


class _Plain:
    """Settings as JSON would hold them; `_NOT_PLAIN` for anything else, or for too much."""

    def __init__(self) -> None:
        # A few shared lists can spell out to any length; the longest real setting has some hundred.
        self._left = 10_000

    def read(self, value: Any, depth: int = 0) -> Any:
        self._left -= 1
        if self._left < 0 or depth > 4:
            return _NOT_PLAIN
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if torch.is_tensor(value):
            return value.tolist() if value.numel() <= 1024 else _NOT_PLAIN
        if isinstance(value, (list, tuple)):
            items = [self.read(item, depth + 1) for item in value[: max(0, self._left)]]
            return _NOT_PLAIN if any(item is _NOT_PLAIN for item in items) else items
        if isinstance(value, dict):
            pairs: dict[str, Any] = {}
            for key, item in islice(value.items(), max(0, self._left)):
                if isinstance(key, str) and (plain := self.read(item, depth + 1)) is not _NOT_PLAIN:
                    pairs[key] = plain
            return pairs
        return _NOT_PLAIN
