"""A page that is open to everybody reads no folder that a visitor names."""

from __future__ import annotations

from pathlib import Path

import pytest

from rosetta_ui.engine.engine import Engine
from rosetta_ui.errors import StoreError
from rosetta_ui.settings import Settings


@pytest.mark.parametrize(
    ("host", "says"), [("0.0.0.0", "no key of the cache"), ("127.0.0.1", "result.json")]
)
def test_paths_are_ids_only_where_the_page_is_private(tmp_path: Path, host: str, says: str) -> None:
    (tmp_path / "other").mkdir()
    settings = Settings(host=host, cache_dir=tmp_path / "cache")
    with Engine(settings) as engine, pytest.raises(StoreError) as raised:
        engine.index(str(tmp_path / "other"))
    assert says in raised.value.sentence
