"""The Edit tab's answers, with a drawn desk in the place of the real one."""

from __future__ import annotations

import base64
import json
import time
from typing import Any, cast

import gradio as gr
import numpy as np
import pytest
from fake_desk import SKETCH_ERROR
from fake_engine import FakeEngine

from rosetta_ui.edits import Shift, Trying
from rosetta_ui.errors import BadRequestError
from rosetta_ui.tabs.edit import Editor


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(n_neurons=30)


@pytest.fixture
def editor(engine: FakeEngine) -> Editor:
    return Editor(engine)


def opened(editor: Editor) -> dict[str, Any]:
    return editor.open({"generator": "mobilestylegan", "seed": 3, "page": ""})


def finished(editor: Editor, page: str) -> dict[str, Any]:
    for _ in range(200):
        now = editor.progress({"page": page, "seen": 0})
        if now["state"] == "done":
            return now
        time.sleep(0.02)
    raise AssertionError("the edit did not end")


def test_a_seed_opens_with_one_state_and_its_picture(editor: Editor) -> None:
    view = opened(editor)
    assert [entry["label"] for entry in view["entries"]] == ["Seed 3"]
    assert view["picture"].startswith("data:image/png;base64,")
    json.dumps(view, allow_nan=False)


def test_a_gesture_becomes_the_engines_own_edit(editor: Editor, engine: FakeEngine) -> None:
    view = opened(editor)
    request = {"edits": [{"kind": "shift", "dx": 0.25, "dy": -0.2}], "choice": {"kind": "usual"}}
    ticket = editor.ask({"page": view["page"], "request": request})["ticket"]
    assert engine.editing.asked[-1].edits == (Shift(0.25, -0.2),)
    now = finished(editor, view["page"])
    assert now["ticket"] == ticket
    assert now["view"]["at"] == 1
    assert now["view"]["entries"][1]["numbers"]["realism"] == 97.0
    json.dumps(now, allow_nan=False)


def test_how_hard_to_try_is_read_as_far_as_it_is_given(editor: Editor, engine: FakeEngine) -> None:
    page = opened(editor)["page"]
    settings = {"steps": 5, "restarts": None, "pull": 0.5, "stages": 2, "coarse_first": False}
    settings |= {"space": "w"}
    editor.ask({"page": page, "request": {"edits": [{"kind": "mirror"}], "settings": settings}})
    assert engine.editing.asked[-1].trying == Trying(
        5, None, 0.5, stages=2, coarse_first=False, space="w"
    )


def test_undo_shows_the_very_same_picture(editor: Editor) -> None:
    view = opened(editor)
    request = {"edits": [{"kind": "mirror"}]}
    editor.ask({"page": view["page"], "request": request})
    finished(editor, view["page"])
    assert editor.go({"page": view["page"], "to": 0})["picture"] == view["picture"]


def test_a_recipe_goes_out_and_comes_back(editor: Editor) -> None:
    view = opened(editor)
    recipe = json.loads(json.dumps(editor.recipe({"page": view["page"]})))
    again = editor.load({"page": "", "recipe": recipe})
    assert again["generator"] == "mobilestylegan"
    assert again["seed"] == 3


@pytest.mark.parametrize("recipe", [None, [], "text", {}, {"kind": "rosetta-edit", "schema": 9}])
def test_what_is_no_recipe_is_refused_in_words(editor: Editor, recipe: Any) -> None:
    with pytest.raises(BadRequestError):
        editor.load({"page": "", "recipe": recipe})


@pytest.mark.parametrize(
    "request_",
    [
        None,
        {"edits": "shift"},
        {"edits": [{"kind": "explode"}]},
        {"edits": [{"kind": "shift", "dx": float("nan"), "dy": 0}]},
        {"edits": [{"kind": "shift", "wrong": 1}]},
        {"edits": [{"kind": "mirror"}], "choice": {"kind": "units", "units": ["nonsense"]}},
        {"edits": [{"kind": "scale", "factor": 1, "region": [[0, 0]]}]},
        {"edits": [{"kind": "mirror"}], "settings": {"coarse_first": "first"}},
        {"edits": [{"kind": "mirror"}], "settings": {"space": "v"}},
    ],
)
def test_malformed_requests_are_refused_in_words(editor: Editor, request_: Any) -> None:
    view = opened(editor)
    with pytest.raises(BadRequestError):
        editor.ask({"page": view["page"], "request": request_})


