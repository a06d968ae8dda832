"""The Gallery's answers, with a drawn engine in the place of the real one."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from fake_engine import HOSTILE, LAYERS, FakeEngine

from rosetta_ui.errors import BadRequestError, StoreError
from rosetta_ui.tabs.gallery import Gallery
from rosetta_ui.types import Selection


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(n_neurons=30)


@pytest.fixture
def gallery(engine: FakeEngine) -> Gallery:
    return Gallery(engine)


def anchors(engine: FakeEngine) -> list[str]:
    return [str(n.anchor) for n in engine.neurons("bundled", Selection(score="centred"))]


def maps_of(answer: dict[str, Any]) -> np.ndarray:
    raw = np.frombuffer(base64.b64decode(answer["maps"]), np.uint8)
    return raw.reshape(-1, len(LAYERS), 16, 16)


def test_neurons_come_with_columns_and_the_results_own_score(gallery: Gallery) -> None:
    answer = gallery.neurons({"result": "bundled"})
    assert [m["name"] for m in answer["models"]] == list(LAYERS)
    assert answer["score"] == "centred"
    assert len(answer["rows"]) == 30
    json.dumps(answer, allow_nan=False)


def test_thumbs_are_the_engines_maps_in_the_asked_order(
    gallery: Gallery, engine: FakeEngine
) -> None:
    wanted = anchors(engine)[5:2:-1]
    answer = gallery.thumbs({"result": "bundled", "anchors": wanted})
    known = {str(n.anchor): n for n in engine.neurons("bundled", Selection(score="centred"))}
    maps, images = engine.thumbs("bundled", [known[a] for a in wanted])
    assert (maps_of(answer) == maps).all()
    assert answer["images"] == images


def test_pictures_that_the_page_has_are_not_sent_again(
    gallery: Gallery, engine: FakeEngine
) -> None:
    wanted = anchors(engine)[:3]
    first = gallery.thumbs({"result": "bundled", "anchors": wanted})
    again = gallery.thumbs({"result": "bundled", "anchors": wanted, "have": first["images"]})
    assert first["pictures"]
    assert again["pictures"] == {}


def test_scrolling_asks_the_engine_for_neurons_once(gallery: Gallery, engine: FakeEngine) -> None:
    gallery.neurons({"result": "bundled"})
    before = engine.calls.count("neurons")
    for start in (0, 10, 20):
        gallery.thumbs({"result": "bundled", "anchors": anchors(FakeEngine(30))[start:][:10]})
    assert engine.calls.count("neurons") == before


def test_the_large_view_shows_raw_values_of_all_models_on_one_image(
    gallery: Gallery, engine: FakeEngine
) -> None:
    answer = gallery.large({"result": "bundled", "anchor": anchors(engine)[0], "image": 7})
    neuron = engine.neurons("bundled", Selection(score="centred"))[0]
    units = [neuron.anchor, *(p.unit for p in neuron.partners.values())]
    row = engine.heatmaps("bundled", units, 7)
    assert answer["image"] == 7
    assert [c["unit"] for c in answer["cells"]] == [str(u) for u in units]
    for cell, unit in zip(answer["cells"], units, strict=True):
        values = np.frombuffer(base64.b64decode(cell["values"]), "<f4")
        assert (values.reshape(cell["height"], cell["width"]) == row.maps[unit]).all()


def test_stored_maps_stand_in_for_the_models_own(gallery: Gallery, engine: FakeEngine) -> None:
    asked = {"result": "bundled", "anchor": anchors(engine)[2], "image": 4}
    coarse, whole = gallery.coarse(asked), gallery.large(asked)
    maps = maps_of(gallery.thumbs({"result": "bundled", "anchors": [asked["anchor"]], "image": 4}))
    for cell, stored in zip(coarse["cells"], maps[0], strict=True):
        values = np.frombuffer(base64.b64decode(cell["values"]), "<f4").reshape(16, 16)
        assert np.allclose(values * 255, stored, atol=1e-4)
        assert (cell["low"], cell["high"]) == (0, 1)
    assert coarse["coarse"] is True
    assert whole["coarse"] is False
    assert [c["unit"] for c in coarse["cells"]] == [c["unit"] for c in whole["cells"]]
    assert coarse["best"] == whole["best"]


def test_without_an_image_the_large_view_shows_the_best_one(
    gallery: Gallery, engine: FakeEngine
) -> None:
    answer = gallery.large({"result": "bundled", "anchor": anchors(engine)[0], "image": None})
    assert answer["image"] == answer["best"][0]
    assert set(answer["pictures"]) == {str(i) for i in answer["best"]}


def test_the_most_active_neurons_at_a_place_come_first(
    gallery: Gallery, engine: FakeEngine
) -> None:
    answer = gallery.active({"result": "bundled", "image": 3, "box": [0.5, 0.6]})
    maps = maps_of(gallery.thumbs({"result": "bundled", "anchors": answer["anchors"], "image": 3}))
    there = maps[:, :, 9, 8].astype(float) - maps.mean(axis=(2, 3))
    means = np.maximum(there, 0).mean(axis=1)
    assert (np.diff(means) <= 1e-3).all()
    assert np.allclose(answer["values"], maps[:, :, 9, 8] / 255, atol=1e-3)


@pytest.mark.parametrize("box", [[0.0, 0.0], [1.0, 1.0], [0.9, 0.9, 0.1, 0.1], [-3, 0.5, 9, 0.6]])
def test_a_place_at_or_beyond_the_edge_still_covers_a_cell(gallery: Gallery, box: Any) -> None:
    answer = gallery.active({"result": "bundled", "image": 3, "box": box})
    assert np.isfinite(answer["values"]).all()


@pytest.mark.parametrize("box", [None, [], [0.5], [1, 2, 3], "0,0", ["a", "b"]])
def test_a_place_that_is_none_is_refused(gallery: Gallery, box: Any) -> None:
    with pytest.raises(BadRequestError):
        gallery.active({"result": "bundled", "image": 3, "box": box})


def test_a_unit_that_is_not_matched_is_refused_with_a_next_step(gallery: Gallery) -> None:
    with pytest.raises(BadRequestError) as caught:
        gallery.large({"result": "bundled", "anchor": "mobilestylegan/conv0:1"})
    assert caught.value.hint


def test_a_result_that_is_gone_is_said(gallery: Gallery) -> None:
    with pytest.raises(StoreError):
        gallery.neurons({"result": "../../etc"})


def test_concepts_come_as_places_of_the_rows_and_regroup(
    gallery: Gallery, engine: FakeEngine
) -> None:
    usual = gallery.concepts({"result": "bundled"})
    places = [place for concept in usual for place in concept["members"]]
    assert sorted(places) == list(range(30))
    assert all(concept["medoid"] in concept["members"] for concept in usual)
    assert usual[0]["label"]["text"] == "top left, small, dark brown"
    json.dumps(usual, allow_nan=False)
    coarse = gallery.concepts({"result": "bundled", "grouping": 1.2})
    fine = gallery.concepts({"result": "bundled", "grouping": 0.2})
    assert len(coarse) < len(usual) < len(fine)


def test_classes_stand_beside_what_chance_gives(gallery: Gallery) -> None:
    told = gallery.classes({"result": "bundled"})
    assert told == {"0": [["mobilenetv2", HOSTILE, 0.81, 0.6]]}


def test_names_of_a_person_go_into_the_file(gallery: Gallery) -> None:
    asked = {"result": "bundled", "kind": "json", "names": {"a": "b"}, "concepts": {"c": "d"}}
    made = json.loads(base64.b64decode(gallery.file(asked)["data"]))
    assert (made["favourites"], made["concept_names"]) == ({"a": "b"}, {"c": "d"})


def test_a_file_of_another_installation_is_taken_with_its_names(gallery: Gallery) -> None:
    came = gallery.take({"data": base64.b64encode(b"{}").decode()})
    assert (came["result"], came["rule"], came["k"], came["score"]) == (
        *("imported", "mutual", 3, "pearson"),
    )
    assert list(came["favourites"].values()) == ["fringe"]
    with pytest.raises(StoreError):
        gallery.take({"data": base64.b64encode(b"PKnothing").decode()})
    with pytest.raises(BadRequestError, match="did not arrive whole"):
        gallery.take({"data": "!"})


def test_any_unit_is_shown_on_an_image_with_what_it_is_paired_with(
    gallery: Gallery, engine: FakeEngine
) -> None:
    index = engine.index("bundled")
    anchor, *backbones = index
    alone = index[anchor].unit(0)  # it has pairs, and no neuron of the list has it
    answer = gallery.unit({"result": "bundled", "unit": str(alone), "image": 5})
    row = engine.heatmaps("bundled", [alone], 5)
    values = np.frombuffer(base64.b64decode(answer["cell"]["values"]), "<f4")
    size = (answer["cell"]["height"], answer["cell"]["width"])
    assert (values.reshape(size) == row.maps[alone]).all()
    assert answer["image"] == 5
    assert answer["pairs"] == [[str(index[name].unit(0)), 0.41, 0.3] for name in backbones]
    other = index[backbones[1]].unit(0)
    seen = gallery.unit({"result": "bundled", "unit": str(other), "image": 5})
    assert seen["pairs"] == [[str(alone), 0.41, 0.3]]
    single = index[backbones[0]].unit(3)
    assert gallery.unit({"result": "bundled", "unit": str(single), "image": 5})["pairs"] == []
    with pytest.raises(BadRequestError, match="is not a unit"):
        gallery.unit({"result": "bundled", "unit": "nonsense", "image": 5})
