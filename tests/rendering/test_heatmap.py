from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from rosetta_ui.rendering.colormap import table
from rosetta_ui.rendering.heatmap import coloured, normalised, overlay, png, resized, strip


def grey(height: int = 40, width: int = 60, shade: int = 100) -> np.ndarray:
    return np.full((height, width, 3), shade, np.uint8)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((4, 4), (16, 16)),
        ((7, 5), (13, 30)),
        ((16, 16), (7, 9)),
        ((1, 3), (5, 5)),
        ((8, 8), (8, 8)),
    ],
)
def test_resampling_is_torchs_bilinear(source: tuple[int, int], target: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(size=source)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(values)[None, None], size=target, mode="bilinear", align_corners=False
    )
    assert np.allclose(resized(values, target), expected[0, 0].numpy(), atol=1e-12)


def test_a_constant_map_stays_constant_at_any_size() -> None:
    assert np.allclose(resized(np.full((3, 5), 2.5), (41, 17)), 2.5)


def test_low_is_clear_and_high_is_as_opaque_as_asked() -> None:
    picture = grey()
    clear = overlay(picture, np.zeros((4, 4)), 0.0, 1.0)
    assert np.array_equal(clear, picture)
    full = overlay(picture, np.ones((4, 4)), 0.0, 1.0, opacity=1.0)
    assert (full == table()[-1]).all()
    half = overlay(picture, np.ones((4, 4)), 0.0, 1.0, opacity=0.5)
    assert np.abs(half.astype(float) - (picture + table()[-1].astype(float)) / 2).max() <= 0.5


def test_the_map_lies_where_it_was_active() -> None:
    values = np.zeros((4, 6))
    values[0, 5] = 1.0
    shown = overlay(grey(), values, 0.0, 1.0).astype(int)
    change = np.abs(shown - 100).sum(-1)
    y, x = np.unravel_index(change.argmax(), change.shape)
    assert y < 10
    assert x >= 50
    assert change[20:, :30].max() == 0


def test_normalising_clips_and_survives_a_flat_range() -> None:
    values = np.array([[-1.0, 0.0], [0.5, 9.0]])
    assert normalised(values, 0.0, 1.0).tolist() == [[0, 0], [0.5, 1]]
    assert normalised(values, 1.0, 1.0).tolist() == [[0, 0], [0, 0]]
    assert normalised(values, 2.0, 1.0).tolist() == [[0, 0], [0, 0]]


def test_colours_are_the_tables_own() -> None:
    shown = coloured(np.array([[0.0, 1.0, 0.5]]))
    assert np.array_equal(shown[0], table()[[0, 255, 128]])


def test_a_strip_has_every_picture_at_one_height() -> None:
    sheet = strip([grey(40, 60, 10), grey(20, 20, 200)], ["first", "a very long caption " * 5])
    assert sheet.shape == (40 + 18, 60 + 6 + 40, 3)
    assert (sheet[18:, :60] == 10).all()
    assert (sheet[18:, 66:] == 200).all()
    assert sheet[:18].min() < 100, "the captions are written"
    assert (sheet[:18, 60:66] == 255).all(), "and cut at their picture's width"
    assert strip([grey()]).shape == (40, 60, 3)


def test_a_png_gives_the_picture_back() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(picture)))), picture)
