"""The list of results: those that came with the project, then those in the store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from rosetta_ui.errors import BadRequestError, StoreError
from rosetta_ui.store.checked import Checked
from rosetta_ui.store.files import folder_bytes, read_json, said_plainly, write_json
from rosetta_ui.store.folder import RECORD, ResultFolder
from rosetta_ui.store.importing import imported
from rosetta_ui.store.store import Store
from rosetta_ui.types import ResultInfo

_log = logging.getLogger(__name__)

_TITLE = "title.json"
"""A title that a person gave, beside the result, so that it survives the loss of the index."""


class ResultShelf:
    """The list of results: those that came with the project, then those in the store.

    Ids are folder names.

    Args:
        store: where matches are kept.
        bundled: folders that hold bundled results, such as `assets/`.
        first: id of the bundled result that the list begins with; the others follow by id.
        paths: whether the path of any result folder is taken as an id as well.
    """

    def __init__(
        self,
        store: Store,
        bundled: Sequence[Path] = (),
        *,
        first: str = "",
        paths: bool = True,
    ) -> None:
        self._store = store
        self._paths = paths
        records = [r for folder in bundled for r in sorted(folder.glob(f"*/{RECORD}"))]
        records.sort(key=lambda record: record.parent.name != first)
        self._bundled = {record.parent.name: record.parent for record in records}
        self._open: dict[Path, tuple[int, ResultFolder]] = {}
        self._lock = threading.Lock()

    def list(self) -> list[ResultInfo]:
        """Every readable result: bundled first, then newest first; damaged ones are logged."""
        found = [self._info(key, path) for key, path in self._bundled.items()]
        own = [
            self._info(entry.key, self._store.root / "results" / entry.key)
            for entry in self._store.entries()
            if entry.form == "folder" and entry.kind == "result"
        ]
        newest = sorted((i for i in own if i is not None), key=lambda i: -i.created)
        return [info for info in found if info is not None] + newest

    def info(self, result: str) -> ResultInfo:
        """One line of the list.

        Raises:
            StoreError: there is no such result, or it is damaged.
        """
        return self._info_of(result, self.open(result))

    def open(self, result: str) -> ResultFolder:
        """Open a result by id or path; the same folder object while it does not change.

        Raises:
            StoreError: there is no such result, or it is damaged.
        """
        return self._opened(self.path(result))

    def path(self, result: str) -> Path:
        """The folder of a result; counts as a use.

        Raises:
            StoreError: there is no such result.
        """
        if result in self._bundled:
            return self._bundled[result]
        if self._paths and ("/" in result or "\\" in result or Path(result).is_absolute()):
            return Path(result)
        path = self._store.folder(result) if result else None
        if path is None:
            raise StoreError(f"There is no result '{result[:80]}'.", "Choose one from the list.")
        return path

    def keep(self, result: str, saved: bool) -> None:
        """Take a result out of the cache's budget, or put it back.

        Raises:
            BadRequestError: it lies outside the store.
            StoreError: there is no such result, or the folder cannot be written.
        """
        self._own(result, "is always kept")
        self._store.keep(result, saved)

    def rename(self, result: str, title: str) -> None:
        """Give a result another title, 1 to 120 characters.

        Raises:
            BadRequestError: the title is empty or too long, or the result lies outside the store.
            StoreError: there is no such result, or the folder cannot be written.
        """
        title = " ".join(title.split())
        if not title or len(title) > 120 or not title.isprintable():
            raise BadRequestError("A title needs 1 to 120 characters.", "Give another title.")
        path = self._own(result, "keeps its title")
        write_json(path / _TITLE, {"title": title})

    def delete(self, result: str) -> None:
        """Remove a result.

        Raises:
            BadRequestError: it is bundled or lies outside the store.
            StoreError: there is no such result, or the folder cannot be written.
        """
        path = self._own(result, "cannot be removed here")
        with self._lock:
            self._open.pop(path, None)
        self._store.drop(result)

    def _own(self, result: str, otherwise: str) -> Path:
        path = self.path(result)
        if result in self._bundled:
            raise BadRequestError(f"'{result}' came with the project and {otherwise}.")
        if path.parent != self._store.root / "results":
            raise BadRequestError(f"'{result}' lies outside the cache and {otherwise}.")
        return path

    def _opened(self, path: Path) -> ResultFolder:
        with said_plainly(path, "read"):
            stamp = (path / RECORD).stat().st_mtime_ns if (path / RECORD).exists() else 0
        with self._lock:
            if (known := self._open.get(path)) is not None and known[0] == stamp:
                return known[1]
        folder = ResultFolder.open(path)
        with self._lock:
            self._open[path] = (stamp, folder)
        return folder

    def _info(self, result: str, path: Path) -> ResultInfo | None:
        try:
            return self._info_of(result, self._opened(path))
        except StoreError as error:
            _log.warning("Result %s is left out of the list: %s", result, error.sentence)
            return None

    def _info_of(self, result: str, folder: ResultFolder) -> ResultInfo:
        bundled = result in self._bundled
        own = folder.path.parent == self._store.root / "results"
        entry = self._store.entry(result) if own else None
        given = imported(folder)
        return ResultInfo(
            result=result,
            title=_title(folder.path) or folder.record.title,
            request=folder.request,
            created=folder.record.created,
            saved=entry is not None and entry.saved,
            bundled=bundled,
            bytes=folder_bytes(folder.path),
            fixed=given.selection if given is not None else None,
        )


def _title(path: Path) -> str:
    if not (path / _TITLE).exists():
        return ""
    return Checked(read_json(path / _TITLE, limit=10_000), _TITLE).get("title").text(120)
