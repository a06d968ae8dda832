"""Affine maps of positions: composed, undone, and on the way."""

from __future__ import annotations

import math

import pytest

from rosetta_ui.affine import STILL, Affine, area, between, is_shift, shifted, then, undoing
from rosetta_ui.editing.targets import affine_of, whole_of
from rosetta_ui.edits import Mirror, Rotate, Shift, Zoom

TURNED = affine_of(Rotate(25, 0.3, 0.6))


def at(affine: Affine, x: float, y: float) -> tuple[float, float]:
    (a, b, c), (d, e, f) = affine
    return a * x + b * y + c, d * x + e * y + f


def near(one: Affine, other: Affine) -> bool:
    return all(
        math.isclose(x, y, abs_tol=1e-12)
        for row, to in zip(one, other, strict=True)
        for x, y in zip(row, to, strict=True)
    )


def test_what_moves_second_is_looked_up_first() -> None:
    zoomed = affine_of(Zoom(2.0))
    x, y = at(shifted(0.1, 0.0), *at(zoomed, 0.7, 0.2))
    assert at(then(shifted(0.1, 0.0), zoomed), 0.7, 0.2) == pytest.approx((x, y))
    assert not near(then(zoomed, shifted(0.1, 0.0)), then(shifted(0.1, 0.0), zoomed))
    assert near(whole_of([Shift(0.1), Zoom(2.0)]), then(shifted(0.1, 0.0), zoomed))
    assert whole_of([]) == STILL


@pytest.mark.parametrize("move", [Shift(0.2, -0.1), Zoom(1.7, 0.2, 0.9), Rotate(25), Mirror()])
def test_a_move_and_its_undoing_leave_everything_in_place(
    move: Shift | Zoom | Rotate | Mirror,
) -> None:
    affine = affine_of(move)
    assert near(then(affine, undoing(affine)), STILL)
    assert near(then(undoing(affine), affine), STILL)


def test_what_draws_a_picture_together_to_a_line_cannot_be_undone() -> None:
    with pytest.raises(ValueError, match="cannot be undone"):
        undoing(((1.0, 1.0, 0.0), (1.0, 1.0, 0.0)))


def test_only_shifts_are_shifts() -> None:
    assert is_shift(STILL)
    assert is_shift(then(shifted(0.3, 0.1), shifted(-0.1, 0.2)))
    assert not is_shift(TURNED)
    assert not is_shift(affine_of(Mirror()))


def test_on_the_way_entries_go_in_proportion() -> None:
    assert between(STILL, TURNED, 0.0) == STILL
    assert near(between(STILL, TURNED, 1.0), TURNED)
    assert near(between(STILL, shifted(0.4, -0.2), 0.25), shifted(0.1, -0.05))


@pytest.mark.parametrize("move", [Mirror(), Rotate(180)])
def test_on_the_way_nothing_becomes_a_line(move: Mirror | Rotate) -> None:
    there = affine_of(move)
    ways = [between(STILL, there, share / 20) for share in range(21)]
    assert (ways[0], ways[-1]) == (STILL, there)
    assert min(abs(area(way)) for way in ways) >= 0.25
