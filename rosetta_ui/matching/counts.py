"""Everything that a match adds up, and how it is saved and loaded as one state.

Knows sums, pictures and small maps of images that others made; no models and no batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.matching.activations import ActivationWriter, small_size
from rosetta_ui.matching.distributed import Workers
from rosetta_ui.matching.neighbours import Neighbours
from rosetta_ui.matching.outcome import (
    KEPT_SCORES,
    SNAPSHOT_K,
    MatchOutcome,
    MatchPlan,
    Pair,
    Snapshot,
    SnapshotName,
    packed,
    unpacked,
)
from rosetta_ui.matching.passes import CorrelationPass
from rosetta_ui.matching.products import plain_tensors
from rosetta_ui.matching.published import BatchMeans, PublishedPass
from rosetta_ui.matching.sources import Images, Maps, small_maps
from rosetta_ui.matching.statistics import UnitMoments
from rosetta_ui.types import LayerSpec, ScoreName

Layers = Mapping[str, Sequence[LayerSpec]]


class Counts:
    """The sums of a match.

    Args:
        layers: model → its layers.
        plan: what is matched.
        device: where maps arrive.
        table_dir: for tables that do not fit into memory, or None.
        activations: keeps small maps, or None.
    """

    def __init__(
        self,
        layers: Layers,
        plan: MatchPlan,
        device: torch.device,
        table_dir: Path | None = None,
        activations: ActivationWriter | None = None,
    ) -> None:
        self._layers, self._plan, self._device = layers, plan, device
        self._table_dir, self._activations = table_dir, activations
        self.correlation = self._new_pass(table_dir)
        self._moments = {model: UnitMoments(specs, device) for model, specs in layers.items()}
        self._means: BatchMeans | None = None
        self._published: PublishedPass | None = None
        if plan.published:
            self._means = BatchMeans(layers, n_images=plan.n_images, batch_size=plan.published)
        self.pictures: dict[int, NDArray[np.uint8]] = {}
        self.snapshots: dict[SnapshotName, Snapshot] = {}
        self.taken: set[SnapshotName] = set()

    def add(self, images: Images, maps: Maps, first: int) -> None:
        """Count the images first, first + 1, ... of the first pass."""
        self.correlation.add(maps, first)
        for model, moments in self._moments.items():
            moments.add(maps[model])
        if self._means is not None:
            self._means.add(maps, first)
        self.keep_views(images, maps, first)

    def add_published(self, maps: Maps, first: int) -> None:
        """Count images again for the published score, after all were counted once."""
        if self._published is None:
            self._published = self._new_published()
        self._published.add(maps, first)

    def keep_views(self, images: Images, maps: Maps, first: int) -> None:
        """Keep pictures and small maps of those images that are among the first ones."""
        n = min(self._plan.n_views - first, len(images.images))
        if n <= 0:
            return
        self.pictures.update(enumerate(images.pictures()[:n], first))
        if self._activations is None:
            return
        for model, specs in self._layers.items():
            for spec in specs:
                small = small_maps(maps[model][spec.name][:n], small_size(spec))
                self._activations.record(model, spec.name, first, small)

    def missing_views(self) -> Iterator[int]:
        """Images whose pictures and small maps are still to be kept."""
        for index in range(min(self._plan.n_views, self._plan.n_images)):
            if index not in self.pictures:
                yield index

    def flush(self) -> None:
        """Write what belongs to the small maps that were kept so far."""
        if self._activations is not None:
            self._activations.flush()

    def take_snapshot(self, names: Sequence[SnapshotName], workers: Workers) -> Snapshot | None:
        """Look at the pairs found so far, for the convergence; only rank 0 gets them."""
        self.taken.update(names)
        found = self.look(workers)
        if found is not None:
            self.snapshots.update(dict.fromkeys(names, found))
        return found

    def look(self, workers: Workers) -> Snapshot | None:
        """The pairs found so far; in a shared run, together with the other processes."""
        counted = self.correlation
        if workers.world > 1:
            counted = self._new_pass(None)
            counted.load_state_dict(self.correlation.state_dict())
            workers.add_up(counted.tensors_to_reduce())
        if workers.rank:
            return None
        tables = counted.finish()
        neighbours: dict[Pair, dict[ScoreName, Neighbours]] = {
            pair: {s: tables[pair].neighbours(s, SNAPSHOT_K) for s in KEPT_SCORES}
            for pair in self._plan.pairs
        }
        n_images = next(iter(tables.values())).n_images
        return Snapshot(n_images, neighbours)

    def meet(self, workers: Workers) -> None:
        """Add up the sums of all processes; afterwards only rank 0 has all of them."""
        workers.add_up(self.correlation.tensors_to_reduce())
        for moments in self._moments.values():
            ((key, mine),) = moments.state_dict().items()
            first, *others = workers.gather(mine)
            moments.load_state_dict({key: first})
            for other in others:
                moments.add_state_({key: other})

    def finish(self, seconds: float) -> MatchOutcome:
        """The tables of everything that was counted."""
        return MatchOutcome(
            layers={model: tuple(specs) for model, specs in self._layers.items()},
            tables=self.correlation.finish(),
            published=self._published.finish() if self._published is not None else {},
            snapshots=self.snapshots,
            moments=self._moments,
            pictures=[picture for _, picture in sorted(self.pictures.items())],
            n_images=self.correlation.count,
            seconds=seconds,
        )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors (not copies) and facts for a checkpoint."""
        tensors = _under("pass/", self.correlation.state_dict())
        for model, moments in self._moments.items():
            tensors |= _under(f"moments/{model}/", moments.state_dict())
        if self._means is not None:
            tensors |= _under("means/", self._means.state_dict())
        if self._published is not None:
            tensors |= _under("published/", self._published.state_dict())
        for name, snapshot in self.snapshots.items():
            tensors |= packed(f"snapshots/{name}", snapshot)
        for index, picture in self.pictures.items():
            tensors[f"pictures/{index}"] = torch.from_numpy(np.ascontiguousarray(picture))
        facts = {
            "taken": sorted(self.taken),
            "snapshots": {name: s.n_images for name, s in self.snapshots.items()},
        }
        return tensors, facts

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            StaleCacheError: it is the state of another match.
        """
        self.correlation.load_state_dict(_of("pass/", tensors))
        for model, moments in self._moments.items():
            moments.load_state_dict(_of(f"moments/{model}/", tensors))
        if self._means is not None:
            self._means.load_state_dict(_of("means/", tensors))
        if second := _of("published/", tensors):
            self._published = self._new_published()
            self._published.load_state_dict(second)
        self.snapshots = {
            name: unpacked(_of(f"snapshots/{name}/", tensors), count, self._plan.pairs)
            for name, count in facts["snapshots"].items()
        }
        self.taken = set(facts["taken"])
        # Pictures without their small maps would leave images that cannot be shown.
        if self._activations is None or self._activations.continued:
            self.pictures = {int(i): t.numpy() for i, t in _of("pictures/", tensors).items()}

    @plain_tensors
    def _new_pass(self, table_dir: Path | None) -> CorrelationPass:
        plan = self._plan
        return CorrelationPass(
            self._layers,
            plan.pairs,
            n_images=plan.n_images,
            seed=plan.seed,
            device=self._device,
            dtype=plan.dtype,
            table_dir=table_dir,
        )

    @plain_tensors
    def _new_published(self) -> PublishedPass:
        if self._means is None:
            raise ValueError("the plan asks for no published score")
        dead: dict[str, NDArray[np.bool_]] = {}
        for (rows, cols), tables in self.correlation.finish().items():
            dead[rows], dead[cols] = tables.dead_rows(), tables.dead_cols()
        return PublishedPass(
            self._layers,
            self._plan.pairs,
            n_images=self._plan.n_images,
            batch_size=self._plan.published,
            means=self._means.finish(),
            dead=dead,
            device=self._device,
            dtype=self._plan.dtype,
        )


def table_bytes(layers: Layers, pairs: Sequence[Pair], itemsize: int) -> int:
    """Bytes of all tables while they are counted: two halves and the null of each."""
    units = {model: sum(s.channels for s in specs) for model, specs in layers.items()}
    return 3 * itemsize * sum(units[a] * units[b] for a, b in pairs)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _of(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
