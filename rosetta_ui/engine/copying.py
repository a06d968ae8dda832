"""Copying a result out of the store into a folder of a person's own."""

from __future__ import annotations

from pathlib import Path

from rosetta_ui.errors import StoreError
from rosetta_ui.settings import can_write
from rosetta_ui.store.files import flush_folder, said_plainly, writing
from rosetta_ui.store.folder import RECORD, ResultFolder
from rosetta_ui.store.writer import clear_for_result

_PIECE = 1 << 20


def check_folder(folder: Path) -> None:
    """Refuse a folder that a result cannot be copied to.

    Raises:
        StoreError: it holds other files, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"'{folder}' is a file, not a folder.", "Choose another --out.")
    if folder.is_dir() and not (folder / RECORD).is_file() and any(folder.iterdir()):
        raise StoreError(
            f"'{folder}' holds other files and no result.", "Choose an empty or new folder."
        )
    if not can_write(folder):
        raise StoreError(f"'{folder}' cannot be written.", "Choose another --out.")


def copy_result(result: ResultFolder, folder: Path) -> None:
    """Copy a result, its record last, so that a copy that was cut short is never read.

    Raises:
        StoreError: the folder holds other files, cannot be written, or the disk is full.
    """
    if folder.resolve() == result.path.resolve():
        return
    clear_for_result(folder)
    for name in (*result.record.files, RECORD):
        path = result.path / name
        with said_plainly(path, "read"), path.open("rb") as source, writing(folder / name) as out:
            while piece := source.read(_PIECE):
                out.write(piece)
    flush_folder(folder)
