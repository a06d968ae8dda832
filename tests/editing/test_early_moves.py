"""Edits that move early maps: what they ask of the latent, and what later edits make of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_edits import after, climbed, last, load, step
from torch import Tensor

from rosetta_ui.affine import STILL, shifted, then
from rosetta_ui.editing.blending import blended
from rosetta_ui.editing.course import Course
from rosetta_ui.editing.edit import moved_targets
from rosetta_ui.editing.session import EditBench, edit, replay, start_state
from rosetta_ui.editing.setup import latent_settings, usual_settings
from rosetta_ui.editing.targets import affine_of
from rosetta_ui.edits import Blend, Mirror, Paste, PictureState, Region, Rung, Scale, Shift, Zoom
from rosetta_ui.errors import BadRequestError

QUARTER = Shift(0.25)  # two cells of the tiny generator's 8 px, eight pixels of its picture


def picture(bench: EditBench, state: PictureState) -> Tensor:
    return bench.generator.synthesise(state.latents)


def off(bench: EditBench, one: PictureState, other: PictureState, pixels: int) -> float:
    """Mean squared difference of a picture from another one moved right, away from edges."""
    was, now = picture(bench, one), picture(bench, other)
    return float(
        (was[..., 6:-6, 6 : -pixels - 6] - now[..., 6:-6, pixels + 6 : -6]).square().mean()
    )


def test_one_step_moves_the_maps_and_leaves_the_latent(bench: EditBench) -> None:
    for seed in range(4):
        state = start_state(bench.generator, seed)
        made = after(bench, state, step(bench, QUARTER, early=True, steps=1))
        assert made.latents.values.tobytes() == state.latents.values.tobytes()
        assert made.latents.moved == shifted(0.25, 0.0)
        assert off(bench, state, made, 8) < 0.1 * off(bench, state, state, 8)


def test_more_steps_let_the_latent_make_up_for_the_rest(bench: EditBench) -> None:
    state = start_state(bench.generator, 2)
    # The maps that are moved are the last that are asked for: only colours are left.
    asked = step(bench, Zoom(1.5), early=True, colours=100.0)
    one = last(edit(bench, state, replace(asked, settings=replace(asked.settings, steps=1))))
    many = last(edit(bench, state, asked))
    assert -1.0 < many.loss < one.loss - 0.01
    assert many.state is not None
    assert many.state.latents.values.tobytes() != state.latents.values.tobytes()


def test_a_second_move_adds_to_the_first(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    made = step(bench, Shift(0.125), early=True, steps=1)
    twice = after(bench, after(bench, state, made), made)
    once = after(bench, state, step(bench, QUARTER, early=True, steps=1))
    assert twice.latents.moved == once.latents.moved
    assert torch.equal(picture(bench, twice), picture(bench, once))
    there = after(bench, once, step(bench, Shift(-0.25), early=True, steps=1))
    assert torch.equal(picture(bench, there), picture(bench, state))


def test_other_edits_of_a_moved_picture_keep_it_moved(bench: EditBench) -> None:
    moved = after(bench, start_state(bench.generator, 1), step(bench, QUARTER, early=True, steps=1))
    plain = after(bench, moved, step(bench, Shift(0.1)))
    scaled = after(bench, moved, step(bench, Scale(2.0)))
    pasted = after(bench, moved, step(bench, Paste(Region.box(0, 0, 0.5, 0.5), 0.4, 0.4)))
    assert {s.latents.moved for s in (plain, scaled, pasted)} == {shifted(0.25, 0.0)}
    assert plain.latents.values.tobytes() != moved.latents.values.tobytes()


def test_edits_that_do_more_than_move_are_refused(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    with pytest.raises(BadRequestError, match="does more than that"):
        last(edit(bench, state, step(bench, QUARTER, Scale(0.5), early=True)))


def test_every_rung_moves_its_own_share_and_replays(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    rungs = (Rung(0.5, 0.0), Rung(1.0, 0.0))
    made = replace(step(bench, QUARTER, early=True, steps=3), ladder=rungs, rung=1)
    half, whole = climbed(bench, state, made)
    assert (half.latents.moved, whole.latents.moved) == (shifted(0.125, 0.0), shifted(0.25, 0.0))
    for found in (half, whole):
        again = last(replay(bench, found)).state
        assert again is not None
        assert again.latents.moved == found.latents.moved
        assert again.latents.values.tobytes() == found.latents.values.tobytes()


def test_small_steps_move_the_maps_a_part_at_a_time(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    made = step(bench, Shift(0.5), early=True, steps=4, stages=2)
    course = Course(bench.generator, bench.setup, state, made, lambda: None)
    at = course.origin()
    # Each part begins where its maps are moved to, and as much is asked: nothing is left to do.
    for stage in range(course.stages):
        assert float(course.problem(stage)(at, 0)["maps"]) < -0.9
    assert course.where.moved == (shifted(0.5, 0.0),)


def test_layers_before_the_moved_ones_keep_what_they_hold(bench: EditBench) -> None:
    maps = {"early": torch.randn(1, 2, 4, 4), "late": torch.randn(1, 2, 8, 8)}
    found = moved_targets(maps, {"early": STILL, "late": shifted(0.25, 0.0)})
    assert torch.allclose(found["early"].maps, maps["early"], atol=1e-6)
    assert bool((found["early"].mask == 1).all())
    assert torch.allclose(found["late"].maps[..., 2:], maps["late"][..., :-2], atol=1e-5)
    assert found["late"].mask[0].tolist() == [0, 0, 1, 1, 1, 1, 1, 1]


def test_a_film_between_moves_goes_half_way(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    moved = after(bench, state, step(bench, QUARTER, early=True, steps=1))
    half = blended(bench.generator, state, moved, 0.5)
    assert half.moved == shifted(0.125, 0.0)
    assert np.allclose(half.values, state.latents.values, atol=1e-6)


def test_half_way_to_a_mirror_image_is_the_nearer_of_both(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    mirrored = after(bench, state, step(bench, Mirror(), early=True, steps=1))
    for share, near in ((0.25, state), (0.5, mirrored), (0.75, mirrored)):
        found = blended(bench.generator, state, mirrored, share)
        assert found.moved == near.latents.moved
    half = after(bench, state, replace(step(bench, Blend(0.5)), source=mirrored))
    assert after(bench, half, step(bench, QUARTER, early=True, steps=1)).latents.moved != STILL


def test_moves_that_leave_nothing_of_the_picture_are_refused(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    twice = step(bench, Zoom(2.0), early=True, steps=1)
    large = after(bench, after(bench, state, twice), twice)
    with pytest.raises(BadRequestError, match="4 times larger"):
        after(bench, large, step(bench, Zoom(1.1), early=True, steps=1))
    far = step(bench, Shift(0.6), early=True, steps=1)
    with pytest.raises(BadRequestError, match="leaves nothing in the frame"):
        after(bench, after(bench, state, far), far)


def test_moves_that_early_maps_do_best_are_theirs_by_default() -> None:
    z_only = load("tiny-gan").card
    styled = replace(z_only, spaces=("z", "w", "w+"))
    for card, edits, early in (
        (z_only, [Shift(0.1)], True),
        (z_only, [Zoom(1.2)], False),
        (z_only, [Shift(0.1), Mirror()], True),
        (styled, [Zoom(1.2), Mirror()], True),
        (styled, [Shift(0.1), Scale(0.0)], False),
        (styled, [], False),
    ):
        settings = usual_settings(card, edits)
        assert settings.early is early
        assert (settings.steps == 1) is early
        assert not latent_settings(card, edits).early


def test_a_mirror_of_a_moved_picture_is_mirrored_about_the_middle_of_what_is_seen(
    bench: EditBench,
) -> None:
    state = start_state(bench.generator, 1)
    moved = after(bench, state, step(bench, QUARTER, early=True, steps=1))
    mirrored = after(bench, moved, step(bench, Mirror(), early=True, steps=1))
    assert mirrored.latents.moved == then(shifted(0.25, 0.0), affine_of(Mirror()))
