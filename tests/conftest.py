"""Shared by every test: real weights fetched once, and no network after that."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parent.parent
ARTEFACTS = PROJECT / "tests" / "artefacts"

_real_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else ""
    if host and host not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"the tests reach no network, but something asked for {host}")
    _real_connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Refuse connections off this machine in this process; pip fetches in a process of its own."""
    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", _loopback_only)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def artefacts() -> Path:
    """A git-ignored folder for pictures that a person looks at."""
    ARTEFACTS.mkdir(exist_ok=True)
    return ARTEFACTS


@pytest.fixture(scope="session")
def zoo() -> Any:
    """A `WeightStore` in the project's cache folder in which every embedded model is ready."""
    from rosetta_ui.models.registry import build_registry
    from rosetta_ui.models.weights import WeightStore
    from rosetta_ui.settings import Settings

    store = WeightStore(Settings.read().cache_dir)
    for card in build_registry().cards():
        if card.embedded:
            store.ensure(card)
    return store


@pytest.fixture
def cache_with_zoo(zoo: Any, tmp_path: Path) -> Path:
    """A fresh cache folder that shares the fetched weights and nothing else."""
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "zoo").symlink_to(zoo.root / "zoo", target_is_directory=True)
    return folder
