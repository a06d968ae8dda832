"""Several processes at one cache folder, kill −9 while they write, and disks that refuse."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from rosetta_ui.errors import StoreError
from rosetta_ui.store import files, scratch
from rosetta_ui.store.results import ModelRecord, ResultFolder, ResultWriter
from rosetta_ui.store.store import Store
from rosetta_ui.types import LayerSpec, MatchRequest
from tests.store.store_processes import agrees

PROGRAM = Path(__file__).with_name("store_processes.py")
PROJECT = PROGRAM.parent.parent.parent


def start(root: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAM), str(root), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_four_processes_write_read_and_evict_in_one_folder(tmp_path: Path) -> None:
    workers = [start(tmp_path, "many", seed, 40) for seed in range(4)]
    for worker in workers:
        _, said = worker.communicate(timeout=240)
        assert worker.returncode == 0, said
    with Store(tmp_path, 1 << 30) as store:
        entries = store.entries()
        assert entries
        for entry in entries:
            if entry.form == "folder":
                assert (tmp_path / "results" / entry.key / "file").exists()
            else:
                assert agrees(store.get(entry.key), int(entry.key.removeprefix("key")))
        assert len(store.entries()) == len(entries), "no entry was damaged"
        listed = {f"{e.key}.safetensors" for e in entries if e.form != "folder"}
        assert listed == {path.name for path in (tmp_path / "entries").iterdir()}
    assert list((tmp_path / "writing").iterdir()) == []


@pytest.mark.parametrize("after", [0.0, 0.02, 0.05, 0.1, 0.17, 0.3])
def test_kill_nine_while_writing_leaves_a_clean_store(tmp_path: Path, after: float) -> None:
    worker = start(tmp_path, "forever")
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    time.sleep(after)
    worker.send_signal(signal.SIGKILL)
    worker.communicate(timeout=30)
    with Store(tmp_path, 1 << 30) as store:
        assert len(list((tmp_path / "writing").iterdir())) == 2, "only this store's own folder"
        entries = store.entries()
        assert entries, "what was finished is there"
        for entry in entries:
            key = int(entry.key[-1])
            if entry.form == "folder":
                written = sorted((tmp_path / "results" / entry.key).iterdir())
                assert [path.read_bytes() for path in written] == [bytes([key]) * 100_000] * 3
            else:
                found = store.get(entry.key)
                if found is not None:  # dropped between the index and the file: made again
                    assert (found["a"] == key).all()
        for name in ("entries", "results"):
            assert not [p for p in (tmp_path / name).iterdir() if p.name.startswith(".")]
        store.put("after", {"x": np.arange(3)}, "test")
        assert store.get("after") is not None


def test_a_living_process_keeps_its_unfinished_folder(tmp_path: Path) -> None:
    worker = start(tmp_path, "hold")
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        with Store(tmp_path, 1 << 30):
            assert len(list((tmp_path / "writing").glob("*/*/file"))) == 1
    finally:
        worker.kill()
        worker.communicate(timeout=30)
    with Store(tmp_path, 1 << 30):
        assert list((tmp_path / "writing").glob("*/*/file")) == []


def test_without_locks_only_old_leftovers_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "fcntl", None)
    root = tmp_path / "writing"
    for token, age in (("fresh", 60), ("old", 2 * 24 * 3600)):
        (root / token).mkdir(parents=True)
        (root / f"{token}.lock").touch()
        os.utime(root / f"{token}.lock", (time.time() - age,) * 2)
    own = scratch.Scratch(root)
    assert own.sweep() == ["old"]
    own.close()
    assert sorted(path.name for path in root.iterdir()) == ["fresh", "fresh.lock"]


def test_a_read_only_folder_is_one_sentence() -> None:
    # The process steps down from root to nobody, who cannot enter pytest's own folder.
    folder = Path(tempfile.mkdtemp(prefix="rosetta-read-only-"))
    try:
        (folder / "store").mkdir()
        (folder / "store").chmod(0o555)
        folder.chmod(0o755)
        worker = start(folder / "store", "read-only")
        said, trouble = worker.communicate(timeout=60)
        assert worker.returncode == 0, trouble
        assert "No permission to write" in said
        assert "--cache-dir" in said
    finally:
        (folder / "store").chmod(0o755)
        shutil.rmtree(folder)


def test_a_file_in_place_of_the_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("x")
    with pytest.raises(StoreError, match="could not be written") as caught:
        Store(tmp_path / "cache", 1 << 30)
    assert "\n" not in caught.value.sentence


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch):
    """Every flush of a written file fails as on a full disk, once switched on."""
    real = os.fsync

    def switch_on() -> None:
        def refuse(_handle: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(files.os, "fsync", refuse)

    yield switch_on
    monkeypatch.setattr(files.os, "fsync", real)


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path, full_disk) -> None:
    with Store(tmp_path, 1 << 30) as store:
        store.put("before", {"x": np.arange(3)}, "test")
        full_disk()
        with pytest.raises(StoreError, match="The disk is full") as caught:
            store.put("key", {"x": np.arange(1000)}, "test")
        assert "\n" not in caught.value.sentence
        assert store.get("key") is None
        assert store.get("before") is not None
        assert [path.name for path in (tmp_path / "entries").iterdir()] == ["before.safetensors"]
        assert list((tmp_path / "writing").glob("*/*")) == []


def test_a_full_device_is_one_sentence() -> None:
    device = Path("/dev/full")
    if not device.exists():  # only Linux has it; the test above covers the rest
        return
    with pytest.raises(StoreError, match="The disk is full"), files.said_plainly(device, "write"):
        device.write_bytes(b"x" * 100_000)


def test_a_full_disk_in_a_result_leaves_it_unfinished(tmp_path: Path, full_disk) -> None:
    models = [
        ModelRecord(name, "backbone", "", (LayerSpec(name, "only", 3, (4, 4)),))
        for name in ("one", "two")
    ]
    writer = ResultWriter(tmp_path / "out", MatchRequest(), models)
    full_disk()
    with pytest.raises(StoreError, match="The disk is full"):
        writer.add_scores("one", "two", "pearson", [np.eye(3)])
    with pytest.raises(StoreError, match="no finished result"):
        ResultFolder.open(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
