from __future__ import annotations

import json

import numpy as np

from rosetta_ui.rendering.colormap import (
    css_gradient,
    even_curve,
    oklab_to_rgb,
    rgb_to_oklab,
    table,
    table_json,
)


def test_neighbouring_colours_are_equally_far_apart() -> None:
    steps = np.linalg.norm(np.diff(even_curve(256), axis=0), axis=1)
    assert steps.max() / steps.min() < 1.001
    # As displayed, in whole numbers: rounding to 8 bits is all that is left.
    shown = rgb_to_oklab(table() / 255)
    coarse = np.linalg.norm(shown[16:] - shown[:-16], axis=1)
    assert coarse.max() / coarse.min() < 1.1


def test_lightness_only_rises() -> None:
    assert (np.diff(even_curve(256)[:, 0]) > 0).all()
    luma = table() @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luma) > -0.5).all()
    assert luma[0] < 12
    assert luma[-1] > 240


def test_every_colour_can_be_displayed_without_clipping() -> None:
    rgb = oklab_to_rgb(even_curve(256))
    assert rgb.min() >= 0
    assert rgb.max() <= 1


def test_oklab_agrees_with_its_published_examples() -> None:
    white, red, blue = (
        rgb_to_oklab(np.array(rgb, float)) for rgb in ([1, 1, 1], [1, 0, 0], [0, 0, 1])
    )
    assert np.allclose(white, [1, 0, 0], atol=1e-3)
    assert np.allclose(red, [0.62796, 0.22486, 0.12585], atol=1e-4)
    assert np.allclose(blue, [0.45201, -0.03246, -0.31153], atol=1e-4)
    colours = np.random.default_rng(0).uniform(0, 1, (100, 3))
    assert np.allclose(oklab_to_rgb(rgb_to_oklab(colours)), colours, atol=1e-6)


def test_the_page_gets_the_same_table() -> None:
    assert np.array_equal(np.reshape(json.loads(table_json()), (256, 3)), table())
    assert table().dtype == np.uint8
    assert not table().flags.writeable
    first, last = table()[0], table()[-1]
    gradient = css_gradient(2)
    assert "#{:02x}{:02x}{:02x}".format(*first) in gradient
    assert "#{:02x}{:02x}{:02x}".format(*last) in gradient
