"""Results that came as one file from another installation: a dictionary, or a bundle with maps.

A dictionary (JSON) becomes a result that keeps the neurons as they are listed, and no tables,
pictures or maps. A bundle is a zip of a packed result folder beside the dictionary: it becomes a
whole result. Files may come from anybody: nothing in them is run, names never become paths, and
sizes are limited before anything is unpacked.
"""

from __future__ import annotations

import io
import json
import stat
import threading
import weakref
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rosetta_ui.errors import StoreError
from rosetta_ui.store.dictionary import MOST_BYTES, Dictionary, dictionary_json, read_dictionary
from rosetta_ui.store.exchange import Packing, pack_dictionary
from rosetta_ui.store.files import said_plainly
from rosetta_ui.store.folder import RECORD, ResultFolder
from rosetta_ui.store.writer import ResultWriter, is_result_file
from rosetta_ui.types import RosettaNeuron

DICTIONARY = "dictionary.json"
FOLDER = "result/"
"""Where a bundle keeps the files of its result."""

MOST_FILES = 512
MOST_UNPACKED = 512 << 20
_PIECE = 1 << 20

IMPORTED = (
    "Imported from a dictionary, which lists neurons and scores: it keeps no tables, pictures or "
    "maps."
)


def is_zip(data: bytes) -> bool:
    """Whether a file is a bundle; else it should be a dictionary."""
    return data[:2] == b"PK"


def parse_dictionary(data: bytes) -> Dictionary:
    """Read a dictionary file.

    Raises:
        StoreError: it is too large, no JSON, or no dictionary.
    """
    if len(data) > MOST_BYTES:
        raise StoreError(
            f"The dictionary has {len(data):,} bytes; at most {MOST_BYTES:,} are read."
        )
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise StoreError(
            "This file is no dictionary: it is not JSON.",
            "Choose a .json or .zip file that the Gallery exported.",
        ) from error
    return read_dictionary(value)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def write_dictionary(dictionary: Dictionary, folder: Path) -> ResultFolder:
    """Make a result folder of a dictionary.

    Raises:
        StoreError: the folder cannot be written.
    """
    record = dictionary.record
    writer = ResultWriter(
        folder, record.request, record.models, title=record.title, created=record.created
    )
    for table in record.tables:
        for score, kept in table.kept.items():
            writer.note_neighbours(table.rows, table.cols, score, kept)
    text = json.dumps(dictionary_json(dictionary), allow_nan=False)
    writer.add_bytes(DICTIONARY, text.encode())
    return writer.finish(replace(record.run, notes=(IMPORTED,)))


_known: weakref.WeakKeyDictionary[ResultFolder, Dictionary] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def imported(folder: ResultFolder) -> Dictionary | None:
    """The dictionary that a result was imported from; None for one that keeps its tables.

    Raises:
        StoreError: its file is damaged.
    """
    if DICTIONARY not in folder.record.files:
        return None
    with _lock:
        if folder not in _known:
            _known[folder] = parse_dictionary(folder.content(DICTIONARY))
        return _known[folder]


# Bundles


def make_bundle(
    folder: ResultFolder, neurons: Sequence[RosettaNeuron], dictionary: Dictionary, work: Path
) -> bytes:
    """Pack a result with its pictures and maps, for another installation.

    Args:
        folder: a result that keeps maps.
        neurons: whose maps go along.
        dictionary: of these neurons, with a person's names.
        work: an empty or new folder to pack in; the caller removes it.

    Raises:
        StoreError: the result keeps no maps, or the disk is full.
    """
    images = folder.record.previews
    packed = pack_dictionary(folder, work, neurons, Packing(images=images, snapshots=True))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as bundle:
        text = json.dumps(dictionary_json(dictionary), allow_nan=False, indent=1)
        bundle.writestr(_entry(DICTIONARY), text)
        for name in (RECORD, *packed.record.files):
            with said_plainly(work / name, "read"):
                bundle.writestr(_entry(FOLDER + name), (work / name).read_bytes())
    return out.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    # A fixed time: the same result makes the same bundle.
    return zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))


def read_bundle(data: bytes, folder: Path) -> tuple[ResultFolder, Dictionary]:
    """Unpack a bundle into an empty folder.

    Returns:
        The result, every file of it compared with its digest, and the dictionary beside it.

    Raises:
        StoreError: it is no bundle, too large, or not what it says.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            entries = _checked_entries(bundle)
            dictionary = parse_dictionary(_unpacked(bundle, entries.pop(DICTIONARY)))
            for name, entry in entries.items():
                with said_plainly(folder / name, "write"):
                    (folder / name).write_bytes(_unpacked(bundle, entry))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise StoreError(f"This bundle cannot be unpacked: {error}.", "Export it again.") from error
    result = ResultFolder.open(folder)
    surplus = set(entries) - {RECORD, *result.record.files}
    if surplus:
        raise StoreError(f"The bundle has a file that is not its result's: '{min(surplus)}'.")
    result.verify()
    return result, dictionary


def _checked_entries(bundle: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Name inside the result → entry; `dictionary.json` beside them. Nothing is unpacked yet."""
    found = bundle.infolist()
    if len(found) > MOST_FILES or sum(entry.file_size for entry in found) > MOST_UNPACKED:
        raise StoreError(
            f"The bundle is too large: at most {MOST_FILES} files and {MOST_UNPACKED:,} bytes."
        )
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in found:
        name = entry.filename.removeprefix(FOLDER)
        beside = entry.filename == DICTIONARY
        plain = stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG)
        inside = entry.filename.startswith(FOLDER) and name != DICTIONARY and is_result_file(name)
        if not plain or not (beside or inside) or name in entries:
            raise StoreError(f"The bundle has a file that does not belong there: '{name[:80]}'.")
        entries[name] = entry
    if not {DICTIONARY, RECORD} <= set(entries):
        raise StoreError(
            "This zip is no bundle of a result.", "Choose one that the Gallery exported."
        )
    return entries


def _unpacked(bundle: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """An entry's bytes; what it says of its size is not believed."""
    pieces: list[bytes] = []
    left = entry.file_size
    with bundle.open(entry) as file:
        while piece := file.read(_PIECE):
            left -= len(piece)
            if left < 0:
                raise StoreError(f"'{entry.filename[:80]}' is larger than the bundle says.")
            pieces.append(piece)
    return b"".join(pieces)
