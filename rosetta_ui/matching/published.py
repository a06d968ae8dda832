"""The published score: the mean over batches of the cosine of two maps about data-set means.

It depends on the batch size and needs the means before the scores, so it takes two passes over the
images: `BatchMeans`, then `PublishedPass`.

Source: Dravid et al. 2023 (arXiv:2306.09346) and its released code. Differs: units that never vary
are marked instead of scoring 0, and the deviations, which cancel, are not computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.matching.correlation import PairSums, SlotRange
from rosetta_ui.matching.intake import LayerIntake, Moments, Part, Scratch
from rosetta_ui.matching.layout import ModelLayout, Size, common_grid, model_layouts
from rosetta_ui.matching.neighbours import Which
from rosetta_ui.matching.products import plain_tensors
from rosetta_ui.matching.tables import PairTables
from rosetta_ui.types import LayerSpec

_SLOTS = 8
_ROWS = 1024
_PIECE_VALUES = 1 << 21

Maps = Mapping[str, Mapping[str, Tensor]]


class BatchMeans:
    """Every unit's mean over the batches' means, which is the published centre.

    Args:
        layers: model → its layers.
        n_images: of the run.
        batch_size: of the published batches; maps may arrive in any other.
    """

    def __init__(
        self, layers: Mapping[str, Sequence[LayerSpec]], *, n_images: int, batch_size: int
    ) -> None:
        self._layers = {model: tuple(specs) for model, specs in layers.items()}
        self._n_images, self._batch_size = n_images, batch_size
        self._means = {
            (model, spec.name): torch.zeros(spec.channels, dtype=torch.float64)
            for model, specs in self._layers.items()
            for spec in specs
        }

    @plain_tensors
    def add(self, maps: Maps, first: int) -> None:
        """Count the images first, first + 1, …: model → layer → [n, channels, h, w]."""
        for (model, layer), mean in self._means.items():
            batch = maps[model][layer]
            images = _image_means(batch)
            weights = [self._weight(first + i) for i in range(batch.shape[0])]
            total = images.new_tensor(weights) @ images
            self._means[model, layer] = mean.to(total.device) + total

    def _weight(self, image: int) -> float:
        n_batches = -(-self._n_images // self._batch_size)
        start = image // self._batch_size * self._batch_size
        return 1 / (n_batches * min(self._batch_size, self._n_images - start))

    def state_dict(self) -> dict[str, Tensor]:
        """The sums so far; they add up over workers."""
        return {f"means.{i}": mean for i, mean in enumerate(self._means.values())}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken."""
        for i, key in enumerate(self._means):
            self._means[key] = state[f"means.{i}"].clone()

    def finish(self) -> dict[str, Tensor]:
        """Model → [units] float64, in flat order."""
        return {
            model: torch.cat([self._means[model, spec.name] for spec in specs])
            for model, specs in self._layers.items()
        }


