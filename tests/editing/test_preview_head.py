"""The cheap head that draws previews: how far it is off is what held-out pictures show."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tiny_edits import SlowGenerator, load, step
from torch.nn import functional

from rosetta_ui.editing.drawer import Drawer
from rosetta_ui.editing.latents import PRIOR_SEED, natural_z
from rosetta_ui.editing.preview_head import FIT_PICTURES, TEST_PICTURES, PreviewHead
from rosetta_ui.editing.session import EditBench, edit, start_state
from rosetta_ui.editing.setup import EditSetup
from rosetta_ui.edits import Shift


@pytest.fixture(scope="module")
def slow() -> SlowGenerator:
    return SlowGenerator()


@pytest.fixture(scope="module")
def head(slow: SlowGenerator) -> PreviewHead:
    found = PreviewHead.fit(slow, 1.0, None)
    assert found is not None
    return found


def off(head: PreviewHead, slow: SlowGenerator, indices: range, seed: int) -> float:
    """Root mean square difference from full pictures made as small, in [0, 1]."""
    squares: list[float] = []
    for i in indices:
        z = natural_z(slow, range(i, i + 1), seed)
        with torch.no_grad():
            small = functional.interpolate(slow.synthesise_from(z, "z"), size=(16, 16), mode="area")
            seen, _ = Drawer(slow, (), True, head).draw(z, "z")
            assert seen is not None
        assert seen.shape == (1, 3, 16, 16)
        squares.append(float((seen - small).div(2).square().mean()))
    return math.sqrt(sum(squares) / len(squares))


def test_a_quick_generator_needs_no_head() -> None:
    assert PreviewHead.wanted(load("tiny-gan")) is None
    assert PreviewHead.fit(load("tiny-gan"), 1.0, None) is None


def test_its_error_is_measured_on_pictures_that_it_was_not_fitted_on(
    head: PreviewHead, slow: SlowGenerator
) -> None:
    held_out = range(FIT_PICTURES, FIT_PICTURES + TEST_PICTURES)
    assert head.error == pytest.approx(off(head, slow, held_out, PRIOR_SEED - 2), rel=1e-3)
    # Other pictures of the generator are as far off, and a head that knows nothing is further.
    assert 0.5 < off(head, slow, range(64), 5) / head.error < 2
    blind = replace(head, weight=torch.zeros_like(head.weight))
    assert head.error < 0.7 * off(blind, slow, range(64), 5)


def test_it_survives_a_cache(head: PreviewHead, slow: SlowGenerator) -> None:
    again = PreviewHead.from_arrays(head.layer, head.arrays(), slow.device)
    assert again.error == head.error
    assert torch.equal(again.weight, head.weight)


def test_frames_of_a_slow_generator_are_small_and_say_how_far_off_they_are(
    head: PreviewHead, slow: SlowGenerator
) -> None:
    bench = EditBench(slow, EditSetup.fit(slow, 1.0, None), head)
    *frames, final = edit(bench, start_state(slow, 1), step(bench, Shift(0.2)))
    shown = [frame for frame in frames if frame.picture is not None]
    assert shown
    for frame in shown:
        assert frame.picture is not None
        assert frame.picture.shape == (16, 16, 3)
        assert (frame.preview, frame.error) == (True, head.error)
    assert final.picture is not None
    assert final.picture.shape == (32, 32, 3)
    assert not final.preview
    assert math.isnan(final.error)


def test_frames_of_a_quick_generator_are_exact(bench: EditBench) -> None:
    frames = edit(bench, start_state(bench.generator, 1), step(bench, Shift(0.2)))
    assert all(math.isnan(frame.error) for frame in frames)
