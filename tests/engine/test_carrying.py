"""Results between two installations, through the engine: dictionaries, bundles, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rosetta_ui.engine.engine import Engine
from rosetta_ui.errors import BadRequestError, StoreError
from rosetta_ui.models.registry import Registry
from rosetta_ui.settings import Settings
from rosetta_ui.tabs.gallery import Gallery
from rosetta_ui.types import PersonNames, Selection

CENTRED = Selection(rule="mutual", k=3, score="centred")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Engine]:
    """Another installation, which knows none of the models."""
    with Engine(Settings(cache_dir=tmp_path / "elsewhere"), Registry()) as made:
        yield made


def test_a_dictionary_becomes_a_result_elsewhere(
    planted: tuple[Engine, str], elsewhere: Engine
) -> None:
    engine, result = planted
    first = str(engine.neurons(result, CENTRED)[0].anchor)
    names = PersonNames({first: "fringe"}, {first: "hair"}, grouping=1.0)
    data = engine.export_file(result, CENTRED, "json", names=names)
    came = elsewhere.import_file(data)
    assert came.selection == CENTRED
    assert (came.names.neurons, came.names.concepts) == ({first: "fringe"}, {first: "hair"})
    assert "no tables, pictures or maps" in came.note
    ours, theirs = (e.neurons(r, CENTRED) for e, r in ((elsewhere, came.result), planted))
    assert [n.partners for n in ours] == [n.partners for n in theirs]
    assert [n.above_null for n in ours] == [n.above_null for n in theirs]
    concepts = elsewhere.concepts(came.result, CENTRED, 0.2)
    assert concepts == engine.concepts(result, CENTRED, 1.0)
    (info,) = (i for i in elsewhere.results() if not i.bundled)
    assert info.fixed == CENTRED
    assert info.title == next(i.title for i in engine.results() if i.result == result)
    summary = elsewhere.summary(came.result, CENTRED)
    assert summary.tables == engine.summary(result, CENTRED).tables
    assert elsewhere.images(came.result) == 0


def test_the_same_file_again_is_the_same_result(
    planted: tuple[Engine, str], elsewhere: Engine
) -> None:
    engine, result = planted
    data = engine.export_file(result, CENTRED, "json")
    assert elsewhere.import_file(data).result == elsewhere.import_file(data).result
    assert len([i for i in elsewhere.results() if not i.bundled]) == 1
    assert list((elsewhere._bench.store.root / "writing").glob("*/*")) == []


def test_an_imported_dictionary_is_exported_again_as_it_came(
    planted: tuple[Engine, str], elsewhere: Engine
) -> None:
    engine, result = planted
    data = engine.export_file(result, CENTRED, "json")
    came = elsewhere.import_file(data)
    again = elsewhere.export_file(came.result, CENTRED, "json")
    assert json.loads(again) == json.loads(data)
    assert elsewhere.export_file(came.result, CENTRED, "csv").startswith(b"anchor,")
    with pytest.raises(StoreError, match="keeps no maps"):
        elsewhere.export_file(came.result, CENTRED, "zip")


def test_a_bundle_opens_complete_elsewhere(planted: tuple[Engine, str], elsewhere: Engine) -> None:
    engine, result = planted
    came = elsewhere.import_file(engine.export_file(result, CENTRED, "zip"))
    assert came.note == ""
    usual = Selection(k=2)  # another rule than the one it was exported with
    ours, theirs = (e.neurons(r, usual) for e, r in ((elsewhere, came.result), planted))
    assert {n.anchor for n in ours} == {n.anchor for n in theirs}
    assert elsewhere.images(came.result) == engine.images(result)
    maps, images = elsewhere.thumbs(came.result, ours[:2])
    assert maps.any()
    assert len(images) == 2
    assert elsewhere.concepts(came.result, usual)[0].label is not None
    (info,) = (i for i in elsewhere.results() if not i.bundled)
    assert info.fixed is None


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 nothing", b"\x80\x04.", b"<html>", b"{}"])
def test_other_files_are_refused_and_leave_nothing(elsewhere: Engine, data: bytes) -> None:
    with pytest.raises(StoreError):
        elsewhere.import_file(data)
    assert all(info.bundled for info in elsewhere.results())
    assert list((elsewhere._bench.store.root / "writing").glob("*/*")) == []


def test_a_file_that_is_too_large_is_refused(
    elsewhere: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rosetta_ui.engine.carrying.MOST_BYTES", 10)
    with pytest.raises(StoreError, match="at most 10 are taken"):
        elsewhere.import_file(b"{" + b" " * 20)


def test_concepts_are_grouped_at_any_threshold_and_named(planted: tuple[Engine, str]) -> None:
    engine, result = planted
    usual = engine.concepts(result, CENTRED)
    members = [unit for concept in usual for unit in concept.members]
    assert sorted(members) == sorted(n.anchor for n in engine.neurons(result, CENTRED))
    numbered = {n.anchor: n.concept for n in engine.neurons(result, CENTRED)}
    assert all(numbered[unit] == c.number for c in usual for unit in c.members)
    assert len(engine.concepts(result, CENTRED, 2.0)) == 1
    assert len(engine.concepts(result, CENTRED, 0.0)) == len(members)
    assert all(c.label is not None and c.label.text for c in usual)
    assert engine.classes(result, CENTRED) == {}  # the planted copies have no classifier
    with pytest.raises(BadRequestError, match="grouping is 3"):
        engine.concepts(result, CENTRED, 3.0)


def test_all_units_of_every_model_are_ranked_at_a_place(planted: tuple[Engine, str]) -> None:
    engine, result = planted
    found = engine.active_units(result, 5, (0.4, 0.4, 0.4, 0.4), most=3)
    assert [each.model for each in found] == list(engine.index(result))
    for each in found:
        units = engine.index(result)[each.model]
        assert each.every
        assert each.looked_at <= len(units)
        values = [value for _, value in each.units]
        assert values == sorted(values, reverse=True)
        stats = engine._bench.shelf.open(result).stats(each.model)
        assert stats is not None
        there: list[float] = []
        for flat, unit in enumerate(units):
            cells = engine.heatmaps(result, [unit], 5).maps[unit]
            height, width = cells.shape
            value = cells[int(0.4 * height), int(0.4 * width)]
            if stats.deviation[flat] > 0:
                there.append((value - stats.mean[flat]) / stats.deviation[flat])
        assert values == pytest.approx(sorted(there, reverse=True)[:3], abs=0.02)


def test_without_models_the_kept_maps_are_ranked_and_it_says_so(
    planted: tuple[Engine, str], elsewhere: Engine
) -> None:
    engine, result = planted
    came = elsewhere.import_file(engine.export_file(result, CENTRED, "zip"))
    found = elsewhere.active_units(came.result, 5, (0.1, 0.1, 0.6, 0.6))
    assert all(not each.every and each.looked_at > 0 for each in found)


def test_the_gallery_opens_an_imported_dictionary_without_pictures(
    planted: tuple[Engine, str], elsewhere: Engine
) -> None:
    engine, result = planted
    came = elsewhere.import_file(engine.export_file(result, CENTRED, "json"))
    gallery = Gallery(elsewhere)
    asked = {"result": came.result, "rule": "mutual", "k": 3, "score": "centred"}
    told = gallery.neurons(asked)
    assert told["images"] == 0
    assert len(told["rows"]) == 24
    anchors = [str(neuron.anchor) for neuron in elsewhere.neurons(came.result, CENTRED)]
    assert gallery.thumbs({**asked, "anchors": anchors})["pictures"] == {}
    assert len(gallery.concepts(asked)) == len(engine.concepts(result, CENTRED))
    assert gallery.classes(asked) == {}