def test_neurons_come_with_their_maps(editor: Editor) -> None:
    view = opened(editor)
    answer = editor.units({"page": view["page"], "choice": {"kind": "active", "x": 0.5, "y": 0.4}})
    assert answer["total"] == 30
    maps = np.frombuffer(base64.b64decode(answer["maps"]), np.uint8)
    assert maps.size == len(answer["units"]) * 256


def test_a_page_that_is_gone_is_said_so(editor: Editor) -> None:
    with pytest.raises(BadRequestError, match="no longer open"):
        editor.view({"page": "unknown"})


def test_when_a_browser_goes_its_edit_ends(editor: Editor, engine: FakeEngine) -> None:
    class Browser:
        session_hash = "abc"

    browser = cast(gr.Request, Browser())
    session = editor.begin(browser)["session"]
    first = editor.open({"generator": "mobilestylegan", "seed": 3, "session": session})["page"]
    other = opened(editor)["page"]
    editor.view({"page": other, "session": session})  # the tab went on with another picture
    editor.gone(browser)
    editor.gone(browser)
    assert engine.editing.left == [other]
    editor.alive({"page": first, "session": session})  # it came back
    editor.gone(browser)
    assert engine.editing.left == [other, first]


def test_small_previews_come_with_how_far_they_are_off(editor: Editor) -> None:
    page = opened(editor)["page"]
    editor.ask({"page": page, "request": {"edits": [{"kind": "mirror"}]}})
    now = editor.progress({"page": page, "seen": 0})
    assert now["picture"]
    assert now["off"] == SKETCH_ERROR
    quick = editor.open({"generator": "dcgan-digiface", "seed": 3, "page": page})["page"]
    editor.ask({"page": quick, "request": {"edits": [{"kind": "mirror"}]}})
    assert editor.progress({"page": quick, "seen": 0})["off"] is None


def test_concepts_are_listed_largest_first(editor: Editor) -> None:
    found = editor.concepts({"result": "bundled"})
    sizes = [concept["size"] for concept in found]
    assert sizes == sorted(sizes, reverse=True)


def test_several_strengths_come_with_their_numbers_and_one_can_be_taken(editor: Editor) -> None:
    view = opened(editor)
    request = {"edits": [{"kind": "shift", "dx": 0.25, "dy": 0}]}
    editor.strengths({"page": view["page"], "request": request})
    finished(editor, view["page"])
    found = editor.frontier({"page": view["page"]})
    assert [point["share"] for point in found["points"]] == [0.5, 1.0]
    assert found["natural"] == 0
    json.dumps(found, allow_nan=False)
    taken = editor.take({"page": view["page"], "point": 0})
    assert taken["entries"][taken["at"]]["numbers"]["realism"] == 48.5


def test_a_film_comes_as_a_data_address_and_only_after_it_was_asked_for(editor: Editor) -> None:
    page = opened(editor)["page"]
    with pytest.raises(BadRequestError, match="no film"):
        editor.film_file({"page": page})
    editor.film({"page": page, "kind": "gif"})
    assert editor.film_file({"page": page})["film"].startswith("data:image/gif;base64,")


def test_the_other_picture_may_be_a_recipe(editor: Editor, engine: FakeEngine) -> None:
    view = opened(editor)
    recipe = json.loads(json.dumps(editor.recipe({"page": view["page"]})))
    request = {"edits": [{"kind": "blend", "share": 0.5}], "source_recipe": recipe}
    editor.ask({"page": view["page"], "request": request})
    source = engine.editing.asked[-1].source
    assert source is not None
    assert source.seed == 3
