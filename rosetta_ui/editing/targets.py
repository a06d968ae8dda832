"""Targets: what the maps of an edited picture should look like. Pure functions on maps.

Maps are [units, H, W] or [n, units, H, W], standardised (zero mean, unit deviation over the data
set), so that a cell nothing is known about is 0, the unit's mean. Positions are fractions of width
and height, origin top left; a map of side H has its cell centres at (i + 0.5) / H, so every edit
means the same on every grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rosetta_ui.affine import STILL, Affine, area, shifted, then
from rosetta_ui.edits import Blend, Edit, Mirror, Paste, Region, Rotate, Scale, Shift, Zoom
from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.moving import sample

ZOOM_RANGE = (0.5, 2.0)
MOST_ENLARGED = 4.0
"""Of several moves together."""
SCALE_RANGE = (0.0, 4.0)


def affine_of(edit: Edit) -> Affine:
    """The geometry of an edit, as a map from positions of the result to positions of the source.

    Raises:
        BadRequestError: a shift of a whole frame or more, a zoom outside 0.5 to 2, or an edit
            without a geometry (`Scale`).
    """
    match edit:
        case Shift(dx, dy):
            if not (abs(dx) < 1 and abs(dy) < 1):
                raise BadRequestError(
                    f"A shift of ({dx:g}, {dy:g}) leaves nothing in the frame.",
                    "Give fractions of the width and height between -1 and 1.",
                )
            return shifted(dx, dy)
        case Zoom(factor, x, y):
            low, high = ZOOM_RANGE
            if not low <= factor <= high:
                raise BadRequestError(
                    f"A zoom of {factor:g} is out of range.", f"Give {low:g} to {high:g}."
                )
            keep = 1 / factor
            return (keep, 0.0, x * (1 - keep)), (0.0, keep, y * (1 - keep))
        case Rotate(degrees, x, y):
            # A clockwise turn of the picture looks the source up counter-clockwise; y points down.
            cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            return (cos, sin, x - cos * x - sin * y), (-sin, cos, y + sin * x - cos * y)
        case Mirror():
            return (-1.0, 0.0, 1.0), (0.0, 1.0, 0.0)
        case Paste(region, x, y):
            left, top, _, _ = region.bounds
            return shifted(x - left, y - top)
        case Scale() | Blend():
            raise BadRequestError("This change moves nothing.", "Give a shift or a zoom.")


def whole_of(edits: Sequence[Edit]) -> Affine:
    """Several moves as one; raises as `affine_of` does."""
    total = STILL
    for edit in edits:
        total = then(total, affine_of(edit))
    return total


def followed(before: Affine, edits: Sequence[Edit]) -> Affine:
    """How a picture is moved that was moved already.

    Raises:
        BadRequestError: an impossible edit, or nothing to look at would be left of the picture.
    """
    total = then(before, whole_of(edits))
    if not 1 / MOST_ENLARGED**2 <= abs(area(total)) <= MOST_ENLARGED**2:
        raise BadRequestError(
            f"With the moves before it, this one passes {MOST_ENLARGED:g} times larger or smaller.",
            "Undo some of them first.",
        )
    if not valid((32, 32), total).any():
        raise BadRequestError(
            "With the moves before it, this one leaves nothing in the frame.",
            "Undo some of them first.",
        )
    return total


def warp(maps: Tensor, affine: Affine) -> Tensor:
    """Sample maps at the sources of an affine map, bilinearly; outside the frame is 0.

    Args:
        maps: [units, H, W] or [n, units, H, W], any float dtype.
        affine: from `affine_of`.

    Returns:
        Same shape, dtype and device.
    """
    moved = sample(maps if maps.ndim == 4 else maps[None], [affine], edge="zeros")
    return moved if maps.ndim == 4 else moved[0]


def valid(size: tuple[int, int], affine: Affine) -> Tensor:
    """Cells of the result whose whole bilinear source lies inside the frame: bool [H, W]."""
    inside = warp(torch.ones(1, *size, dtype=torch.float64), affine)[0]
    return inside >= 1 - 1e-6


def mask_of(region: Region, size: tuple[int, int]) -> Tensor:
    """Cells whose centre lies in a region: bool [H, W]; the nearest cell where none does.

    So a region of one pixel still edits one cell of every grid.
    """
    height, width = size
    xs = (torch.arange(width, dtype=torch.float64) + 0.5) / width
    ys = (torch.arange(height, dtype=torch.float64) + 0.5) / height
    inside = torch.zeros(height, width, dtype=torch.bool)
    corners = region.corners
    # Even-odd rule: a centre is inside when a ray to its right crosses the outline an odd number
    # of times.
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        if y0 == y1:
            continue
        spans = (ys >= min(y0, y1)) & (ys < max(y0, y1))
        crossing = x0 + (ys - y0) * (x1 - x0) / (y1 - y0)
        inside ^= spans[:, None] & (xs[None, :] < crossing[:, None])
    if not inside.any():
        left, top, right, bottom = region.bounds
        column = min(width - 1, max(0, int((left + right) / 2 * width)))
        row = min(height - 1, max(0, int((top + bottom) / 2 * height)))
        inside[row, column] = True
    return inside


def placed(edit: Paste) -> Region:
    """The region of a copy where it goes."""
    left, top, _, _ = edit.region.bounds
    return Region(tuple((x - left + edit.x, y - top + edit.y) for x, y in edit.region.corners))


def paste(onto: Tensor, source: Tensor, edit: Paste) -> Tensor:
    """Replace a region of maps by the same units' maps of another picture.

    Args:
        onto: [units, H, W] of the picture that is edited.
        source: [units, H, W] of the picture that is copied from.
        edit: which region goes where.

    Returns:
        [units, H, W]; outside the pasted region it is `onto`.

    Source: Dravid et al. 2023 (arXiv:2306.09346), copy and paste. Differs: any region, not halves.
    """
    mask = mask_of(placed(edit), (onto.shape[-2], onto.shape[-1])).to(onto.device)
    return torch.where(mask, warp(source, affine_of(edit)), onto)


def scale(maps: Tensor, edit: Scale) -> Tensor:
    """Make units stronger or weaker, everywhere or inside a region.

    What stands above a unit's mean is scaled, and a unit that is off is at its mean: to ask for
    less, such as its lowest over the data set, wiped out faces whose eyes were taken away.

    Args:
        maps: [units, H, W], standardised.
        edit: factor and region.

    Returns:
        [units, H, W]: factor · what is above 0 inside, `maps` outside.

    Raises:
        BadRequestError: the factor is outside 0 to 4.
    """
    low, high = SCALE_RANGE
    if not low <= edit.factor <= high:
        raise BadRequestError(
            f"A strength of {edit.factor:g} is out of range.", f"Give {low:g} to {high:g}."
        )
    changed = torch.where(maps > 0, edit.factor * maps, maps)
    if edit.region is None:
        return changed
    mask = mask_of(edit.region, (maps.shape[-2], maps.shape[-1])).to(maps.device)
    return torch.where(mask, changed, maps)
