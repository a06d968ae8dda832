from __future__ import annotations

import pickle
import sqlite3
from pathlib import Path

import diskcache
import pytest
from diskcache.core import MODE_BINARY, MODE_PICKLE, MODE_TEXT

from rosetta_ui.errors import StoreError
from rosetta_ui.store.disk import JsonDisk


@pytest.fixture
def cache(tmp_path: Path):
    with diskcache.Cache(str(tmp_path / "index"), disk=JsonDisk) as opened:
        yield opened


class Trap:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path(self.path).touch, ())


@pytest.mark.parametrize("value", [None, True, 3, 2.5, "text", [1, [2]], {"a": {"b": None}}])
def test_json_values_come_back(cache: diskcache.Cache, value: object) -> None:
    cache["key"] = value
    assert cache["key"] == value
    assert list(cache) == ["key"]


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), Path("x")])
def test_what_is_no_json_is_refused(cache: diskcache.Cache, value: object) -> None:
    with pytest.raises(TypeError):
        cache["key"] = value
    with pytest.raises(ValueError, match="JSON"):
        cache["key"] = float("nan")
    assert "key" not in cache


@pytest.mark.parametrize("key", [1, b"key", ("a", "b"), None])
def test_keys_are_text_only(cache: diskcache.Cache, key: object) -> None:
    with pytest.raises(TypeError, match="must be text"):
        cache[key] = 1


def test_a_file_is_not_kept_in_the_index(cache: diskcache.Cache, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with (tmp_path / "file").open("rb") as file, pytest.raises(TypeError, match="beside the index"):
        cache.set("key", file, read=True)


def plant(folder: Path, **columns: object) -> None:
    """Write a row as another program would."""
    row = {"key": "key", "raw": 1, "store_time": 0, "mode": 1, "filename": None, "value": "1"}
    row |= columns
    with sqlite3.connect(folder / "index" / "cache.db") as database:
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        database.execute(f"INSERT INTO Cache ({names}) VALUES ({marks})", list(row.values()))
    database.close()


@pytest.mark.parametrize("mode", [MODE_PICKLE, 1, 0, 99])
def test_a_planted_pickle_is_refused_and_never_run(
    cache: diskcache.Cache, tmp_path: Path, mode: int
) -> None:
    plant(tmp_path, mode=mode, value=pickle.dumps(Trap(tmp_path / "ran")))
    with pytest.raises(StoreError, match="not written by this program"):
        cache["key"]
    assert not (tmp_path / "ran").exists()


def test_a_planted_pickled_key_is_refused_and_never_run(
    cache: diskcache.Cache, tmp_path: Path
) -> None:
    plant(tmp_path, key=pickle.dumps(Trap(tmp_path / "ran")), raw=0)
    with pytest.raises(StoreError, match="not written by this program"):
        list(cache)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("mode", [MODE_BINARY, MODE_TEXT, MODE_PICKLE])
def test_a_planted_file_name_is_neither_read_nor_removed(
    cache: diskcache.Cache, tmp_path: Path, mode: int
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mine")
    plant(tmp_path, mode=mode, filename=str(secret), value=None)
    with pytest.raises(StoreError, match="not written by this program"):
        cache["key"]
    del cache["key"]
    assert secret.read_text() == "mine"


def test_text_that_is_no_json_is_refused(cache: diskcache.Cache, tmp_path: Path) -> None:
    plant(tmp_path, value="[" * 100_000)
    with pytest.raises(StoreError, match="not written by this program"):
        cache["key"]
