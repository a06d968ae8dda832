"""Concepts in words, from maps and pictures whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from rosetta_ui.matching.labels import (
    activity_of,
    colour_name,
    describe,
    favoured,
    picture_cells,
)


def scene(colour: tuple[int, int, int], box: tuple[slice, slice], n: int = 6, side: int = 64):
    """Pictures whose box has a colour before grey grounds, and the maps that cover the box."""
    rng = np.random.default_rng(3)
    pictures, maps = [], np.zeros((n, 16, 16), np.uint8)
    scale = side // 16
    for at in range(n):
        picture = np.full((side, side, 3), rng.integers(110, 140), np.uint8)
        rows, columns = (slice(s.start * scale, s.stop * scale) for s in box)
        picture[rows, columns] = colour
        maps[at][box] = 240
        pictures.append(picture)
    return maps, picture_cells(pictures)


def test_place_size_and_colour_of_what_is_covered_are_told() -> None:
    label = describe(*scene((20, 60, 200), (slice(1, 4), slice(1, 4))))
    assert (label.place, label.size) == ("top left", "small")
    assert label.colour in ("blue", "dark blue")
    assert label.covers == pytest.approx(9 / 256)
    assert (label.x, label.y) == pytest.approx((2.5 / 16, 2.5 / 16))
    assert label.text == f"top left, small, {label.colour}"


def test_a_large_light_thing_is_lighter_than_the_rest() -> None:
    label = describe(*scene((250, 250, 250), (slice(4, 16), slice(2, 14))))
    assert (label.size, label.colour, label.against) == ("large", "white", "lighter than the rest")


def test_no_colour_is_told_where_it_is_that_of_the_rest() -> None:
    maps, _ = scene((0, 0, 0), (slice(6, 10), slice(6, 10)))
    plain = picture_cells([np.full((64, 64, 3), 90, np.uint8)] * len(maps))
    assert (describe(maps, plain).colour, describe(maps, plain).against) == ("", "")


def test_no_place_is_told_where_it_changes_from_image_to_image() -> None:
    maps = np.zeros((4, 16, 16), np.uint8)
    for at, (y, x) in enumerate([(1, 1), (1, 13), (13, 1), (13, 13)]):
        maps[at, y : y + 2, x : x + 2] = 200
    label = describe(maps, picture_cells([np.zeros((16, 16, 3), np.uint8)] * 4))
    assert label.place == ""
    assert label.text == "small"


def test_a_flat_map_covers_nothing_and_is_no_error() -> None:
    flat = np.full((3, 16, 16), 7, np.uint8)
    label = describe(flat, picture_cells([np.zeros((5, 9, 3), np.uint8)] * 3))
    assert (label.covers, label.size, label.colour) == (0, "small", "")


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((0, 0, 0), "black"),
        ((255, 255, 255), "white"),
        ((128, 128, 128), "grey"),
        ((220, 30, 30), "red"),
        ((30, 160, 60), "green"),
        ((30, 60, 220), "blue"),
        ((250, 220, 40), "light yellow"),
        ((90, 55, 30), "dark brown"),
        ((225, 180, 150), "beige"),
        ((150, 60, 190), "purple"),
    ],
)
def test_colours_have_their_usual_names(rgb: tuple[int, int, int], name: str) -> None:
    picture = np.full((16, 16, 3), rgb, np.uint8)
    assert colour_name(picture_cells([picture])[0, 0, 0]) == name


def test_cells_of_uneven_pictures_average_all_their_pixels() -> None:
    picture = np.zeros((50, 33, 3), np.uint8)
    picture[:, 20:] = 255
    cells = picture_cells([picture])[0, ..., 0]
    assert cells.shape == (16, 16)
    assert (np.diff(cells[0]) >= -1e-6).all()
    assert cells[0, 0] == 0
    assert cells[0, -1] == pytest.approx(1, abs=1e-5)


def test_the_class_that_goes_with_a_concept_is_found_and_no_other() -> None:
    rng = np.random.default_rng(0)
    activity = rng.normal(size=48)
    logits = rng.normal(size=(48, 1000))
    names = [f"class {at}, other name" for at in range(1000)]
    assert favoured(activity, logits, "net", names) == []  # a thousand classes, all by chance
    logits[:, 207] = 3 * activity + 0.5 * rng.normal(size=48)
    (found,) = favoured(activity, logits, "net", names)
    assert (found.backbone, found.name) == ("net", "class 207")
    assert found.r == pytest.approx(np.corrcoef(activity, logits[:, 207])[0, 1])
    assert found.r > found.chance > 0


def test_a_class_that_is_likely_in_no_picture_is_not_named() -> None:
    rng = np.random.default_rng(1)
    activity = rng.normal(size=48)
    logits = rng.normal(size=(48, 1000))
    logits[:, 207] = activity - 20  # it goes with the concept, and never comes near to the others
    assert favoured(activity, logits, "net", [str(at) for at in range(1000)]) == []


def test_few_images_or_none_that_vary_name_no_class() -> None:
    logits = np.eye(7, 1000)
    assert favoured(np.arange(7.0), logits, "net", ["x"] * 1000) == []
    assert favoured(np.ones(32), np.ones((32, 1000)), "net", ["x"] * 1000) == []


def test_units_count_on_scales_of_their_own() -> None:
    maps = np.zeros((2, 3, 16, 16), np.uint8)
    maps[0, :] = np.array([10, 20, 30])[:, None, None]
    maps[1, :] = np.array([1, 3, 5])[:, None, None]
    activity = activity_of(maps)
    assert activity == pytest.approx(activity_of(maps[:1]), abs=1e-9)
    assert activity_of(np.zeros((1, 4, 16, 16), np.uint8)).tolist() == [0, 0, 0, 0]
