"""How diskcache keeps its keys and values here: text keys, JSON values, never a pickle.

diskcache's own `Disk` pickles what SQLite cannot hold and unpickles what a row says is pickled. A
row can be planted by anybody who can write the folder, so this one knows no pickles and no files.
"""

from __future__ import annotations

import json
from typing import Any

import diskcache
from diskcache.core import MODE_RAW, UNKNOWN

from rosetta_ui.errors import StoreError


class JsonDisk(diskcache.Disk):
    """Keeps text keys and JSON values inside the database."""

    def put(self, key: Any) -> Any:
        """A key as it stands in the database, and that it stands there as it is.

        Raises:
            TypeError: it is not text.
        """
        if not isinstance(key, str):
            raise TypeError(f"a key must be text, not {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: Any) -> str:
        """A key of the database as it was given.

        Raises:
            StoreError: the row was not written by this class.
        """
        if not raw or not isinstance(key, str):
            raise _foreign("a key")
        return key

    def store(self, value: Any, read: bool, key: Any = UNKNOWN) -> Any:
        """A value as it stands in the database: (size, mode, file, JSON text).

        Raises:
            TypeError: it is a file or not made of JSON values.
        """
        if read:
            raise TypeError("files are kept beside the index, not in it")
        return 0, MODE_RAW, None, json.dumps(value, ensure_ascii=False, allow_nan=False)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        """A value of the database as it was given.

        Raises:
            StoreError: the row was not written by this class.
        """
        if mode != MODE_RAW or filename is not None or not isinstance(value, str):
            raise _foreign("a value")
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise _foreign("a value") from error

    def remove(self, file_path: str) -> None:
        """Remove nothing: no row of this class has a file, and a planted one may name any."""


def _foreign(what: str) -> StoreError:
    return StoreError(
        f"The cache's index holds {what} that was not written by this program.",
        "Remove the folder 'index' in the cache; saved results stay.",
    )
