"""Dictionaries and bundles between installations: what is exported, and what is imported.

Joins what the engine knows about a result with the formats of the store. Needs no torch.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from rosetta_ui.engine.answers import Answers
from rosetta_ui.engine.grouping import Grouping
from rosetta_ui.errors import StoreError
from rosetta_ui.store.dictionary import Dictionary
from rosetta_ui.store.files import said_plainly
from rosetta_ui.store.importing import (
    IMPORTED,
    is_zip,
    make_bundle,
    parse_dictionary,
    read_bundle,
    write_dictionary,
)
from rosetta_ui.store.keys import digest
from rosetta_ui.store.shelf import ResultShelf
from rosetta_ui.store.store import Store
from rosetta_ui.types import Imported, PersonNames, Selection

MOST_BYTES = 64 << 20
"""Larger files are refused; the bundle of the 5,504 units of the faces has 4 MB."""


class Carrying:
    """Takes results out and in.

    Args:
        store: keeps what comes in.
        shelf: opens results.
        answers: knows neurons.
        grouping: knows concepts.
    """

    def __init__(
        self, store: Store, shelf: ResultShelf, answers: Answers, grouping: Grouping
    ) -> None:
        self._store, self._shelf = store, shelf
        self._answers, self._grouping = answers, grouping

    def dictionary(self, result: str, selection: Selection, names: PersonNames) -> Dictionary:
        """The neurons of a result with everything that a dictionary file says of them."""
        folder = self._shelf.open(result)
        found = self._answers.neurons(result, selection)
        concepts = self._grouping.concepts(result, selection, names.grouping)
        numbers = {unit: concept.number for concept in concepts for unit in concept.members}
        return Dictionary(
            record=replace(folder.record, title=self._shelf.info(result).title),
            selection=selection,
            neurons=tuple(replace(n, concept=numbers.get(n.anchor, -1)) for n in found),
            concepts=tuple(concepts),
            summary=self._answers.summary(result, selection),
            classes=self._grouping.classes(result, selection, names.grouping),
            favourites=names.neurons,
            concept_names=names.concepts,
        )

    def bundle(self, result: str, selection: Selection, names: PersonNames) -> bytes:
        """A result with its pictures and maps as a zip.

        Raises:
            StoreError: the result keeps no maps, or the disk is full.
        """
        folder = self._shelf.open(result)
        if folder.views() is None:
            raise StoreError(
                "This result keeps no maps to put into a bundle.", "Export it as JSON instead."
            )
        dictionary = self.dictionary(result, selection, names)
        work = Path(tempfile.mkdtemp(prefix="rosetta-bundle-"))
        try:
            return make_bundle(folder, dictionary.neurons, dictionary, work)
        finally:
            shutil.rmtree(work)

    def take(self, data: bytes) -> Imported:
        """See `Engine.import_file`."""
        return take(self._store, data)


def take(store: Store, data: bytes) -> Imported:
    """Make a result of a dictionary or a bundle.

    Raises:
        StoreError: it is neither, too large, damaged, or the disk is full.
    """
    if len(data) > MOST_BYTES:
        raise StoreError(
            f"The file has {len(data):,} bytes; at most {MOST_BYTES:,} are taken.",
            "Copy the result's folder instead, and give its path.",
        )
    key = digest("import", {"sha256": hashlib.sha256(data).hexdigest()})
    whole = is_zip(data)
    folder = store.new_folder()
    try:
        if whole:
            _, dictionary = read_bundle(data, folder)
        else:
            dictionary = parse_dictionary(data)
            write_dictionary(dictionary, folder)
        store.commit_folder(key, folder)
    finally:
        if folder.exists():  # it was refused, or is there already
            with said_plainly(folder, "remove"):
                shutil.rmtree(folder)
    names = PersonNames(dictionary.favourites, dictionary.concept_names)
    return Imported(key, dictionary.selection, names, "" if whole else IMPORTED)