def _image_means(maps: Tensor) -> Tensor:
    """[n, channels] float64; converted piece by piece, as a conversion inside the sum is slow."""
    n, channels, height, width = maps.shape
    step = max(1, _PIECE_VALUES // (n * height * width))
    means = [
        maps[:, c : c + step].double().flatten(2).sum(2) / (height * width)
        for c in range(0, channels, step)
    ]
    return torch.cat(means, 1)


class PublishedPass:
    """The published score of all units of all pairs of models; NaN counts as 0 in a batch.

    Args:
        layers: model → its layers, in the order of its `UnitIndex`.
        pairs: (model of the rows, model of the columns).
        n_images: of the run.
        batch_size: of the published batches; maps may arrive in any other.
        means: `BatchMeans.finish()`.
        dead: model → [units], units that never vary; never matched.
        device: where maps arrive and tables live.
        dtype: of the tables.

    Raises:
        ValueError: no pair, a pair of an unknown model, or no image.
    """

    def __init__(  # noqa: PLR0913 - one call says everything that the numbers depend on
        self,
        layers: Mapping[str, Sequence[LayerSpec]],
        pairs: Sequence[tuple[str, str]],
        *,
        n_images: int,
        batch_size: int,
        means: Mapping[str, Tensor],
        dead: Mapping[str, NDArray[np.bool_]],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if n_images < 1 or batch_size < 1:
            raise ValueError(f"cannot take {n_images} images in batches of {batch_size}")
        self.device, self.dtype = torch.device(device), dtype
        self._n_images, self._batch_size = n_images, batch_size
        self._layouts = model_layouts(layers, tuple(pairs))
        self._dead = {m: torch.from_numpy(dead[m]).to(self.device) for m in self._layouts}
        scratch = Scratch(dtype, self.device)
        self._models = {
            model: _ModelBatch(layout, means[model], scratch)
            for model, layout in self._layouts.items()
        }
        self._sums = {
            (a, b): PairSums(
                self._layouts[a],
                self._layouts[b],
                ("batch", "scores"),
                lambda _, shape: torch.zeros(shape, dtype=dtype, device=self.device),
            )
            for a, b in pairs
        }
        self._next = 0
        self._filled = 0

    @property
    def count(self) -> int:
        """Images counted so far."""
        return self._next

    @plain_tensors
    def add(self, maps: Maps, first: int) -> None:
        """Count a batch: model → layer → [n, channels, h, w] of the images first, first + 1, ….

        Raises:
            ValueError: the images are not the next ones.
        """
        if first != self._next:
            raise ValueError(f"image {self._next} must come before image {first}")
        n = next(iter(next(iter(maps.values())).values())).shape[0]
        at = 0
        while at < n:
            room = min(_SLOTS - self._filled, self._left_in_batch(), n - at)
            part = Part(0, slice(None), self._filled, room)
            for model, batch in self._models.items():
                batch.add(maps[model], slice(at, at + room), part)
            at, self._next, self._filled = at + room, self._next + room, self._filled + room
            ends = self._left_in_batch() == self._batch_size or self._next == self._n_images
            if ends or self._filled == _SLOTS:
                self._multiply()
            if ends:
                self._score_batch()

    def _left_in_batch(self) -> int:
        return self._batch_size - self._next % self._batch_size

    def _multiply(self) -> None:
        ranges = [SlotRange("batch", slice(0, self._filled))]
        for (a, b), sums in self._sums.items():
            sums.add(self._models[a].stores, self._models[b].stores, ranges)
        self._filled = 0

    def _score_batch(self) -> None:
        for (a, b), sums in self._sums.items():
            _add_cosines(sums, self._models[a].scales(), self._models[b].scales())
        for batch in self._models.values():
            batch.clear()

    def state_dict(self) -> dict[str, Tensor]:
        """Everything; not copies, so write it before the next add."""
        state = {"at": torch.tensor([self._next, self._filled])}
        for i, batch in enumerate(self._models.values()):
            state |= {f"model.{i}.{key}": value for key, value in batch.state().items()}
        for i, sums in enumerate(self._sums.values()):
            state |= {f"table.{i}.{name}": table for name, table in sums.sums.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken."""
        mine = self.state_dict()
        self._next, self._filled = (int(x) for x in state["at"])
        for name, tensor in mine.items():
            if name != "at":
                tensor.copy_(state[name])

    def finish(self) -> dict[tuple[str, str], PairTables]:
        """Tables of every pair, with the one score `published`.

        Raises:
            ValueError: images are missing.
        """
        if self._next < self._n_images:
            raise ValueError(f"{self._next} of {self._n_images} images have been counted")
        n_batches = -(-self._n_images // self._batch_size)
        return {
            (a, b): PairTables(
                self._layouts[a].layers,
                self._layouts[b].layers,
                _PublishedScores(sums, (self._dead[a], self._dead[b]), n_batches),
                n_images=self._n_images,
                has_null=False,
                has_halves=False,
                score_names=("published",),
            )
            for (a, b), sums in self._sums.items()
        }


class _ModelBatch:
    """One model's maps and moments of the current batch."""

    def __init__(self, layout: ModelLayout, means: Tensor, scratch: Scratch) -> None:
        self._layout = layout
        self._centres: list[Tensor] = []
        self._intakes: list[LayerIntake] = []
        self._moments: list[Moments] = []
        for start, spec in zip(layout.flat_starts, layout.layers, strict=True):
            centre = means[start : start + spec.channels].to(scratch.device, scratch.dtype)
            grids = layout.grids(spec.size)
            self._centres.append(centre[:, None, None])
            self._intakes.append(LayerIntake(spec, grids, layout.targets(spec.size), scratch))
            self._moments.append(Moments(spec, len(grids), 1, scratch, with_sums=False))
        self.stores = {
            target: torch.zeros(
                group.units, _SLOTS, group.positions, dtype=scratch.dtype, device=scratch.device
            )
            for target, group in layout.groups.items()
        }

    def add(self, maps: Mapping[str, Tensor], images: slice, part: Part) -> None:
        for layer, intake in enumerate(self._intakes):
            rows = {
                target: self.stores[target][self._layout.group_rows(target, layer)]
                for target in intake.targets
            }
            batch = maps[intake.spec.name][images]
            intake.add(batch, self._centres[layer], [part], self._moments[layer], rows)

    def scales(self) -> list[dict[Size, Tensor]]:
        """Of every size class: common grid → [units] one over the batch's norm, 0 where that is 0.

        A norm of 0 makes NaN in the published code, which counts as 0 there.
        """
        layout = self._layout
        scales: list[dict[Size, Tensor]] = []
        for size_class in layout.classes:
            seconds = torch.cat(
                [
                    moments.seconds[0]
                    for intake, moments in zip(self._intakes, self._moments, strict=True)
                    if intake.spec.size == size_class.size
                ]
            )
            inverse = torch.where(seconds > 0, seconds, torch.inf).rsqrt()
            grids = layout.grids(size_class.size)
            scales.append({grid: inverse[:, i] for i, grid in enumerate(grids)})
        return scales

    def clear(self) -> None:
        for moments in self._moments:
            moments.clear()

    def state(self) -> dict[str, Tensor]:
        state = {f"seconds.{i}": moments.seconds for i, moments in enumerate(self._moments)}
        return state | {f"maps.{i}": store for i, store in enumerate(self.stores.values())}


def _add_cosines(
    sums: PairSums, scales_a: list[dict[Size, Tensor]], scales_b: list[dict[Size, Tensor]]
) -> None:
    """Add the batch's cosines to the scores and empty its sums."""
    batch, scores = sums.sums["batch"], sums.sums["scores"]
    for p, rows in enumerate(sums.a.classes):
        for top in range(rows.start, rows.stop, _ROWS):
            lines = slice(top, min(top + _ROWS, rows.stop))
            for q, cols in enumerate(sums.b.classes):
                grid = common_grid(rows.size, cols.size)
                block = batch[lines, cols.start : cols.stop]
                scale = scales_a[p][grid][top - rows.start :][: block.shape[0], None]
                block.mul_(scale.to(block.dtype))
                block.mul_(scales_b[q][grid].to(block.dtype))
                scores[lines, cols.start : cols.stop].add_(block)
                block.zero_()


class _PublishedScores:
    """The sums of cosines of one pair as the source of its tables."""

    def __init__(self, sums: PairSums, dead: tuple[Tensor, Tensor], n_batches: int) -> None:
        self._sums, self._dead, self._n_batches = sums, dead, n_batches

    @property
    def dtype(self) -> torch.dtype:
        return self._sums.sums["scores"].dtype

    @property
    def device(self) -> torch.device:
        return self._sums.sums["scores"].device

    def dead(self, side: int, score: str, which: Which) -> Tensor:
        """[units] bool in flat order, whatever the score."""
        del score, which
        return self._dead[side]

    def fill(self, out: Tensor, score: str, which: Which, layer: int, first: int) -> None:
        """Write the scores of channels first, first + 1, … of a layer."""
        del score, which
        layout = self._sums.b
        start = self._sums.a.sorted_starts[layer] + first
        rows = self._sums.sums["scores"][start : start + out.shape[0]]
        for spec, flat, place in zip(
            layout.layers, layout.flat_starts, layout.sorted_starts, strict=True
        ):
            out[:, flat : flat + spec.channels] = rows[:, place : place + spec.channels]
        out.div_(self._n_batches)
