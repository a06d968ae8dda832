"""What one model brings to its tables once images are counted: norms, mean maps, dead units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_ui.matching.intake import Moments, Scratch
from rosetta_ui.matching.layout import ModelLayout, Size
from rosetta_ui.matching.resample import Reducer, SecondMoments, position_weights

# A unit whose maps vary this little about their mean map, relative to their variance, has the same
# map in every image.
_FIXED_MAP = 1e-10
_PIECE_VALUES = 1 << 22


@dataclass(frozen=True)
class SetSummary:
    """One model over one set of images, units in sorted order.

    Attributes:
        n_images: of the set.
        means: target → [units of the group, 2, positions]: the summed maps over √n (about the
            pilot), and √n times the mean maps (about each unit's mean), reduced to the target.
        offsets: common grid → [units] float64: √n times the sum over the grid of the mean map about
            the unit's mean, over √positions; small, and 0 on the unit's own grid.
        scales: score → common grid → [units]: one over the norm; 0 where undefined.
        dead: score → [units] bool.
    """

    n_images: int
    means: dict[Size, Tensor]
    offsets: dict[Size, Tensor]
    scales: dict[str, dict[Size, Tensor]]
    dead: dict[str, Tensor]


class Summarist:
    """Makes the summary of one model for any set of images.

    Args:
        layout: the model's units.
        pilots: of every layer.
        moments: of every layer.
        dtype: of the pass; moments are float64, reduced maps of this precision.
    """

    def __init__(
        self,
        layout: ModelLayout,
        pilots: Sequence[Tensor],
        moments: Sequence[Moments],
        dtype: torch.dtype,
    ) -> None:
        self._layout, self._pilots, self._moments = layout, pilots, moments
        self._dtype = dtype

    def summarise(self, halves: slice, n_images: int) -> SetSummary:
        """Summarise the images of some halves.

        Args:
            halves: which of them, together.
            n_images: how many images those hold.
        """
        device = self._pilots[0].device
        layout = self._layout
        summary = SetSummary(
            n_images,
            means={
                target: torch.zeros(
                    group.units, 2, group.positions, dtype=self._dtype, device=device
                )
                for target, group in layout.groups.items()
            },
            offsets={},
            scales={"pearson": {}, "centred": {}},
            dead={
                score: torch.zeros(layout.units, dtype=torch.bool, device=device)
                for score in ("pearson", "centred")
            },
        )
        for layer in range(len(layout.layers)):
            self._add_layer(summary, layer, halves)
        return summary

    def _add_layer(self, summary: SetSummary, layer: int, halves: slice) -> None:
        spec = self._layout.layers[layer]
        scratch = Scratch(torch.float64, self._pilots[layer].device)
        worker = _LayerSummarist(self._layout, layer, scratch, self._dtype)
        step = max(1, _PIECE_VALUES // (spec.size[0] * spec.size[1]))
        sums, seconds = self._moments[layer].sums, self._moments[layer].seconds
        if sums is None:
            raise ValueError("these moments were taken without sums")
        for start in range(0, spec.channels, step):
            piece = slice(start, min(start + step, spec.channels))
            worker.add(
                summary,
                piece,
                self._pilots[layer][piece].double(),
                sums[halves, piece].double().sum(0),
                seconds[halves, piece].sum(0),
            )


class _LayerSummarist:
    def __init__(
        self, layout: ModelLayout, layer: int, scratch: Scratch, dtype: torch.dtype
    ) -> None:
        self._layout, self._layer, self._scratch, self._dtype = layout, layer, scratch, dtype
        size = layout.layers[layer].size
        device = scratch.device
        self._grids = layout.grids(size)
        self._second = SecondMoments(size, self._grids, torch.float64, device)
        self._reducers = {
            target: Reducer(size, target, dtype, device) for target in layout.targets(size)
        }
        self._areas = torch.tensor(
            [float(h * w) for h, w in self._grids], dtype=torch.float64, device=device
        )
        weights = [position_weights(size, grid).flatten() for grid in self._grids]
        self._weights = torch.stack(weights, 1).to(device)

    def add(
        self, summary: SetSummary, piece: slice, pilot: Tensor, sums: Tensor, seconds: Tensor
    ) -> None:
        """Summarise some channels: pilot and sums [c, h, w], seconds [c, grids], float64."""
        n = summary.n_images
        fixed = (pilot.amax((1, 2)) == pilot.amin((1, 2))) & (seconds[:, 0] == 0)
        centred = seconds - self._squares(sums) / n
        mean = pilot + sums / n
        mean -= mean.mean((1, 2), keepdim=True)
        totals = mean.flatten(1) @ self._weights
        full = centred + n * (self._squares(mean) - totals**2 / self._areas)
        dead = fixed | _undefined(full)
        still = dead | _undefined(centred) | (centred[:, 0] <= _FIXED_MAP * full[:, 0])

        start = self._layout.sorted_starts[self._layer] + piece.start
        units = slice(start, start + len(pilot))
        summary.dead["pearson"][units] = dead
        summary.dead["centred"][units] = still
        for i, grid in enumerate(self._grids):
            self._put(
                summary.offsets, grid, units, math.sqrt(n) * totals[:, i] / self._areas[i].sqrt()
            )
            self._put(summary.scales["pearson"], grid, units, _over_root(full[:, i], dead))
            self._put(summary.scales["centred"], grid, units, _over_root(centred[:, i], still))
        self._reduce(summary, piece, sums / math.sqrt(n), mean * math.sqrt(n))

    def _put(self, into: dict[Size, Tensor], grid: Size, units: slice, values: Tensor) -> None:
        if grid not in into:
            into[grid] = values.new_zeros(self._layout.units)
        into[grid][units] = values

    def _squares(self, maps: Tensor) -> Tensor:
        products = self._scratch.flat("products", maps.numel())
        return self._second.of(maps.contiguous(), products)

    def _reduce(self, summary: SetSummary, piece: slice, *kinds: Tensor) -> None:
        # Moments need float64; these only enter products of the pass's own precision.
        kinds = tuple(maps.to(self._dtype) for maps in kinds)
        for target, reducer in self._reducers.items():
            start = self._layout.group_rows(target, self._layer).start + piece.start
            into = summary.means[target][start : start + len(kinds[0])]
            for kind, maps in enumerate(kinds):
                into[:, kind] = reducer.reduce(maps).flatten(1)


def _undefined(moments: Tensor) -> Tensor:
    """Units without a positive, finite moment on every grid."""
    return ~((moments > 0) & moments.isfinite()).all(1)


def _over_root(moment: Tensor, dead: Tensor) -> Tensor:
    return torch.where(dead, 0.0, moment).rsqrt().masked_fill_(dead, 0.0)
