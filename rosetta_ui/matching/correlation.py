"""The sums of products behind one table, and the scores made of them.

Numbers of rows and columns are "sorted" ones here (see `layout`) until a block is filled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_ui.matching.layout import ModelLayout, Rectangle, common_grid, rectangles, target_grid
from rosetta_ui.matching.neighbours import Which
from rosetta_ui.matching.products import accumulate_
from rosetta_ui.matching.summary import SetSummary

_ROWS = 2048


@dataclass(frozen=True)
class SlotRange:
    """Slots of a store whose images are counted together.

    Attributes:
        name: of the accumulator: real, half0, half1 or null.
        slots: which.
        permutation: slot of the row's model for each slot of the column's, or None for the same.
    """

    name: str
    slots: slice
    permutation: tuple[int, ...] | None = None


class PairSums:
    """Σ over images and positions of the products of every row with every column.

    Args:
        a, b: the models of the rows and the columns.
        names: of the accumulators.
        allocate: makes a zeroed tensor of a shape under a name.
    """

    def __init__(
        self,
        a: ModelLayout,
        b: ModelLayout,
        names: Sequence[str],
        allocate: Callable[[str, tuple[int, int]], Tensor],
    ) -> None:
        self.a, self.b = a, b
        self.sums = {name: allocate(name, (a.units, b.units)) for name in names}
        self.rectangles = rectangles(a, b)

    def add(
        self,
        stores_a: Mapping[tuple[int, int], Tensor],
        stores_b: Mapping[tuple[int, int], Tensor],
        ranges: Sequence[SlotRange],
    ) -> None:
        """Add the images of two models' stores: target → [units of the group, slots, positions]."""
        for rectangle in self.rectangles:
            rows, cols = stores_a[rectangle.target], stores_b[rectangle.target]
            # Rows outermost: a block of rows of all accumulators is visited once, which is what
            # lets them live in memory-mapped files.
            for top in range(0, rectangle.rows.stop - rectangle.rows.start, _ROWS):
                self._add_rows(rectangle, top, (rows, cols), ranges)

    def _add_rows(
        self,
        rectangle: Rectangle,
        top: int,
        stores: tuple[Tensor, Tensor],
        ranges: Sequence[SlotRange],
    ) -> None:
        units = rectangle.rows.stop - rectangle.rows.start
        stop = min(top + _ROWS, units)
        table_rows = slice(rectangle.rows.start + top, rectangle.rows.start + stop)
        left = stores[0][rectangle.group_rows][top:stop]
        right = stores[1][rectangle.group_cols]
        for slots in ranges:
            chosen = left[:, slots.slots]
            if slots.permutation is not None:
                chosen = _permuted(left, slots.permutation)
            table = _on(left.device, self.sums[slots.name][table_rows, rectangle.cols])
            accumulate_(table, chosen.flatten(1), right[:, slots.slots].flatten(1))
            if table.device != self.sums[slots.name].device:
                self.sums[slots.name][table_rows, rectangle.cols] = table.to("cpu")


def _on(device: torch.device, table: Tensor) -> Tensor:
    return table if table.device == device else table.to(device)


def _permuted(store: Tensor, permutation: Sequence[int]) -> Tensor:
    # Slice by slice: an index tensor would have to be copied to the device for every block.
    return torch.stack([store[:, slot] for slot in permutation], dim=1)


@dataclass(frozen=True)
class _Columns:
    """Consecutive layers of one size: flat columns, and the same columns sorted."""

    class_number: int
    flat: slice
    sorted: slice


class CorrelationScores:
    """Pearson and position-centred scores of one pair, block by block.

    Args:
        sums: the accumulated products.
        summaries: makes the summary of either model (0 rows, 1 columns) for a set of images.
    """

    def __init__(self, sums: PairSums, summaries: Callable[[int, Which], SetSummary]) -> None:
        self._sums, self._summaries = sums, summaries
        self._columns = _column_runs(sums.b)

    @property
    def dtype(self) -> torch.dtype:
        """Of the scores."""
        return next(iter(self._sums.sums.values())).dtype

    @property
    def device(self) -> torch.device:
        """Where blocks are made."""
        return self._summaries(0, "real").dead["pearson"].device

    def dead(self, side: int, score: str, which: Which) -> Tensor:
        """[units] bool in flat order: units whose score is undefined."""
        layout = (self._sums.a, self._sums.b)[side]
        dead = self._summaries(side, which).dead[score]
        parts = [
            dead[start : start + spec.channels]
            for start, spec in zip(layout.sorted_starts, layout.layers, strict=True)
        ]
        return torch.cat(parts)

    def fill(self, out: Tensor, score: str, which: Which, layer: int, first: int) -> None:
        """Write scores into `out` [rows, columns], which starts at channel `first` of a layer.

        Dead units are not marked here.
        """
        a, b = self._summaries(0, which), self._summaries(1, which)
        start = self._sums.a.sorted_starts[layer] + first
        rows = slice(start, start + out.shape[0])
        for columns in self._columns:
            block = out[:, columns.flat]
            self._raw(block, rows, columns.sorted, which)
            self._finish(block, score, (layer, first, columns), a, b)

    def _raw(self, block: Tensor, rows: slice, cols: slice, which: Which) -> None:
        sums = self._sums.sums
        if which != "real" or "real" in sums:
            block.copy_(sums[which][rows, cols])
        else:
            block.copy_(sums["half0"][rows, cols])
            block.add_(_on(block.device, sums["half1"][rows, cols]))

    def _finish(
        self,
        block: Tensor,
        score: str,
        where: tuple[int, int, _Columns],
        a: SetSummary,
        b: SetSummary,
    ) -> None:
        layer, first, columns = where
        layout_a, layout_b = self._sums.a, self._sums.b
        size_a = layout_a.layers[layer].size
        size_b = layout_b.classes[columns.class_number].size
        grid, target = common_grid(size_a, size_b), target_grid(size_a, size_b)

        start = layout_a.group_rows(target, layer).start + first
        means_a = a.means[target][start : start + block.shape[0]]
        offset = columns.sorted.start - layout_b.classes[columns.class_number].start
        start = layout_b.groups[target].starts[columns.class_number] + offset
        means_b = b.means[target][start : start + block.shape[1]]

        start = layout_a.sorted_starts[layer] + first
        rows = slice(start, start + block.shape[0])
        # The mean maps leave the centred sum; for Pearson those about the units' means come back.
        accumulate_(block, -means_a[:, 0], means_b[:, 0])
        if score == "pearson":
            accumulate_(block, means_a[:, 1], means_b[:, 1])
            offset_a, offset_b = a.offsets[grid][rows], b.offsets[grid][columns.sorted]
            block.addr_(offset_a.to(block.dtype), offset_b.to(block.dtype), alpha=-1)
        scale_a, scale_b = a.scales[score][grid][rows], b.scales[score][grid][columns.sorted]
        block.mul_(scale_a.to(block.dtype)[:, None]).mul_(scale_b.to(block.dtype)[None, :])


def _column_runs(layout: ModelLayout) -> list[_Columns]:
    runs: list[_Columns] = []
    for i, spec in enumerate(layout.layers):
        flat, place = layout.flat_starts[i], layout.sorted_starts[i]
        number = layout.class_of[i]
        if runs and runs[-1].class_number == number and runs[-1].flat.stop == flat:
            last = runs.pop()
            flat, place = last.flat.start, last.sorted.start
        end = layout.flat_starts[i] + spec.channels
        runs.append(_Columns(number, slice(flat, end), slice(place, place + end - flat)))
    return runs
