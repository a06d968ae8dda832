"""Processes that the tests start, crowd and kill: `python store_processes.py ROOT TASK ...`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from rosetta_ui.errors import StoreError
from rosetta_ui.store.store import Store

ENTRY = 40_000


def content(key: int) -> dict[str, np.ndarray]:
    """What every process agrees to keep under a key."""
    return {"a": np.full(ENTRY, key, np.float32), "b": np.arange(key + 1)}


def agrees(found: dict[str, np.ndarray] | None, key: int) -> bool:
    """Whether an entry is whole, or not there."""
    return found is None or all(np.array_equal(found[n], v) for n, v in content(key).items())


def write_many(root: Path, seed: int, rounds: int) -> None:
    """Write, read, list, drop and evict what three others write, read, list, drop and evict."""
    rng = np.random.default_rng(seed)
    with Store(root, 8 * ENTRY * 4) as store:
        for _ in range(rounds):
            key = int(rng.integers(16))
            name = f"key{key}"
            store.put(name, content(key), "test")
            if not agrees(store.get(name), key):
                raise SystemExit(f"{name} is not whole")
            if rng.random() < 0.2:
                store.drop(f"key{int(rng.integers(16))}")
            if rng.random() < 0.3:
                folder = store.new_folder()
                (folder / "file").write_text(name)
                final = store.commit_folder(f"folder{key}", folder)
                read = final / "file"
                if read.exists() and read.read_text() != name:
                    raise SystemExit(f"{final} is not whole")


def write_forever(root: Path) -> None:
    """Write large entries and folders until killed; says when the first is done."""
    store = Store(root, 1 << 30)
    for at in range(1_000_000):
        key = at % 8
        store.drop(f"key{key}")
        store.put(f"key{key}", {"a": np.full(1_000_000, key, np.float32)}, "test")
        folder = store.new_folder()
        for part in range(3):
            (folder / f"file{part}").write_bytes(bytes([key]) * 100_000)
        store.drop(f"folder{key}")
        store.commit_folder(f"folder{key}", folder)
        if at == 0:
            sys.stdout.write("ready\n")
            sys.stdout.flush()


def open_read_only(root: Path) -> None:
    """Open a store where nothing may be written; prints the sentence."""
    if os.geteuid() == 0:  # root may write anywhere, so step down to nobody
        os.setgid(65_534)
        os.setuid(65_534)
    try:
        Store(root, 1 << 30)
    except StoreError as error:
        sys.stdout.write(error.sentence)
        return
    raise SystemExit("it could be written")


def main(arguments: list[str]) -> None:
    """Do one task."""
    root, task = Path(arguments[0]), arguments[1]
    if task == "many":
        write_many(root, int(arguments[2]), int(arguments[3]))
    elif task == "forever":
        write_forever(root)
    elif task == "read-only":
        open_read_only(root)
    elif task == "hold":
        with Store(root, 1 << 30) as store:
            (store.new_folder() / "file").write_text("alive")
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1:])
