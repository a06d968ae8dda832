"""One edit from state to state on the tiny generators: frames, replay, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_edits import SETTINGS, after, last, load, step

from rosetta_ui.editing.session import EditBench, drawn, edit, replay, start_state
from rosetta_ui.editing.setup import EditSetup
from rosetta_ui.edits import (
    EditStep,
    Mirror,
    Paste,
    Region,
    Scale,
    Shift,
    Zoom,
)
from rosetta_ui.errors import BadRequestError, Cancelled, OptimisationDivergedError
from rosetta_ui.types import Unit


@pytest.mark.parametrize(
    "made", [Shift(0.2), Zoom(1.3), Mirror(), Scale(0.0), Paste(Region.box(0, 0, 0.5, 1), 0.5, 0)]
)
def test_every_kind_of_edit_gives_another_picture_and_its_state(
    bench: EditBench, made: object
) -> None:
    state = start_state(bench.generator, 1)
    frames = list(edit(bench, state, step(bench, made)))
    assert [f.step for f in frames[:-1]] == list(range(1, len(frames)))
    assert frames[-1].state is not None
    assert frames[-1].picture is not None
    assert frames[-1].picture.shape == (32, 32, 3)
    assert not frames[-1].preview
    assert not np.array_equal(frames[-1].state.latents.values, state.latents.values)
    assert state.steps == ()


def test_a_replay_is_the_same_to_the_last_bit(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    state = after(bench, state, step(bench, Shift(0.2, 0.1)))
    state = after(bench, state, step(bench, Zoom(1.2), restarts=3))
    again = last(replay(bench, state)).state
    assert again is not None
    assert again.latents.values.tobytes() == state.latents.values.tobytes()


def test_setup_survives_a_cache(bench: EditBench) -> None:
    setup = EditSetup.from_arrays(bench.setup.arrays(), bench.generator.device)
    state = start_state(bench.generator, 2)
    made = step(bench, Shift(0.2))
    one = after(bench, state, made)
    two = after(replace(bench, setup=setup), state, made)
    assert one.latents.values.tobytes() == two.latents.values.tobytes()


def test_more_restarts_are_never_worse(bench: EditBench) -> None:
    state = start_state(bench.generator, 4)
    one = last(edit(bench, state, step(bench, Shift(0.3))))
    many = last(edit(bench, state, step(bench, Shift(0.3), restarts=6)))
    assert many.loss <= one.loss + 1e-6


def test_stop_is_heard_inside_the_forward_pass(bench: EditBench) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 10:
            raise Cancelled

    state = start_state(bench.generator, 1)
    with pytest.raises(Cancelled):
        list(edit(bench, state, step(bench, Shift(0.2), steps=500), check))


def test_what_cannot_be_edited_is_refused_in_words(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    for made in (
        step(bench),
        step(bench, Shift(1.5)),
        step(bench, Zoom(3.0)),
        step(bench, Shift(0.1), space="w+"),
        EditStep((Shift(0.1),), (), SETTINGS),
        EditStep((Shift(0.1),), (Unit("other", "act0", 0),), SETTINGS),
        EditStep((Shift(0.1),), (Unit("tiny-gan", "act0", 99),), SETTINGS),
    ):
        with pytest.raises(BadRequestError):
            list(edit(bench, state, made))


def test_a_loss_that_is_not_finite_is_said_and_the_state_stays(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    far = replace(state, latents=replace(state.latents, values=state.latents.values * np.inf))
    with pytest.raises(OptimisationDivergedError):
        list(edit(bench, far, step(bench, Shift(0.1))))


def test_a_picture_that_is_not_finite_is_refused_in_words(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    far = np.where(state.latents.values > 0, np.float32(3e38), np.float32(-3e38))
    with pytest.raises(BadRequestError, match="so far out"):
        drawn(bench.generator, replace(state.latents, values=far))


def test_a_region_of_one_pixel_is_an_edit(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    dot = Region.box(0.5, 0.5, 0.501, 0.501)
    assert after(bench, state, step(bench, Scale(3.0, dot))).steps


def test_classes_are_kept() -> None:
    generator = load("tiny-class-gan")
    bench = EditBench(generator, EditSetup.fit(generator, 1.0, 2))
    state = start_state(generator, 1, 2)
    assert after(bench, state, step(bench, Mirror())).class_index == 2
    with pytest.raises(BadRequestError):
        start_state(generator, 1, 3)
