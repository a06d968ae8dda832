"""One pass over the images that correlates every pair of models at once.

Exact data-set Pearson and position-centred correlation from sums that add up over batches and
workers. No map is upsampled, memory does not grow with the number of images, and after the first
batch nothing is read back from the device. See `layout`, `intake`, `correlation`, `summary`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from rosetta_ui.errors import StaleCacheError
from rosetta_ui.matching.correlation import CorrelationScores, PairSums
from rosetta_ui.matching.files import zeroed_file
from rosetta_ui.matching.intake import LayerIntake, Moments, Scratch, pilot_maps
from rosetta_ui.matching.layout import ModelLayout, model_layouts
from rosetta_ui.matching.neighbours import Which
from rosetta_ui.matching.nulls import Blocks
from rosetta_ui.matching.products import plain_tensors
from rosetta_ui.matching.span import Span
from rosetta_ui.matching.summary import SetSummary, Summarist
from rosetta_ui.matching.tables import PairTables
from rosetta_ui.types import LayerSpec

_PILOT_IMAGES = 8
_FILED_BLOCKS = 8
_HALVES: dict[Which, slice] = {
    "real": slice(0, 2),
    "null": slice(0, 2),
    "half0": slice(0, 1),
    "half1": slice(1, 2),
}


class CorrelationPass:
    """Data-set Pearson and position-centred correlation of all units of all pairs of models.

    Args:
        layers: model → its layers, in the order of its `UnitIndex`.
        pairs: (model of the rows, model of the columns).
        n_images: of the whole run, over all workers.
        seed: of the shuffled null.
        device: where maps arrive and sums live.
        dtype: float32, or float64 for references.
        null: also correlate with the images shuffled inside blocks of 8; there is none for one
            image.
        halves: also keep the two halves of the images apart; there are none for one image.
        table_dir: keep the tables (on a CPU also the waiting maps) in memory-mapped files of this
            folder, for tables that do not fit into memory. Bytes on disk: rows · columns · 4 for
            each of two halves and the null, and 64 images of reduced maps.

    Raises:
        ValueError: no pair, a pair of an unknown model, or no image.
    """

    @plain_tensors
    def __init__(  # noqa: PLR0913 - one call says everything that the numbers depend on
        self,
        layers: Mapping[str, Sequence[LayerSpec]],
        pairs: Sequence[tuple[str, str]],
        *,
        n_images: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        null: bool = True,
        halves: bool = True,
        table_dir: Path | None = None,
    ) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self.pairs = tuple(pairs)
        self.blocks = Blocks(n_images, seed)
        self.has_null = null and self.blocks.has_null
        self.has_halves = halves and n_images > 1
        self._layouts = model_layouts(layers, self.pairs)
        self._fingerprint = self._digest()
        self._pilot_set = False
        scratch = Scratch(dtype, self.device)
        self._intakes: dict[str, list[LayerIntake]] = {}
        self._moments: dict[str, list[Moments]] = {}
        self._pilots: dict[str, list[Tensor]] = {}
        for model, layout in self._layouts.items():
            self._prepare(model, layout, scratch)
        self._counts = torch.zeros(2, dtype=torch.int64, device=self.device)
        # A GPU multiplies what is in its own memory; only tables are too large for it.
        maps_dir = table_dir if self.device.type == "cpu" else None
        self._span = Span(
            self._layouts,
            self.blocks,
            halves=self.has_halves,
            n_blocks=1 if table_dir is None else _FILED_BLOCKS,
            allocate=lambda name, length: self._allocate(maps_dir, f"maps-{name}", (length,)),
        )
        names = ["half0", "half1"] if self.has_halves else ["real"]
        names += ["null"] if self.has_null else []
        self._sums = {
            (a, b): PairSums(
                self._layouts[a], self._layouts[b], names, self._table_allocator(table_dir, i)
            )
            for i, (a, b) in enumerate(self.pairs)
        }

    def _prepare(self, model: str, layout: ModelLayout, scratch: Scratch) -> None:
        n_halves = 2 if self.has_halves else 1
        self._intakes[model], self._moments[model], self._pilots[model] = [], [], []
        for spec in layout.layers:
            grids = layout.grids(spec.size)
            intake = LayerIntake(spec, grids, layout.targets(spec.size), scratch)
            self._intakes[model].append(intake)
            self._moments[model].append(Moments(spec, len(grids), n_halves, scratch))
            pilot = torch.zeros(spec.channels, *spec.size, dtype=self.dtype, device=self.device)
            self._pilots[model].append(pilot)

    def _allocate(self, folder: Path | None, name: str, shape: tuple[int, ...]) -> Tensor:
        if folder is None:
            return torch.zeros(shape, dtype=self.dtype, device=self.device)
        return zeroed_file(folder / f"{name}.npy", shape, self.dtype)

    def _table_allocator(
        self, folder: Path | None, pair: int
    ) -> Callable[[str, tuple[int, int]], Tensor]:
        return lambda name, shape: self._allocate(folder, f"table-{pair}-{name}", shape)

    def _digest(self) -> Tensor:
        facts = {
            "layers": {
                model: [[s.name, s.channels, *s.size] for s in layout.layers]
                for model, layout in self._layouts.items()
            },
            "pairs": self.pairs,
            "run": [self.blocks.n_images, self.blocks.seed, self.has_null, self.has_halves],
            "dtype": str(self.dtype),
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()
        return torch.frombuffer(bytearray(digest), dtype=torch.uint8)

    @plain_tensors
    def add(self, maps: Mapping[str, Mapping[str, Tensor]], first: int) -> None:
        """Count a batch of consecutive images.

        The first batch also sets the pilot unless `load_pilot` did. Batches may have any size;
        images come in order inside a block of 8, blocks in any order.

        Args:
            maps: model → layer → [n, channels, h, w], any float dtype, on the device.
            first: number of the first image.

        Raises:
            ValueError: a layer is missing or has another shape, or the images are out of order.
        """
        n = self._checked(maps)
        if not self._pilot_set:
            self._set_pilot(maps)
        at = 0
        while at < n:
            block = self.blocks.images(self.blocks.of(first + at))
            stop = min(n, block.stop - first)
            self._add_segment(maps, slice(at, stop), first + at)
            at = stop

    def _add_segment(
        self, maps: Mapping[str, Mapping[str, Tensor]], images: slice, first: int
    ) -> None:
        if not self._span.accepts(first):
            self._flush()
        if self._span.is_empty:
            self._span.open(first)
        parts = self._span.take(first, images.stop - images.start)
        for model, layout in self._layouts.items():
            stores = self._span.stores(model)
            for layer, intake in enumerate(self._intakes[model]):
                spec = intake.spec
                rows = {
                    target: stores[target][layout.group_rows(target, layer)]
                    for target in intake.targets
                }
                batch, pilot = maps[model][spec.name][images], self._pilots[model][layer]
                intake.add(batch, pilot, parts, self._moments[model][layer], rows)
        for part in parts:
            self._counts[part.half] += part.count
        if self._span.is_full:
            self._flush()

    def _flush(self) -> None:
        ranges = self._span.ranges(null=self.has_null)
        for (a, b), sums in self._sums.items():
            sums.add(self._span.stores(a), self._span.stores(b), ranges)
        self._span.close()

    def _checked(self, maps: Mapping[str, Mapping[str, Tensor]]) -> int:
        counts: set[int] = set()
        for model, layout in self._layouts.items():
            for spec in layout.layers:
                if model not in maps or spec.name not in maps[model]:
                    raise ValueError(f"the maps of {model}/{spec.name} are missing")
                shape = tuple(maps[model][spec.name].shape)
                if shape[1:] != (spec.channels, *spec.size):
                    raise ValueError(
                        f"{model}/{spec.name} has maps {shape[1:]}, but {spec.channels} of size "
                        f"{spec.size} were declared"
                    )
                counts.add(shape[0])
        if len(counts) != 1:
            raise ValueError(f"the layers have different numbers of images: {sorted(counts)}")
        return counts.pop()

    def _set_pilot(self, maps: Mapping[str, Mapping[str, Tensor]]) -> None:
        for model, layout in self._layouts.items():
            for spec, pilot in zip(layout.layers, self._pilots[model], strict=True):
                pilot.copy_(pilot_maps(maps[model][spec.name][:_PILOT_IMAGES], self.dtype))
        self._pilot_set = True

    @property
    def count(self) -> int:
        """Images counted so far, here and in everything that was merged."""
        return int(self._counts.sum())

    @property
    def at_boundary(self) -> bool:
        """No block of 8 is incomplete, so that `finish` and `add_state_` may be called."""
        return self._span.at_boundary

    def boundary_after(self, image: int) -> int:
        """The first number at or after `image` at which a block begins or the run ends.

        Shards and snapshots are cut there.
        """
        return self.blocks.boundary_after(image)

    def pilot_state(self) -> dict[str, Tensor]:
        """The pilot maps: model number . layer number → [channels, h, w]; not copies.

        They are 0 until the first batch or `load_pilot` sets them.
        """
        return {
            f"pilot.{i}.{j}": pilot
            for i, pilots in enumerate(self._pilots.values())
            for j, pilot in enumerate(pilots)
        }

    def empty_pilot(self) -> dict[str, Tensor]:
        """Zeros in the shape of `pilot_state`, to receive a broadcast."""
        return {name: torch.zeros_like(pilot) for name, pilot in self.pilot_state().items()}

    @plain_tensors
    def load_pilot(self, state: Mapping[str, Tensor]) -> None:
        """Use another worker's pilot.

        Raises:
            ValueError: images have been counted about another one.
        """
        if self.count:
            raise ValueError("the pilot cannot change once images are counted")
        for i, pilots in enumerate(self._pilots.values()):
            for j, pilot in enumerate(pilots):
                pilot.copy_(state[f"pilot.{i}.{j}"])
        self._pilot_set = True

    @plain_tensors
    def tensors_to_reduce(self) -> dict[str, Tensor]:
        """The sums themselves, not copies.

        Summed in place over workers with the same pilot, every worker holds the total.

        Raises:
            ValueError: a block is incomplete.
        """
        self._need_boundary()
        self._flush()
        return self._accumulators()

    def _accumulators(self) -> dict[str, Tensor]:
        tensors = {"counts": self._counts}
        for i, moments in enumerate(self._moments.values()):
            for j, layer in enumerate(moments):
                tensors[f"seconds.{i}.{j}"] = layer.seconds
                if layer.sums is not None:
                    tensors[f"sums.{i}.{j}"] = layer.sums
        for i, sums in enumerate(self._sums.values()):
            tensors |= {f"table.{i}.{name}": table for name, table in sums.sums.items()}
        return tensors

    def state_dict(self) -> dict[str, Tensor]:
        """Everything, the incomplete block included; not copies, so write it before the next add.

        `load_state_dict` goes on exactly from here.
        """
        state = {"fingerprint": self._fingerprint, **self._accumulators()}
        if self._pilot_set:
            state |= self.pilot_state()
        return state | {f"span.{key}": value for key, value in self._span.state().items()}

    @plain_tensors
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            StaleCacheError: the state belongs to other layers, pairs, images or settings.
        """
        self._check_same(state)
        for name, tensor in self._accumulators().items():
            tensor.copy_(state[name])
        self._pilot_set = any(name.startswith("pilot.") for name in state)
        if self._pilot_set:
            for name, tensor in self.pilot_state().items():
                tensor.copy_(state[name])
        self._span.load(
            {k.removeprefix("span."): v for k, v in state.items() if k.startswith("span.")}
        )

    def _check_same(self, state: Mapping[str, Tensor]) -> None:
        found = state.get("fingerprint")
        if found is None or not torch.equal(found.cpu(), self._fingerprint):
            raise StaleCacheError(
                "The checkpoint was made with other layers, models, images or settings.",
                "Start the match again without resuming.",
            )

    @plain_tensors
    def add_state_(self, state: Mapping[str, Tensor]) -> None:
        """Add another shard's `state_dict`: other images of the same run, about the same pilot.

        Raises:
            StaleCacheError: it belongs to another run.
            ValueError: a block is incomplete, or the pilots differ.
        """
        self._check_same(state)
        self._need_boundary()
        if "span.filling" in state:
            raise ValueError("the other shard still has maps waiting: call tensors_to_reduce first")
        if not self._pilot_set:
            self.load_pilot(state)
        for name, pilot in self.pilot_state().items():
            if not torch.equal(pilot, state[name].to(self.device)):
                raise ValueError("the shards have different pilots")
        for name, tensor in self.tensors_to_reduce().items():
            tensor.add_(state[name].to(tensor.device))

    def merge(self, other: CorrelationPass) -> None:
        """Add another pass over other images of the same run.

        Raises:
            StaleCacheError, ValueError: as `add_state_`.
        """
        other.tensors_to_reduce()
        self.add_state_(other.state_dict())

    def _need_boundary(self) -> None:
        if not self.at_boundary:
            raise ValueError("a block of 8 images is incomplete: stop at `boundary_after`")

    @plain_tensors
    def finish(self) -> dict[tuple[str, str], PairTables]:
        """Tables of every pair, at any block boundary; the run may go on afterwards.

        Tables read the sums of this pass: use them before the next `add`.

        Raises:
            ValueError: a block is incomplete, or there are no images.
        """
        self._need_boundary()
        self._flush()
        if not self.count:
            raise ValueError("no image has been counted")
        counts = [int(n) for n in self._counts]
        summarists = {
            model: Summarist(layout, self._pilots[model], self._moments[model], self.dtype)
            for model, layout in self._layouts.items()
        }

        # A set's summaries are as large as two images' reduced maps: keep two sets at a time.
        @lru_cache(maxsize=2 * len(summarists))
        def summary(model: str, which: Which) -> SetSummary:
            halves = _HALVES[which]
            return summarists[model].summarise(halves, sum(counts[halves]))

        tables: dict[tuple[str, str], PairTables] = {}
        for pair, sums in self._sums.items():
            scores = CorrelationScores(sums, _side_summaries(pair, summary))
            tables[pair] = PairTables(
                self._layouts[pair[0]].layers,
                self._layouts[pair[1]].layers,
                scores,
                n_images=sum(counts),
                has_null=self.has_null,
                has_halves=self.has_halves and min(counts) > 0,
            )
        return tables


def _side_summaries(
    pair: tuple[str, str], summary: Callable[[str, Which], SetSummary]
) -> Callable[[int, Which], SetSummary]:
    # The shuffle moves images but keeps the set, so the null has the real set's summary.
    return lambda side, which: summary(pair[side], "real" if which == "null" else which)
