from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from rosetta_ui.errors import StoreError
from rosetta_ui.store.store import Store

MIB = 1 << 20


def arrays(fill: float, size: int = 1000) -> dict[str, np.ndarray]:
    return {"maps": np.full(size, fill, np.float32), "ranges": np.arange(4.0).reshape(2, 2)}


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "store", 100 * MIB) as opened:
        yield opened


def same(found: dict[str, np.ndarray] | None, given: dict[str, np.ndarray]) -> bool:
    return (
        found is not None
        and set(found) == set(given)
        and all(
            np.array_equal(found[n], given[n]) and found[n].dtype == given[n].dtype for n in given
        )
    )


def test_arrays_come_back_as_they_were(store: Store) -> None:
    given = {
        "f": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32),
        "i": np.arange(5, dtype=np.int64),
        "u": np.zeros((2, 3, 4), np.uint8),
        "b": np.array([True, False]),
        "h": np.ones(3, np.float16),
        "turned": np.arange(6.0).reshape(2, 3).T,
        "none": np.zeros((0, 4), np.float32),
    }
    store.put("key", given, "test")
    assert same(store.get("key"), given)
    assert store.get("other") is None


def test_a_lone_array_is_mapped_and_not_read(store: Store) -> None:
    given = {"": np.random.default_rng(0).normal(size=(30, 40))}
    store.put("key", given, "test")
    found = store.get("key")
    assert found is not None
    assert isinstance(found[""], np.memmap)
    assert np.array_equal(found[""], given[""])
    with pytest.raises(ValueError, match="read-only"):
        found[""][0, 0] = 1


def test_the_store_opened_again_has_everything(tmp_path: Path) -> None:
    with Store(tmp_path, 100 * MIB) as store:
        store.put("key", arrays(1), "test")
    with Store(tmp_path, 100 * MIB) as store:
        assert same(store.get("key"), arrays(1))
        assert [(e.key, e.kind) for e in store.entries()] == [("key", "test")]


def test_an_entry_that_is_there_stays(store: Store) -> None:
    store.put("key", arrays(1), "test")
    store.put("key", arrays(2), "test")
    assert same(store.get("key"), arrays(1))


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    size = 100_000
    one = arrays(0, size)["maps"].nbytes
    with Store(tmp_path, int(3.5 * one)) as store:
        for key in "abc":
            store.put(key, arrays(1, size), "test")
        store.get("a")
        store.put("d", arrays(1, size), "test")
        assert [entry.key for entry in store.entries()] == ["c", "a", "d"]
        assert store.get("b") is None
        assert len(list((tmp_path / "entries").iterdir())) == 3
        assert sum(entry.bytes for entry in store.entries()) <= store.budget_bytes


def test_what_a_person_saved_is_never_dropped(tmp_path: Path) -> None:
    size = 100_000
    one = arrays(0, size)["maps"].nbytes
    with Store(tmp_path, 2 * one) as store:
        store.put("mine", arrays(7, size), "test")
        store.keep("mine", True)
        for at in range(6):
            store.put(f"key{at}", arrays(1, size), "test")
        assert same(store.get("mine"), arrays(7, size))
        store.prune(0)
        assert [entry.key for entry in store.entries()] == ["mine"]
        store.keep("mine", False)
        assert [entry.key for entry in store.prune(0)] == ["mine"]
        assert store.entries() == []


def test_the_newest_stays_even_above_the_budget(tmp_path: Path) -> None:
    with Store(tmp_path, 10) as store:
        store.put("small", arrays(1), "test")
        store.put("large", arrays(2, 100_000), "test")
        assert [entry.key for entry in store.entries()] == ["large"]


def folder_with(store: Store, text: str) -> Path:
    folder = store.new_folder()
    (folder / "file").write_text(text)
    return folder


def test_folders_are_kept_in_one_step(store: Store) -> None:
    made = folder_with(store, "one")
    final = store.commit_folder("key", made)
    assert not made.exists()
    assert store.folder("key") == final
    assert (final / "file").read_text() == "one"
    second = store.commit_folder("key", folder_with(store, "two"))
    assert (second / "file").read_text() == "one", "the first one stays"
    assert store.folder("other") is None
    assert store.get("key") is None
    store.drop("key")
    store.drop("key")
    assert store.folder("key") is None
    assert not final.exists()


