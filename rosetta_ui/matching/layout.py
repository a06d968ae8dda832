"""How units are grouped by map size, so that few and large matrix products do a whole pair.

Knows sizes and numbers only, no tensors. Inside the pass a model's units are sorted by the size of
their maps ("sorted" numbers); outside they keep their flat `UnitIndex` order.

For units with maps [h, w] and [s, t] the common grid is the larger side of each axis and the inner
product is taken on the smaller one, the target, to which the larger maps have been reduced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from rosetta_ui.types import LayerSpec

Size = tuple[int, int]


def common_grid(a: Size, b: Size) -> Size:
    """The grid on which two maps are compared."""
    return max(a[0], b[0]), max(a[1], b[1])


def target_grid(a: Size, b: Size) -> Size:
    """The grid on which their inner product is taken."""
    return min(a[0], b[0]), min(a[1], b[1])


@dataclass(frozen=True)
class SizeClass:
    """All units of one model with maps of one size: the sorted numbers start .. stop - 1."""

    size: Size
    start: int
    stop: int

    @property
    def units(self) -> int:
        """How many they are."""
        return self.stop - self.start


@dataclass(frozen=True)
class Group:
    """The classes of one model that are needed on one target, stacked in sorted order.

    Attributes:
        target: (height, width).
        starts: number of the class → its first row in the group.
        units: rows of the group.
    """

    target: Size
    starts: Mapping[int, int]
    units: int

    @property
    def positions(self) -> int:
        """Values of one unit and image."""
        return self.target[0] * self.target[1]


class ModelLayout:
    """One model's units, sorted by size.

    Args:
        layers: in flat order.
        partner_sizes: map sizes of every model that it is compared with.
    """

    def __init__(self, layers: Sequence[LayerSpec], partner_sizes: Sequence[Size]) -> None:
        self.layers = tuple(layers)
        self.partner_sizes = tuple(sorted(set(partner_sizes)))
        self.units = sum(spec.channels for spec in layers)
        self.flat_starts = [0, *accumulate(spec.channels for spec in layers)][:-1]
        self.classes: list[SizeClass] = []
        self.class_of: list[int] = [0] * len(layers)
        self.sorted_starts: list[int] = [0] * len(layers)
        self._sort()
        self.groups = {target: self._group(target) for target in self._all_targets()}

    def _sort(self) -> None:
        at = 0
        for size in sorted({spec.size for spec in self.layers}):
            start = at
            for i, spec in enumerate(self.layers):
                if spec.size == size:
                    self.sorted_starts[i], self.class_of[i] = at, len(self.classes)
                    at += spec.channels
            self.classes.append(SizeClass(size, start, at))

    def targets(self, size: Size) -> tuple[Size, ...]:
        """The grids to which maps of this size are reduced."""
        return tuple(sorted({target_grid(size, other) for other in self.partner_sizes}))

    def grids(self, size: Size) -> tuple[Size, ...]:
        """The common grids of maps of this size, its own first."""
        others = {common_grid(size, other) for other in self.partner_sizes} - {size}
        return (size, *sorted(others))

    def _all_targets(self) -> list[Size]:
        return sorted({t for c in self.classes for t in self.targets(c.size)})

    def _group(self, target: Size) -> Group:
        starts: dict[int, int] = {}
        units = 0
        for number, size_class in enumerate(self.classes):
            if target in self.targets(size_class.size):
                starts[number] = units
                units += size_class.units
        return Group(target, starts, units)

    def group_rows(self, target: Size, layer: int) -> slice:
        """Rows of a layer in the group of a target."""
        number = self.class_of[layer]
        inside = self.sorted_starts[layer] - self.classes[number].start
        start = self.groups[target].starts[number] + inside
        return slice(start, start + self.layers[layer].channels)


def model_layouts(
    layers: Mapping[str, Sequence[LayerSpec]], pairs: Sequence[tuple[str, str]]
) -> dict[str, ModelLayout]:
    """How every model's units are grouped, given whom it is compared with.

    Raises:
        ValueError: there is no pair, or a pair names an unknown model.
    """
    if not pairs:
        raise ValueError("a pass needs at least one pair of models")
    partners: dict[str, list[Size]] = {}
    for a, b in pairs:
        for model in (a, b):
            if model not in layers:
                raise ValueError(f"pair ({a}, {b}) names '{model}', which has no layers")
        partners.setdefault(a, []).extend(spec.size for spec in layers[b])
        partners.setdefault(b, []).extend(spec.size for spec in layers[a])
    return {model: ModelLayout(layers[model], sizes) for model, sizes in partners.items()}


@dataclass(frozen=True)
class Rectangle:
    """A part of a table that is one matrix product on one target.

    Attributes:
        target: the grid.
        rows, cols: sorted numbers.
        group_rows, group_cols: rows of the two models' groups.
    """

    target: Size
    rows: slice
    cols: slice
    group_rows: slice
    group_cols: slice


def rectangles(a: ModelLayout, b: ModelLayout) -> list[Rectangle]:
    """Cover the table of two models: every pair of classes once, in as few parts as possible."""
    found: list[Rectangle] = []
    targets = sorted({target_grid(p.size, q.size) for p in a.classes for q in b.classes})
    for target in targets:
        wanted = [
            tuple(j for j, q in enumerate(b.classes) if target_grid(p.size, q.size) == target)
            for p in a.classes
        ]
        for first, last in _runs_of_equal(wanted):
            for left, right in _runs(wanted[first]):
                found.append(_rectangle(target, (a, first, last), (b, left, right)))
    return found


def _rectangle(
    target: Size, rows: tuple[ModelLayout, int, int], cols: tuple[ModelLayout, int, int]
) -> Rectangle:
    parts: list[slice] = []
    groups: list[slice] = []
    for layout, first, last in (rows, cols):
        part = slice(layout.classes[first].start, layout.classes[last].stop)
        start = layout.groups[target].starts[first]
        parts.append(part)
        groups.append(slice(start, start + part.stop - part.start))
    return Rectangle(target, parts[0], parts[1], groups[0], groups[1])


def _runs_of_equal(values: Sequence[tuple[int, ...]]) -> list[tuple[int, int]]:
    """First and last index of each run of equal values that are not empty."""
    runs: list[tuple[int, int]] = []
    for i, value in enumerate(values):
        if not value:
            continue
        if runs and runs[-1][1] == i - 1 and values[i - 1] == value:
            runs[-1] = (runs[-1][0], i)
        else:
            runs.append((i, i))
    return runs


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
