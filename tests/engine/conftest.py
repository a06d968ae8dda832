"""An engine over tiny models, in a cache folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rosetta_ui.engine.engine import Engine
from rosetta_ui.models.registry import Registry
from rosetta_ui.settings import Settings
from rosetta_ui.types import JobStatus, MatchRequest

Finish = Callable[[Engine, MatchRequest], JobStatus]


@pytest.fixture(scope="session")
def tiny_registry() -> Registry:
    """Only the tiny models; two of them count as embedded."""
    from rosetta_ui.models.tiny import tiny_cards

    registry = Registry()
    for card, loader in tiny_cards():
        embedded = card.name in ("planted-copy-a", "planted-copy-b")
        registry.add(replace(card, embedded=embedded), loader)
    return registry


@pytest.fixture
def engine(tmp_path: Path, tiny_registry: Registry) -> Iterator[Engine]:
    with Engine(Settings(cache_dir=tmp_path / "cache", device="cpu"), tiny_registry) as made:
        yield made


@pytest.fixture(scope="session")
def planted_request() -> MatchRequest:
    """A match whose answer is known: every unit has one copy in each backbone."""
    return MatchRequest(
        generator="planted-gan", backbones=("planted-copy-a", "planted-copy-b"), n_images=64
    )


@pytest.fixture(scope="session")
def tiny_request() -> MatchRequest:
    """Ordinary networks: layers of many sizes, tokens, a dead unit."""
    return MatchRequest(
        generator="tiny-gan", backbones=("tiny-net-a", "tiny-net-b", "tiny-tokens"), n_images=40
    )


@pytest.fixture(scope="session")
def finish() -> Finish:
    """Run a match to its end."""
    return lambda engine, request: engine.wait(engine.start_match(request), 60)


@pytest.fixture(scope="module")
def planted(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_registry: Registry,
    planted_request: MatchRequest,
    finish: Finish,
) -> Iterator[tuple[Engine, str]]:
    """A finished match with a known answer, for tests that only look."""
    folder = tmp_path_factory.mktemp("planted")
    with Engine(Settings(cache_dir=folder, device="cpu"), tiny_registry) as made:
        status = finish(made, planted_request)
        assert status.state == "done", status
        yield made, status.result