def test_folders_count_and_saved_ones_outlive_a_lost_index(tmp_path: Path) -> None:
    with Store(tmp_path, 100 * MIB) as store:
        for key in ("mine", "other"):
            store.commit_folder(key, folder_with(store, "x" * 1000))
        store.keep("mine", True)
        assert [e.bytes for e in store.entries()] == [1000, 1000]
    for file in (tmp_path / "index").iterdir():
        file.unlink()
    with Store(tmp_path, 100 * MIB) as store:
        assert {(e.key, e.saved) for e in store.entries()} == {("mine", True), ("other", False)}
        store.prune(0)
        assert [e.key for e in store.entries()] == ["mine"]


def test_a_folder_removed_by_hand_is_forgotten(store: Store) -> None:
    final = store.commit_folder("key", folder_with(store, "one"))
    (final / "file").unlink()
    final.rmdir()
    assert store.folder("key") is None
    assert store.entries() == []


@pytest.mark.parametrize("form", ["safetensors", "npy"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-5],
        lambda data: data + b"x",
        lambda data: b"",
        lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
        lambda data: b"\xff" * len(data),
        None,
    ],
    ids=["short", "long", "empty", "flipped", "rubbish", "missing"],
)
def test_a_damaged_entry_is_dropped_logged_and_made_again(
    store: Store, form: str, damage, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"": np.arange(50.0)} if form == "npy" else arrays(1)
    store.put("key", given, "test")
    path = store.root / "entries" / f"key.{form}"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert store.get("key") is None
    assert "dropped and made again" in caplog.text
    assert store.entries() == []
    store.put("key", given, "test")
    assert same(store.get("key"), given)


def test_a_damaged_index_is_made_anew_and_results_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Store(tmp_path, 100 * MIB) as store:
        store.commit_folder("mine", folder_with(store, "one"))
        store.keep("mine", True)
        store.put("key", arrays(1), "test")
    for file in (tmp_path / "index").iterdir():
        file.write_bytes(b"rubbish" * 1000)
    with Store(tmp_path, 100 * MIB) as store:
        assert "made anew" in caplog.text
        assert [(e.key, e.saved) for e in store.entries()] == [("mine", True)]
        assert store.get("key") is None
        store.put("key", arrays(2), "test")
        assert same(store.get("key"), arrays(2))


@pytest.mark.parametrize("value", ["1", "[]", '{"kind": 3}', "{", '{"form": "../../x"}'])
def test_a_planted_index_value_is_dropped(store: Store, value: str) -> None:
    store.put("key", arrays(1), "test")
    with sqlite3.connect(store.root / "index" / "cache.db") as database:
        database.execute("UPDATE Cache SET value = ? WHERE key = 'key'", (value,))
    database.close()
    assert store.get("key") is None
    assert store.entries() == []


@pytest.mark.parametrize("key", ["", "../x", "a/b", ".hidden", "A", "x" * 101, "a b", "ключ"])
def test_keys_cannot_lead_out_of_the_store(store: Store, key: str) -> None:
    for ask in (
        lambda: store.get(key),
        lambda: store.put(key, arrays(1), "test"),
        lambda: store.folder(key),
        lambda: store.commit_folder(key, store.new_folder()),
    ):
        with pytest.raises(StoreError, match="no key of the cache"):
            ask()


def test_keeping_what_is_not_there_says_so(store: Store) -> None:
    with pytest.raises(StoreError, match="no entry 'nothing'"):
        store.keep("nothing", True)


def test_old_files_that_the_index_does_not_know_go(tmp_path: Path) -> None:
    Store(tmp_path, MIB).close()
    fresh, old = tmp_path / "entries" / "fresh.npy", tmp_path / "entries" / "old.npy"
    fresh.write_bytes(b"x")
    old.write_bytes(b"x")
    os.utime(old, (time.time() - 7200,) * 2)
    Store(tmp_path, MIB).close()
    assert fresh.exists(), "another process may be about to list it"
    assert not old.exists()


def test_threads_may_share_a_store(store: Store) -> None:
    wrong: list[str] = []

    def work(thread: int) -> None:
        for at in range(15):
            key = f"key{at % 5}"
            store.put(key, arrays(at % 5), "test")
            if not same(store.get(key), arrays(at % 5)):
                wrong.append(f"{thread}: {key}")

    threads = [threading.Thread(target=work, args=(t,)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(store.entries()) == 5


def test_closing_leaves_no_unfinished_files(tmp_path: Path) -> None:
    with Store(tmp_path, MIB) as store:
        store.new_folder()
        store.put("key", arrays(1), "test")
    assert list((tmp_path / "writing").iterdir()) == []
    store.close()


def test_a_forked_child_that_closes_leaves_its_parents_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, MIB)
    folder = store.new_folder()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    store.close()
    assert folder.is_dir()
