"""Ladders, small steps, natural starts and blends on the tiny generators."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_edits import RowsGenerator, after, climbed, last, step

from rosetta_ui.editing.blending import blended, slerp
from rosetta_ui.editing.course import Course
from rosetta_ui.editing.session import EditBench, edit, replay, start_state
from rosetta_ui.editing.setup import EditSetup
from rosetta_ui.edits import (
    Blend,
    Mirror,
    Paste,
    PictureState,
    Region,
    Rotate,
    Rung,
    Scale,
    Shift,
    Zoom,
    part_of,
)
from rosetta_ui.errors import BadRequestError

RUNGS = (Rung(0.5, 0.0), Rung(1.0, 0.0), Rung(1.0, 0.5))


def test_parts_of_an_edit_add_up_to_it() -> None:
    assert part_of(Shift(0.2, -0.1), 0.5) == Shift(0.1, -0.05)
    half = part_of(Zoom(1.44, 0.3, 0.4), 0.5)
    assert isinstance(half, Zoom)
    assert half.factor == pytest.approx(1.2)
    assert part_of(Rotate(20), 0.25) == Rotate(5)
    assert part_of(Scale(0.0), 0.5) == Scale(0.5)
    assert part_of(Mirror(), 0.1) == Mirror()


def test_every_rung_of_a_ladder_replays_to_the_last_bit(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    made = replace(step(bench, Shift(0.3)), ladder=RUNGS, rung=1)
    states = climbed(bench, state, made)
    values = [s.latents.values.tobytes() for s in states]
    assert len(set(values)) == 3
    for found in states:
        again = last(replay(bench, found)).state
        assert again is not None
        assert again.latents.values.tobytes() == found.latents.values.tobytes()


def test_a_weaker_rung_and_a_stronger_pull_stay_nearer(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    made = replace(step(bench, Shift(0.3), steps=60), ladder=RUNGS, rung=1)
    start = state.latents.values
    half, whole, pulled = (
        float(np.linalg.norm(s.latents.values - start)) for s in climbed(bench, state, made)
    )
    assert pulled < whole
    assert half < whole


def test_small_steps_use_all_steps_and_end_at_the_whole_target(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    frames = list(edit(bench, state, step(bench, Shift(0.3), steps=22, stages=4)))
    assert [f.step for f in frames[:-1]] == list(range(1, 23))
    slow = last(edit(bench, state, step(bench, Shift(0.3), steps=80, stages=4)))
    plain = last(edit(bench, state, step(bench, Shift(0.3), steps=80)))
    assert slow.loss < 0.5 * plain.loss  # the whole target was asked for in the end
    assert slow.loss != plain.loss


def test_natural_starts_are_never_worse_and_always_the_same(bench: EditBench) -> None:
    state = start_state(bench.generator, 4)
    one = last(edit(bench, state, step(bench, Shift(0.3))))
    made = step(bench, Shift(0.3), restarts=4, natural=64)
    many = last(edit(bench, state, made))
    assert many.loss <= one.loss + 1e-6
    again = after(bench, state, made)
    assert many.state is not None
    assert many.state.latents.values.tobytes() == again.latents.values.tobytes()


def test_a_band_lets_the_norm_move_within_it(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    size = state.latents.values.shape[1]
    found = after(bench, state, step(bench, Shift(0.3), steps=60, band=1.0))
    share = (2 / size) ** 0.5
    square = float(np.square(found.latents.values).mean())
    own = float(np.square(state.latents.values).mean())
    assert min(own, 1 - share) - 1e-4 <= square <= max(own, 1 + share) + 1e-4


def colours_off(bench: EditBench, state: PictureState, found: PictureState) -> float:
    """Mean squared difference from the picture moved a quarter to the right, where it is known."""
    step = bench.generator.card.image_size[1] // 4
    was, now = (bench.generator.synthesise(s.latents) for s in (state, found))
    return float((was[..., :-step] - now[..., step:]).square().mean())


def test_colours_that_move_too_keep_the_picture(bench: EditBench) -> None:
    for seed in (1, 3, 5):
        state = start_state(bench.generator, seed)
        plain, coloured = (
            after(bench, state, step(bench, Shift(0.25), steps=80, colours=weight))
            for weight in (0.0, 1000.0)  # its pictures are all of nearly one colour
        )
        assert colours_off(bench, state, coloured) < 0.95 * colours_off(bench, state, plain)


def test_colours_are_not_asked_for_where_a_neurons_strength_changes(bench: EditBench) -> None:
    state = start_state(bench.generator, 1)
    plain, coloured = (
        after(bench, state, step(bench, Scale(2.0), steps=20, colours=weight))
        for weight in (0.0, 3.0)
    )
    assert np.array_equal(plain.latents.values, coloured.latents.values)


def test_where_strength_changes_in_a_region_the_picture_stays_elsewhere(bench: EditBench) -> None:
    left = Region.box(0.0, 0.0, 0.5, 1.0)
    half = bench.generator.card.image_size[1] // 2
    for seed in (1, 3, 5):
        state = start_state(bench.generator, seed)
        before = bench.generator.synthesise(state.latents)[..., half:]
        free, kept = (
            float((bench.generator.synthesise(found.latents)[..., half:] - before).square().mean())
            for found in (
                after(bench, state, step(bench, Scale(0.0, left), steps=60, colours=weight))
                for weight in (0.0, 1000.0)  # its pictures are all of nearly one colour
            )
        )
        assert kept < 0.5 * free


def test_colours_come_from_the_picture_that_is_copied_from(bench: EditBench) -> None:
    state, other = start_state(bench.generator, 1), start_state(bench.generator, 9)
    box = Region(((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)))
    made = step(bench, Paste(box, 0.0, 0.0), steps=120, colours=3.0)
    half = bench.generator.card.image_size[1] // 2
    errors: list[float] = []
    for source in (None, other):
        found = after(bench, state, replace(made, source=source))
        left = [bench.generator.synthesise(s.latents)[0, :, :, :half] for s in (other, found)]
        errors.append(float((left[0] - left[1]).square().mean()))
    assert errors[1] < 0.5 * errors[0]


@pytest.fixture(scope="module")
def rows_bench() -> EditBench:
    generator = RowsGenerator()
    return EditBench(generator, EditSetup.fit(generator, 1.0, None))


def moving_rows(course: Course, stage: int, at_step: int) -> tuple[list[bool], float]:
    """Which rows of w+ have a gradient, and the loss."""
    at = course.origin().requires_grad_()
    loss = course.problem(stage)(at, at_step)["maps"].sum()
    loss.backward()
    assert at.grad is not None
    return (at.grad[0].abs().sum(1) > 0).tolist(), float(loss.detach())


def test_early_layers_move_first_and_all_of_them_in_the_second_half(rows_bench: EditBench) -> None:
    state = start_state(rows_bench.generator, 1)

    def course(**changes: object) -> Course:
        made = step(rows_bench, Shift(0.3), space="w+", steps=40, **changes)
        return Course(rows_bench.generator, rows_bench.setup, state, made, lambda: None)

    one, plain = course(coarse_first=True), course()
    found = [moving_rows(one, 0, at) for at in (0, 8, 14, 20)]
    assert [sum(rows) for rows, _ in found] == [1, 2, 3, 4]
    assert all(rows == sorted(rows, reverse=True) for rows, _ in found)  # the first ones
    assert found[0][1] == moving_rows(plain, 0, 0)[1]  # what is asked for is the same
    assert moving_rows(plain, 0, 0)[0] == [True] * 4
    parts = course(coarse_first=True, stages=4)
    assert [sum(moving_rows(parts, i, 0)[0]) for i in range(4)] == [1, 2, 4, 4]


def test_early_layers_first_moves_them_further_and_replays(rows_bench: EditBench) -> None:
    state = start_state(rows_bench.generator, 1)
    made = step(rows_bench, Shift(0.3), space="w+", steps=40, learning_rate=0.02, coarse_first=True)
    found = after(rows_bench, state, made)
    moved = np.linalg.norm(found.latents.values[0] - state.latents.values, axis=1)
    assert (np.diff(moved) < 0).all()
    again = last(replay(rows_bench, found)).state
    assert again is not None
    assert again.latents.values.tobytes() == found.latents.values.tobytes()


def test_a_blend_goes_from_one_picture_to_the_other(bench: EditBench) -> None:
    one, other = start_state(bench.generator, 1), start_state(bench.generator, 2)
    for share, end in ((0.0, one), (1.0, other)):
        values = blended(bench.generator, one, other, share).values
        assert np.allclose(values, end.latents.values, atol=1e-5)
    made = replace(step(bench, Blend(0.5)), source=other)
    found = after(bench, one, made)
    norms = [float(np.linalg.norm(s.latents.values)) for s in (one, found, other)]
    assert norms[1] == pytest.approx((norms[0] + norms[2]) / 2, rel=1e-4)
    again = last(replay(bench, found)).state
    assert again is not None
    assert again.latents.values.tobytes() == found.latents.values.tobytes()


def test_a_blend_that_cannot_be_is_refused_in_words(bench: EditBench) -> None:
    one, other = start_state(bench.generator, 1), start_state(bench.generator, 2)
    for made in (
        step(bench, Blend(0.5)),
        replace(step(bench, Blend(1.5)), source=other),
        replace(step(bench, Blend(0.5), Shift(0.1)), source=other),
        replace(step(bench, Blend(0.5)), source=replace(other, generator="planted-gan")),
        replace(step(bench, Blend(0.5)), source=replace(other, class_index=2)),
    ):
        with pytest.raises(BadRequestError):
            list(edit(bench, one, made))


def test_directions_that_are_equal_or_opposite_stay_finite() -> None:
    z = torch.eye(3)[:1]
    assert torch.allclose(slerp(z, 2 * z, 0.5), 1.5 * z)
    assert slerp(z, -z, 0.25).isfinite().all()


def test_a_copy_from_another_picture_replays(bench: EditBench) -> None:
    one, other = start_state(bench.generator, 1), start_state(bench.generator, 2)
    box = Paste(Region.box(0, 0, 0.5, 1), 0.5, 0)
    found = after(bench, one, replace(step(bench, box), source=other))
    again = last(replay(bench, found)).state
    assert again is not None
    assert again.latents.values.tobytes() == found.latents.values.tobytes()
