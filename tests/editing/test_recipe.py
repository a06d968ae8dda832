"""Recipes keep everything, and what is no recipe is refused in words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from rosetta_ui.affine import STILL
from rosetta_ui.editing.recipe import edit_json, edit_of, recipe_json, recipe_numbers, recipe_state
from rosetta_ui.edits import (
    Blend,
    Edit,
    EditNumbers,
    EditSettings,
    EditStep,
    Mirror,
    Paste,
    PictureState,
    Region,
    Rotate,
    Rung,
    Scale,
    Shift,
    Zoom,
)
from rosetta_ui.errors import BadRequestError
from rosetta_ui.types import Latents, Unit

EDITS: list[Edit] = [
    Shift(0.1, -0.2),
    Zoom(1.25, 0.4, 0.6),
    Rotate(-10),
    Mirror(),
    Scale(0.0),
    Blend(0.25),
    Scale(2.0, Region.box(0.1, 0.2, 0.3, 0.4)),
    Paste(Region(((0.1, 0.1), (0.4, 0.1), (0.2, 0.5))), 0.5, 0.5),
]

LADDER = (Rung(0.5, 0.1), Rung(1.0, 0.1))


FAR = [[1, 0, 1e9], [0, 1, 0]]
MOVED = ((0.8, 0.1, 0.05), (-0.1, 0.8, 0.25))


def state(steps: tuple[EditStep, ...] = ()) -> PictureState:
    values = np.random.default_rng(0).standard_normal((1, 3, 8)).astype(np.float32)
    start = Latents("z", values[:, 0], None, 0.7)
    end = Latents("w+", values, None, 0.7, MOVED)
    return PictureState("tiny-gan", 5, 0.7, None, start, end, steps)


def step(source: PictureState | None = None) -> EditStep:
    units = (Unit("tiny-gan", "act0", 1), Unit("tiny-gan", "act1", 3), Unit("tiny-gan", "act1", 4))
    return EditStep(
        tuple(EDITS),
        units,
        EditSettings("w+", 80, 0.05, 2, 0.1, 9, 64, 3, 0.5, True, 0.7, 1.5, True),
        source,
        LADDER,
        1,
    )


@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_every_edit_is_read_back_as_it_was(edit: Edit) -> None:
    assert edit_of(json.loads(json.dumps(edit_json(edit)))) == edit


def test_a_recipe_is_read_back_bit_for_bit() -> None:
    before = state((step(), step(state())))
    after = recipe_state(json.loads(json.dumps(recipe_json(before))))
    assert after.latents.values.tobytes() == before.latents.values.tobytes()
    assert after.start.values.tobytes() == before.start.values.tobytes()
    assert (after.start.moved, after.latents.moved) == (STILL, MOVED)
    assert after.steps[0] == before.steps[0]
    assert after.steps[1].source is not None
    assert (after.generator, after.seed, after.psi) == ("tiny-gan", 5, 0.7)


def damaged(**changes: Any) -> dict[str, Any]:
    return {**recipe_json(state((step(),))), **changes}


@pytest.mark.parametrize(
    "recipe",
    [
        None,
        "text",
        {},
        damaged(kind="other"),
        damaged(schema=3),
        damaged(generator=5),
        damaged(steps="none"),
        damaged(steps=[3]),
        damaged(steps=[{}]),
        damaged(psi=float("nan")),
        damaged(seed=1.5),
        damaged(latents=None),
        damaged(latents={"space": "z", "shape": [1, 4], "values": "!!"}),
        damaged(latents={"space": "z", "shape": [1, 4], "values": "AAAA"}),
        damaged(latents={"space": "z", "shape": [2**20, 2**20], "values": ""}),
        damaged(latents={"space": "z", "shape": [1, 1], "values": "AADAfw=="}),
        *(
            damaged(latents={"space": "z", "shape": [1, 1], "values": "AACAPw==", "moved": moved})
            for moved in (3, [[1, 0, 0]], [[1, 0, 0], [0, "1", 0]], [[1, 1, 0], [1, 1, 0]], FAR)
        ),
        damaged(latents={"space": "v", "shape": [1, 1], "values": "AAAAAA=="}),
    ],
    ids=lambda r: str(r)[:30],
)
def test_what_is_no_recipe_is_refused_in_words(recipe: Any) -> None:
    with pytest.raises(BadRequestError):
        recipe_state(recipe)


def test_copies_of_copies_have_an_end() -> None:
    deep = state()
    for _ in range(6):
        deep = state((step(deep),))
    with pytest.raises(BadRequestError, match="copies of copies"):
        recipe_state(recipe_json(deep))


def test_numbers_stay_with_their_recipe_and_what_is_unknown_stays_unknown() -> None:
    known = EditNumbers(0.58, 0.83, 0.7, 60.0, 40.0, 60.0, "dinov2-s")
    strength = EditNumbers(float("nan"), float("nan"), float("nan"), 60.0, 40.0, 60.0, "dinov2-s")
    before = state((step(), step()))
    kept = json.loads(json.dumps(recipe_json(before, [None, known]), allow_nan=False))
    assert recipe_numbers(kept) == known
    kept = json.loads(json.dumps(recipe_json(before, [known, strength]), allow_nan=False))
    found = recipe_numbers(kept)
    assert found is not None
    assert np.isnan(found.fidelity_after)
    assert found.realism_percentile == 60.0
    assert recipe_numbers(json.loads(json.dumps(recipe_json(before)))) is None


@pytest.mark.parametrize(
    "change",
    [
        {"ladder": "all"},
        {"ladder": [[1, 0]] * 17},
        {"ladder": [[1]]},
        {"ladder": [[1, 0]], "rung": 1},
        {"settings": {"space": "z", "steps": 5, "learning_rate": 0.1, "stages": 0}},
        {"settings": {"space": "z", "steps": 5, "learning_rate": 0.1, "natural": 1e6}},
        {"settings": {"space": "w+", "steps": 5, "learning_rate": 0.1, "coarse_first": 1}},
        {"settings": {"space": "z", "steps": 5, "learning_rate": 0.1, "keep": -1}},
    ],
)
def test_ladders_and_settings_out_of_range_are_refused(change: dict[str, Any]) -> None:
    kept = json.loads(json.dumps(recipe_json(state((step(),)))))
    kept["steps"][0].update(change)
    with pytest.raises(BadRequestError):
        recipe_state(kept)


def test_a_recipe_of_an_older_version_without_ladders_is_read() -> None:
    kept = json.loads(json.dumps(recipe_json(state((step(),)))))
    for name in ("ladder", "rung"):
        del kept["steps"][0][name]
    for name in ("natural", "stages", "band", "coarse_first", "colours", "keep", "early"):
        del kept["steps"][0]["settings"][name]
    kept["schema"] = 1
    for name in ("start", "latents"):
        del kept[name]["moved"]
    assert recipe_state(kept).latents.moved == STILL
    found = recipe_state(kept).steps[0]
    assert found.ladder == ()
    assert found.settings.stages == 1
    assert not found.settings.coarse_first
    assert not found.settings.early
    assert (found.settings.colours, found.settings.keep) == (0, 0)
