"""Targets of edits: exact where they can be, close where they interpolate."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rosetta_ui.editing.targets import affine_of, mask_of, paste, scale, valid, warp
from rosetta_ui.edits import Edit, Mirror, Paste, Region, Rotate, Scale, Shift, Zoom
from rosetta_ui.errors import BadRequestError


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def smooth(size: int = 32) -> Tensor:
    """Two broad bumps that vanish at the border."""
    at = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    y, x = torch.meshgrid(at, at, indexing="ij")
    one = torch.exp(-((x - 0.45) ** 2 + (y - 0.55) ** 2) / 0.02)
    two = torch.exp(-((x - 0.6) ** 2 + (y - 0.4) ** 2) / 0.01)
    return torch.stack([one, two])


def test_a_shift_by_whole_cells_moves_cells() -> None:
    maps = noise(3, 8, 16)
    moved = warp(maps, affine_of(Shift(3 / 16, -2 / 8)))
    assert torch.allclose(moved[:, :6, 3:], maps[:, 2:, :13], atol=1e-12)
    assert moved[:, :, :3].abs().max() < 1e-12
    assert moved[:, 6:].abs().max() < 1e-12


def test_a_shift_by_whole_cells_and_back_is_identity_inside_the_frame() -> None:
    maps = noise(3, 8, 8)
    back = warp(warp(maps, affine_of(Shift(0.25, 0.125))), affine_of(Shift(-0.25, -0.125)))
    assert torch.allclose(back[:, :7, :6], maps[:, :7, :6], atol=1e-12)


# Bilinear sampling lowers a bump's top by at most curvature / 8 an axis, 2/0.01/64²/8 = 0.006;
# four times (two axes, two passes); halving samples every second cell, so four times that.
@pytest.mark.parametrize(
    ("there", "back"),
    [
        (Shift(0.07, -0.05), Shift(-0.07, 0.05)),
        (Zoom(1.25, 0.4, 0.6), Zoom(0.8, 0.4, 0.6)),
        (Zoom(0.5), Zoom(2.0)),
        (Rotate(20), Rotate(-20)),
        (Mirror(), Mirror()),
    ],
)
def test_an_edit_and_its_inverse_give_a_smooth_map_back(there: Edit, back: Edit) -> None:
    maps = smooth(64)
    again = warp(warp(maps, affine_of(there)), affine_of(back))
    assert (again - maps).abs().max() < (0.1 if there == Zoom(0.5) else 0.025)


def test_zooming_keeps_its_point_and_enlarges() -> None:
    maps = smooth(64)
    zoomed = warp(maps, affine_of(Zoom(2.0, 0.45, 0.55)))
    assert zoomed[0].argmax() == maps[0].argmax()
    assert zoomed[0].sum() > 3 * maps[0].sum()


def test_a_quarter_turn_is_clockwise() -> None:
    maps = noise(1, 8, 8)
    turned = warp(maps, affine_of(Rotate(90)))
    assert torch.allclose(turned, torch.rot90(maps, -1, (-2, -1)), atol=1e-9)


def test_a_mirror_reflects_exactly() -> None:
    maps = noise(2, 5, 7)
    assert torch.allclose(warp(maps, affine_of(Mirror())), maps.flip(-1), atol=1e-12)


def test_an_edit_means_the_same_on_every_grid() -> None:
    centre = [warp(smooth(n), affine_of(Shift(0.2, 0.1)))[0] for n in (16, 64)]
    for size, maps in zip((16, 64), centre, strict=True):
        at = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        assert float((maps.sum(0) * at).sum() / maps.sum()) == pytest.approx(0.65, abs=0.01)
        assert float((maps.sum(1) * at).sum() / maps.sum()) == pytest.approx(0.65, abs=0.01)


def test_cells_are_valid_where_the_whole_source_is_inside() -> None:
    assert valid((4, 4), affine_of(Shift(0.25, 0))).tolist() == [[False, True, True, True]] * 4
    assert valid((4, 4), affine_of(Shift(0.1, 0))).tolist() == [[False, True, True, True]] * 4
    assert valid((4, 4), affine_of(Zoom(2.0))).all()


def test_a_box_covers_the_cells_whose_centres_it_holds() -> None:
    mask = mask_of(Region.box(0.5, 0.0, 1.0, 0.5), (4, 4))
    assert mask.tolist() == [[False, False, True, True]] * 2 + [[False] * 4] * 2


def test_a_lasso_can_be_any_outline() -> None:
    triangle = Region(((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)))
    share = float(mask_of(triangle, (64, 64)).double().mean())
    assert share == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (256, 256)])
def test_a_region_of_one_pixel_is_one_cell(size: tuple[int, int]) -> None:
    assert int(mask_of(Region.box(0.999, 0.999, 1.0, 1.0), size).sum()) == 1


def test_pasting_changes_the_region_alone() -> None:
    onto, source = noise(2, 8, 8), noise(2, 8, 8) + 5
    result = paste(onto, source, Paste(Region.box(0.0, 0.0, 0.5, 0.5), 0.5, 0.5))
    assert torch.allclose(result[:, 4:, 4:], source[:, :4, :4], atol=1e-9)
    assert torch.equal(result[:, :4], onto[:, :4])
    assert torch.equal(result[:, 4:, :4], onto[:, 4:, :4])


def test_strength_zero_turns_a_unit_off_inside_its_region() -> None:
    maps = noise(2, 4, 4)
    off = scale(maps, Scale(0.0, Region.box(0, 0, 0.5, 1)))
    assert torch.equal(off[:, :, :2], maps[:, :, :2].clamp_max(0))  # none above its mean
    assert torch.equal(off[:, :, 2:], maps[:, :, 2:])
    assert torch.equal(scale(maps, Scale(1.0)), maps)
    twice = scale(maps, Scale(2.0))
    assert torch.equal(twice.clamp_min(0), 2 * maps.clamp_min(0))
    assert torch.equal(twice.clamp_max(0), maps.clamp_max(0))


@pytest.mark.parametrize("edit", [Shift(1.0), Shift(math.nan), Zoom(0.4), Zoom(3), Scale(2.0)])
def test_impossible_geometry_is_refused_in_a_sentence(edit: Edit) -> None:
    with pytest.raises(BadRequestError) as raised:
        affine_of(edit)
    assert raised.value.hint


def test_a_strength_out_of_range_is_refused() -> None:
    with pytest.raises(BadRequestError, match="strength of 9"):
        scale(noise(1, 2, 2), Scale(9))
