"""Editing through the engine on the tiny generators: pages, last wins, stop, recipes, goodbye."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from rosetta_ui.editing.edit import EditProblem
from rosetta_ui.edits import (
    EditProgress,
    EditRequest,
    EditView,
    Mirror,
    Paste,
    PictureState,
    Region,
    Shift,
    Trying,
    UnitChoice,
)
from rosetta_ui.engine import desk
from rosetta_ui.engine.engine import Engine
from rosetta_ui.engine.jobs import Cancel
from rosetta_ui.errors import BadRequestError, Cancelled, EmptyMatchError, UnknownModelError
from rosetta_ui.models.registry import Registry
from rosetta_ui.models.tiny import TinyGenerator, tiny_cards
from rosetta_ui.settings import Settings
from rosetta_ui.types import Unit


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    registry = Registry()
    for card, loader in tiny_cards():
        registry.add(card, loader)
    # Says that its pictures are too large to show one every step.
    slow = replace(registry.card("tiny-gan"), name="slow-gan", image_size=(256, 256))
    registry.add(slow, lambda card, _tensors: TinyGenerator(card))
    folder = tmp_path_factory.mktemp("editing")
    with Engine(Settings(cache_dir=folder, device="cpu"), registry) as made:
        yield made


def request(*edits: object, steps: int = 10, **more: object) -> EditRequest:
    return EditRequest(tuple(edits), trying=Trying(steps=steps), **more)  # pyright: ignore


def opened(engine: Engine, seed: int = 1) -> EditView:
    return engine.editing.open("tiny-gan", seed, None, None, "")


def ended(engine: Engine, page: str, seconds: float = 60) -> EditProgress:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        now = engine.editing.progress(page)
        if now.state in ("done", "failed", "stopped"):
            return now
        time.sleep(0.01)
    raise AssertionError("the edit did not end")


def edited(engine: Engine, state: PictureState, asked: EditRequest) -> PictureState:
    *_, last = engine.editing.edit(state, asked)
    assert last.state is not None
    return last.state


def test_an_edit_ends_in_the_history_and_undo_is_exact(engine: Engine) -> None:
    page = opened(engine).page
    first = engine.editing.view(page).entries[0].picture
    engine.editing.ask(page, request(Shift(0.2)))
    assert ended(engine, page).state == "done"
    view = engine.editing.view(page)
    assert [entry.label for entry in view.entries] == ["Seed 1", "Shift +20, +0 %"]
    assert not np.array_equal(view.entries[1].picture, first)
    back = engine.editing.go(page, 0)
    assert back.at == 0
    assert np.array_equal(back.entries[back.at].picture, first)


def test_the_newest_edit_of_a_page_wins(engine: Engine) -> None:
    page = opened(engine).page
    engine.editing.ask(page, request(Shift(0.1), steps=5000))
    engine.editing.ask(page, request(Shift(0.2), steps=5000))
    last = engine.editing.ask(page, request(Shift(0.3), steps=5))
    assert ended(engine, page).state == "done"
    assert engine.editing.progress(page).ticket == last
    assert [e.label for e in engine.editing.view(page).entries] == ["Seed 1", "Shift +30, +0 %"]


def test_stop_is_quick_and_keeps_the_picture(engine: Engine) -> None:
    page = opened(engine).page
    engine.editing.ask(page, request(Shift(0.1), steps=5000))
    while engine.editing.progress(page).step < 2:
        time.sleep(0.01)
    engine.editing.stop(page)
    assert ended(engine, page).state == "stopped"
    assert len(engine.editing.view(page).entries) == 1


def test_two_pages_do_not_mix(engine: Engine) -> None:
    one, two = opened(engine, 1).page, opened(engine, 2).page
    assert one != two
    engine.editing.ask(one, request(Shift(0.2)))
    engine.editing.ask(two, request(Mirror()))
    assert {ended(engine, one).state, ended(engine, two).state} == {"done"}
    assert engine.editing.view(one).entries[1].label == "Shift +20, +0 %"
    assert engine.editing.view(two).entries[1].label == "Mirror"
    assert engine.editing.view(two).entries[1].state.seed == 2


def test_closing_a_page_ends_its_edit_and_frees_it(engine: Engine) -> None:
    page = opened(engine).page
    before = engine.editing.desk.open_pages
    engine.editing.ask(page, request(Shift(0.1), steps=5000))
    engine.editing.close(page)
    assert engine.editing.desk.open_pages == before - 1
    end = time.monotonic() + 30
    while any(t.name.startswith("edit-") for t in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.02)
    with pytest.raises(BadRequestError, match="no longer open"):
        engine.editing.view(page)


def test_a_browser_that_is_gone_frees_everything_and_one_that_comes_back_does_not(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "SILENT_SECONDS", 0.5)
    gone, back = opened(engine, 1).page, opened(engine, 2).page
    for page in (gone, back):
        engine.editing.ask(page, request(Shift(0.1), steps=5000))
        engine.editing.leave(page)
    engine.editing.leave("never seen")
    end = time.monotonic() + 30
    while engine.editing.desk.open_pages > 1 or any(
        thread.name.startswith("edit-") for thread in threading.enumerate()
    ):
        assert time.monotonic() < end
        assert engine.editing.progress(back).state != "done"
        time.sleep(0.02)
    assert engine.editing.view(back).entries[0].label == "Seed 2"
    with pytest.raises(BadRequestError, match="no longer open"):
        engine.editing.view(gone)


def test_edits_wait_for_the_device_and_say_so(engine: Engine) -> None:
    page = opened(engine).page
    with engine._bench.lock.hold():
        engine.editing.ask(page, request(Shift(0.1)))
        time.sleep(0.1)
        now = engine.editing.progress(page)
        assert now.state == "queued"
        assert now.place >= 1
    assert ended(engine, page).state == "done"


def test_small_previews_say_how_far_off_they_are(engine: Engine) -> None:
    page = engine.editing.open("slow-gan", 1, None, None, "").page
    engine.editing.ask(page, request(Shift(0.2), steps=200))
    seen: list[EditProgress] = []
    while (now := engine.editing.progress(page)).state in ("queued", "running"):
        seen.append(now)
    previews = [now for now in seen if now.preview]
    assert previews
    assert all(0 < now.error < 1 for now in previews)
    assert math.isnan(now.error)  # the last picture is drawn in full
    assert previews[0].picture is not None
    assert previews[0].picture.shape == (16, 16, 3)


def test_a_latent_too_far_out_is_said_and_the_last_good_picture_stays(engine: Engine) -> None:
    page = opened(engine).page
    first = engine.editing.view(page).entries[0].picture
    state, _ = engine.editing.start_picture("tiny-gan", 3)
    for times in (20, 1e30):
        latents = replace(state.latents, values=state.latents.values * np.float32(times))
        with pytest.raises(BadRequestError, match="times as far out as natural ones"):
            engine.editing.open_latents("tiny-gan", latents, page)
        with pytest.raises(BadRequestError, match="times as far out as natural ones"):
            engine.editing.load(page, engine.editing.recipe(replace(state, latents=latents)))
    view = engine.editing.view(page)
    assert [entry.label for entry in view.entries] == ["Seed 1"]
    assert np.array_equal(view.entries[0].picture, first)


def test_a_loss_that_is_not_finite_is_said_and_the_last_good_picture_stays(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(engine).page
    whole = EditProblem.__call__

    def broken(self: EditProblem, at: Tensor, step: int) -> dict[str, Tensor]:
        return {name: term / float(step != 3) for name, term in whole(self, at, step).items()}

    monkeypatch.setattr(EditProblem, "__call__", broken)
    engine.editing.ask(page, request(Shift(0.2)))
    now = ended(engine, page)
    assert now.state == "failed"
    assert "stopped being finite at step 4" in now.message
    assert "smaller change" in now.hint
    assert [entry.label for entry in engine.editing.view(page).entries] == ["Seed 1"]


def test_a_failed_edit_says_why_and_keeps_the_picture(engine: Engine) -> None:
    page = opened(engine).page
    engine.editing.ask(page, request(Shift(1.5)))
    now = ended(engine, page)
    assert now.state == "failed"
    assert "leaves nothing" in now.message
    assert len(engine.editing.view(page).entries) == 1


def test_what_cannot_be_asked_is_refused_at_the_door(engine: Engine) -> None:
    page = opened(engine).page
    none = UnitChoice("units")
    for asked in (
        request(),
        request(Mirror(), choice=none),
        request(Mirror(), steps=0),
        request(Paste(Region.box(0, 0, 1, 1), 0, 0), source_seed=-4),
        EditRequest((Mirror(),), trying=Trying(coarse_first=True)),  # z has no layers
    ):
        with pytest.raises(BadRequestError):
            engine.editing.ask(page, asked)
    with pytest.raises(UnknownModelError):
        engine.editing.open("no-such-gan", 0, None, None, "")
    with pytest.raises(BadRequestError):
        engine.editing.open("tiny-gan", 0, 3, None, "")


def test_a_result_without_matches_for_this_generator_is_said(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(engine).page
    monkeypatch.setattr(engine.editing, "_neurons", lambda _result, _selection: [])
    with pytest.raises(EmptyMatchError, match="no matched neuron"):
        engine.editing.ask(page, request(Mirror(), choice=UnitChoice("matched", "some")))


def test_the_neurons_under_the_pointer_are_found_and_shown(engine: Engine) -> None:
    page = opened(engine).page
    units, maps, total = engine.editing.unit_maps(page, UnitChoice("active", x=0.5, y=0.4), 8)
    assert len(units) == 8
    assert total >= 8
    assert maps.shape == (8, 16, 16)
    engine.editing.ask(page, request(Shift(0.1), choice=UnitChoice("units", units=tuple(units))))
    assert ended(engine, page).state == "done"
    assert engine.editing.view(page).entries[1].state.steps[0].units == tuple(units)


def test_a_recipe_opens_to_the_same_pixels_and_replays_to_the_same_bits(engine: Engine) -> None:
    state, _ = engine.editing.start_picture("tiny-gan", 3)
    state = edited(engine, state, request(Shift(0.2)))
    state = edited(engine, state, request(Paste(Region.box(0, 0, 0.5, 1), 0.5, 0), source_seed=9))
    recipe = json.loads(json.dumps(engine.editing.recipe(state)))
    view = engine.editing.load("", recipe)
    assert np.array_equal(view.entries[view.at].picture, engine.editing.draw(state))
    *_, last = engine.editing.replay(view.entries[view.at].state)
    assert last.state is not None
    assert last.note == "", "its own steps lead there"
    assert last.state.latents.values.tobytes() == state.latents.values.tobytes()


def test_a_recipe_whose_steps_end_elsewhere_here_is_drawn_from_its_own_latent(
    engine: Engine,
) -> None:
    state, _ = engine.editing.start_picture("tiny-gan", 3)
    state = edited(engine, state, request(Shift(0.2)))
    # As a machine of another arithmetic may have left it.
    values = state.latents.values + np.float32(0.05)
    there = replace(state, latents=replace(state.latents, values=values))
    *_, before, last = engine.editing.replay(there)
    assert before.state is not None
    assert before.state.latents.values.tobytes() == state.latents.values.tobytes()
    assert "from the recipe's own latent" in last.note
    assert last.state is not None
    assert last.picture is not None
    assert last.state.latents.values.tobytes() == values.tobytes()
    assert np.array_equal(last.picture, engine.editing.draw(there))


def test_a_recipe_of_another_shape_is_refused(engine: Engine) -> None:
    state, _ = engine.editing.start_picture("tiny-gan", 3)
    wide = replace(state.latents, values=np.zeros((1, 99), np.float32))
    recipe = engine.editing.recipe(replace(state, latents=wide))
    with pytest.raises(BadRequestError, match="is not one of"):
        engine.editing.load("", recipe)


def test_a_caller_can_stop_its_own_edit(engine: Engine) -> None:
    state, _ = engine.editing.start_picture("tiny-gan", 3)
    cancel = Cancel()
    frames = engine.editing.edit(state, request(Shift(0.2), steps=5000), cancel)
    next(frames)
    cancel.set()
    with pytest.raises(Cancelled):
        list(frames)


def test_units_of_another_model_are_refused(engine: Engine, tmp_path: Path) -> None:
    page = opened(engine).page
    other = UnitChoice("units", units=(Unit("planted-gan", "fine", 0),))
    engine.editing.ask(page, request(Mirror(), choice=other))
    now = ended(engine, page)
    assert now.state == "failed"
    assert "cannot be edited" in now.message
