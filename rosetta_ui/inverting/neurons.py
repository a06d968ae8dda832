"""How well a generator's maps agree with the partners' maps of a target, on the pairs' own grids.

Both maps of a pair are meant on their common grid (the larger side, per axis), but none of the
generator's is ever enlarged: upsampling is linear, so the products on the common grid are products
on the generator's own grid with matrices made once for the target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

from rosetta_ui.inverting.guide import Guide, Pair
from rosetta_ui.matching.resample import bilinear_matrix
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import LayerSpec

Maps = Mapping[str, Tensor]
"""Layer → [n, channels, h, w]."""

FLOOR = 1e-6
"""Least norm of a map as a share of the root of its cells, as in `editing.losses.correlation`."""


@dataclass(frozen=True)
class Wanted:
    """What some units of one layer should look like: pairs that share a common grid.

    Attributes:
        spec: of the generator's layer.
        channels: int64 [p].
        mean, deviation: [p, 1, 1], of these units.
        target: [p, h, w], the partners' standardised maps of the target, brought to the layer's own
            grid so that a plain inner product is the one on the common grid.
        norm: [p], of the partners' maps on the common grid.
        rows, columns: UᵀU of each axis, [h, h] and [w, w]; None where the grid is the layer's own.
        least: smallest norm that divides.
        places: of these pairs in the guide's order.
    """

    spec: LayerSpec
    channels: Tensor
    mean: Tensor
    deviation: Tensor
    target: Tensor
    norm: Tensor
    rows: Tensor | None
    columns: Tensor | None
    least: float
    places: tuple[int, ...]

    def correlation(self, maps: Tensor) -> Tensor:
        """[n, p]: cosine over the common grid of each unit's standardised map and its target.

        Args:
            maps: [n, channels, h, w] of the whole layer.
        """
        own = (maps.index_select(1, self.channels) - self.mean) / self.deviation
        inner = (own * self.target).sum((-2, -1))
        smoothed = own if self.rows is None else self.rows @ own
        smoothed = smoothed if self.columns is None else smoothed @ self.columns
        square = (own * smoothed).sum((-2, -1)).clamp_min(self.least**2)
        return inner / (square.sqrt() * self.norm)


class Agreement:
    """The neurons' term for one target.

    Args:
        guide: the pairs.
        layers: of the generator, in the order they run.
        seen: backbone → its maps of the target, from `look`.
    """

    def __init__(self, guide: Guide, layers: Sequence[LayerSpec], seen: Mapping[str, Maps]) -> None:
        place = _placing(layers, seen)
        ordered = sorted(enumerate(guide.pairs), key=lambda item: place(item[1]))
        self._wanted = [
            _wanted(guide, grid, [(at, pair) for at, pair in group], seen)
            for grid, group in groupby(ordered, key=lambda item: place(item[1]))
        ]
        used = {wanted.spec.name for wanted in self._wanted}
        self.layers = tuple(spec for spec in layers if spec.name in used)

    def __call__(self, maps: Maps) -> Tensor:
        """Mean correlation over all pairs: [n], 1 is perfect."""
        return torch.cat([w.correlation(maps[w.spec.name]) for w in self._wanted], dim=1).mean(1)

    def each(self, maps: Maps) -> Tensor:
        """Correlation of every pair, in the guide's order: [n, pairs]."""
        found = torch.cat([w.correlation(maps[w.spec.name]) for w in self._wanted], dim=1)
        order = [place for wanted in self._wanted for place in wanted.places]
        return found[:, torch.tensor(order, device=found.device).argsort()]


def look(
    backbone: Backbone,
    images: Tensor,
    layers: Iterable[str],
    check: Callable[[], None] = lambda: None,
) -> dict[str, Tensor]:
    """A backbone's maps of some pictures: layer → [n, channels, h, w].

    Args:
        backbone: looks.
        images: [n, 3, H, W] in [-1, 1].
        layers: names of the layers that are wanted.
        check: called after each; may raise.
    """
    wanted = set(layers)
    specs = [spec for spec in backbone.layers if spec.name in wanted]
    with torch.no_grad(), tap(backbone.net, specs, stop=True, on_output=lambda _: check()) as maps:
        backbone.forward(backbone.prepare(images))
    return dict(maps)


def partner_layers(guide: Guide) -> dict[str, set[str]]:
    """Backbone → its layers that hold partners."""
    found: dict[str, set[str]] = {}
    for pair in guide.pairs:
        found.setdefault(pair.partner.model, set()).add(pair.partner.layer)
    return found


@dataclass(frozen=True, order=True)
class Grid:
    """Where some pairs meet: a layer, by number, and the common size of its maps and theirs."""

    layer: int
    height: int
    width: int
    spec: LayerSpec = field(compare=False)


def _placing(layers: Sequence[LayerSpec], seen: Mapping[str, Maps]) -> Callable[[Pair], Grid]:
    at = {spec.name: i for i, spec in enumerate(layers)}

    def place(pair: Pair) -> Grid:
        spec = layers[at[pair.unit.layer]]
        height, width = seen[pair.partner.model][pair.partner.layer].shape[-2:]
        size = max(height, spec.size[0]), max(width, spec.size[1])
        return Grid(at[spec.name], *size, spec)

    return place


def _wanted(
    guide: Guide, grid: Grid, placed: Sequence[tuple[int, Pair]], seen: Mapping[str, Maps]
) -> Wanted:
    """The target's side of some pairs that meet on one grid."""
    maps = torch.stack([_enlarged(_standardised(guide, pair, seen), grid) for _, pair in placed])
    least = FLOOR * (grid.height * grid.width) ** 0.5
    up, across = (
        None if large == own else bilinear_matrix(own, large).to(maps)
        for own, large in zip(grid.spec.size, (grid.height, grid.width), strict=True)
    )
    norm = maps.square().sum((-2, -1)).clamp_min(least**2).sqrt()
    target = maps if up is None else up.T @ maps
    target = target if across is None else target @ across
    units = [pair.unit for _, pair in placed]
    means = guide.mean[grid.spec.model][grid.spec.name]
    deviations = guide.deviation[grid.spec.model][grid.spec.name]
    return Wanted(
        spec=grid.spec,
        channels=torch.tensor([unit.channel for unit in units], device=maps.device),
        mean=maps.new_tensor([float(means[u.channel]) for u in units]).view(-1, 1, 1),
        deviation=maps.new_tensor([float(deviations[u.channel]) for u in units]).view(-1, 1, 1),
        target=target,
        norm=norm,
        rows=None if up is None else up.T @ up,
        columns=None if across is None else across.T @ across,
        least=least,
        places=tuple(at for at, _ in placed),
    )


def _standardised(guide: Guide, pair: Pair, seen: Mapping[str, Maps]) -> Tensor:
    """A partner's map of the target in deviations from its mean: [h, w]."""
    unit = pair.partner
    mean = float(guide.mean[unit.model][unit.layer][unit.channel])
    deviation = float(guide.deviation[unit.model][unit.layer][unit.channel])
    return (seen[unit.model][unit.layer][0, unit.channel].float() - mean) / deviation


def _enlarged(maps: Tensor, grid: Grid) -> Tensor:
    height, width = maps.shape
    if height < grid.height:
        maps = bilinear_matrix(height, grid.height).to(maps) @ maps
    if width < grid.width:
        maps = maps @ bilinear_matrix(width, grid.width).to(maps).T
    return maps
