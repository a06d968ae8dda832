"""Moves the maps of a generator's early layers, so that the rest of it draws a moved picture.

A shift goes by whole cells, coarsest maps first, and what is left of it by whole cells of the
finer ones: a cell between two others is a blur that the layers after it draw as a smeared face (a
shift of MobileStyleGAN by 6 %, half a cell at 8 px: judge 0.91; one cell at 16 px: 0.98). Anything
else needs such cells, and moves the finest of these maps, where they harm least (a mirrored face:
0.78 at 16 px, 0.84 at 64 px). What comes in at an edge repeats the edge.

Background: Xu et al. 2021, Positional encoding as spatial inductive bias in GANs
(arXiv:2012.05217): convolutional generators learn from the edges of early maps where things are.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from rosetta_ui.affine import STILL, Affine, is_shift, shifted, then
from rosetta_ui.types import LayerSpec

SIDES = (16, 32, 64)
"""Maps of 4 and 8 px are too coarse to move: two eyes share a cell. Finer ones than 64 px already
hold the picture as it is."""

NEAR = 0.25
"""A coarse layer takes one cell more where at most this much of it has to be taken back later."""


def first_of_each_side(layers: Sequence[LayerSpec], picture: int) -> tuple[LayerSpec, ...]:
    """Where early maps may be moved.

    Args:
        layers: that nothing goes around, in the order they run.
        picture: its side; maps as large as that are the picture itself.
    """
    found: dict[int, LayerSpec] = {}
    for spec in layers:
        if spec.size[0] in SIDES and spec.size[0] < picture:
            found.setdefault(spec.size[0], spec)
    return tuple(found[side] for side in sorted(found))


def parts(movable: Sequence[LayerSpec], moved: Affine) -> tuple[Affine, ...]:
    """What each of the movable layers does of a move, in the order they run."""
    if not movable or moved == STILL:
        return (STILL,) * len(movable)
    if not is_shift(moved):
        return (*(STILL,) * (len(movable) - 1), moved)
    found: list[Affine] = []
    dx, dy = -moved[0][2], -moved[1][2]
    for spec in movable:
        height, width = spec.size
        last = spec is movable[-1]
        x, y = _cells(dx * width, last) / width, _cells(dy * height, last) / height
        found.append(shifted(x, y))
        dx, dy = dx - x, dy - y
    return tuple(found)


def _cells(wanted: float, last: bool) -> int:
    nearest = round(wanted)
    return nearest if last or abs(wanted - nearest) <= NEAR else int(wanted)


def done_at(
    layers: Sequence[LayerSpec], movable: Sequence[LayerSpec], moved: Affine
) -> dict[str, Affine]:
    """How far a move has been made in the maps of each layer."""
    order = {spec.name: at for at, spec in enumerate(layers)}
    found: dict[str, Affine] = {}
    for spec in layers:
        total = STILL
        for place, part in zip(movable, parts(movable, moved), strict=True):
            # Some networks are moved between two of their layers, after all of that side.
            later = spec.size > place.size or order[spec.name] >= order.get(place.name, len(order))
            total = then(total, part) if later else total
        found[spec.name] = total
    return found


def sample(maps: Tensor, affines: Sequence[Affine], *, edge: str, margin: int = 0) -> Tensor:
    """Read maps at the sources of affine maps, bilinearly.

    Args:
        maps: [n, channels, H, W], any float dtype.
        affines: one for all, or one each.
        edge: what lies outside: `zeros`, or `border`, the nearest cell.
        margin: cells a side that lie outside the picture, whose positions the affine maps mean.

    Returns:
        Same shape, dtype and device.
    """
    n, _, height, width = maps.shape
    rows: list[list[list[float]]] = []
    for (a, b, c), (d, e, f) in affines:
        # affine_grid works on [-1, 1] of the whole maps; without a margin the offset is
        # a + b + 2c - 1.
        x = (a + b + 2 * c - 1) * (width - 2 * margin) / width
        y = (d + e + 2 * f - 1) * (height - 2 * margin) / height
        rows.append([[a, b, x], [d, e, y]])
    theta = torch.tensor(rows, dtype=maps.dtype, device=maps.device).expand(n, 2, 3)
    grid = functional.affine_grid(theta, list(maps.shape), align_corners=False)
    return functional.grid_sample(maps, grid, padding_mode=edge, align_corners=False)


@contextmanager
def moving(
    net: nn.Module, movable: Sequence[LayerSpec], moved: Sequence[Affine]
) -> Generator[None]:
    """Move early maps in forward passes of this thread inside the `with`.

    Taps that are opened inside it read the moved maps.

    Args:
        net: the network; the layers' paths lead to modules of it, whose output is one tensor
            [n, channels, h, w] or several of the same positions.
        movable: where, in the order they run.
        moved: one move for the whole batch, or one for each of its images.
    """
    owner = threading.get_ident()
    each = [parts(movable, one) for one in moved]
    handles: list[RemovableHandle] = []
    modules = dict(net.named_modules()) if any(one != STILL for one in moved) else {}

    def hook(spec: LayerSpec, affines: list[Affine]) -> Any:
        def move(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            if threading.get_ident() != owner:
                return output
            if isinstance(output, tuple):
                return tuple(sample(m, affines, edge="border") for m in output)
            return sample(output, affines, edge="border", margin=spec.margin)

        return move

    try:
        for at, spec in enumerate(movable):
            affines = [one[at] for one in each]
            if any(affine != STILL for affine in affines):
                handles.append(modules[spec.path].register_forward_hook(hook(spec, affines)))
        yield
    finally:
        for handle in handles:
            handle.remove()
