"""The match loop: draw or read images, look at them with every backbone, count, from first to last.

An iterator of steps; the caller shows progress, gives way to others and stops it. One forward of
the generator and one of each backbone an image serve every table (two where the published score is
asked for). Knows no cache keys and no result folders.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from rosetta_ui.errors import Cancelled, DeviceMemoryError, StaleCacheError
from rosetta_ui.matching.activations import ActivationWriter
from rosetta_ui.matching.counts import Counts, table_bytes
from rosetta_ui.matching.distributed import shard
from rosetta_ui.matching.outcome import (
    BLOCK,
    SNAPSHOTS,
    MatchOutcome,
    MatchPlan,
    MatchStep,
    MatchTools,
    Snapshot,
    SnapshotName,
)
from rosetta_ui.matching.precision import half_forwards, relative_error
from rosetta_ui.matching.sources import Images, ImageSource, Maps
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.probing.memory import free_bytes, gibibytes, out_of_memory
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import LayerSpec

MEMORY_SHARE = 0.5
"""Share of a CPU's free memory that tables may take, and that one batch may take."""

BATCH_BYTES = 640 << 20
"""Bytes of maps in one batch on a CPU: a 1024 px generator is as fast with 2 pictures a batch as
with 8 (0.75 s each against 1.2), and its maps take a quarter of the memory."""

LOOK_SHARE = 0.01
"""Share of the time for looks at the pairs found so far, beside those for the convergence.

A look costs as much as a snapshot: how long one takes is known once the first is taken.
"""


class MatchRun:
    """One match. Iterate `steps` to the end, then call `finish`.

    Args:
        source: makes the images.
        backbones: look at them; the first is the anchor where the source brings no maps.
        plan: what is matched.
        tools: what surrounds the run.

    Attributes:
        layers: model → its layers.
        total: images of this process, twice where the published score is asked for.
        saved: images whose counts are on disk.
    """

    def __init__(
        self,
        source: ImageSource,
        backbones: Sequence[Backbone],
        plan: MatchPlan,
        tools: MatchTools | None = None,
    ) -> None:
        self._source, self._backbones = source, tuple(backbones)
        self._plan, self._tools = plan, tools or MatchTools()
        self.layers: dict[str, tuple[LayerSpec, ...]] = {
            **{model: tuple(layers) for model, layers in source.layers.items()},
            **{backbone.card.name: backbone.layers for backbone in self._backbones},
        }
        # MPS has no float64, which the sums need: there the maps are counted on the CPU.
        mps = self._tools.device.type == "mps"
        self._counting = torch.device("cpu") if mps else self._tools.device
        self._batch = self._fitting_batch()
        self._counts = self._new_counts()
        workers, boundary = self._tools.workers, self._counts.correlation.boundary_after
        self._start, self._stop = shard(plan.n_images, workers.rank, workers.world, boundary)
        passes = 2 if plan.published else 1
        self.total = passes * (self._stop - self._start)
        self.saved = self._done = 0
        self._seconds = 0.0
        self._half_told = False
        self._found: Snapshot | None = None
        self._looked = self._look_cost = 0.0

    # The loop

    def steps(self) -> Iterator[MatchStep]:
        """Count the images batch by batch, going on from the saved state.

        Raises:
            Cancelled: `check` raised it; the state of the last whole batch is saved.
            DeviceMemoryError: one image does not fit.
            StoreError: the state could not be saved.
        """
        try:
            with torch.inference_mode():
                self._resume()
                self._look_around()
            yield self._step()
            while self._done < self.total:
                with torch.inference_mode():
                    self._advance()
                    self._look_around()
                yield self._step()
        except Cancelled:
            self._tools.stopping()
            self.save()
            raise

    def finish(self) -> MatchOutcome | None:
        """The tables; None in every process but the one of rank 0."""
        workers = self._tools.workers
        with torch.inference_mode():
            if workers.rank == 0:
                self._fill_views()
            if workers.world > 1:
                self.save()  # whoever dies from here on, nobody's images are lost
                self._counts.meet(workers)
            return None if workers.rank else self._counts.finish(self._seconds)

    def _step(self) -> MatchStep:
        found, self._found = self._found, None
        return MatchStep(self._done, self.total, self.saved, found)

    def _advance(self) -> None:
        """Count one batch, or make the batch smaller where memory does not suffice."""
        tools = self._tools
        tools.check()
        begun = time.monotonic()
        first, n = self._next_images()
        what = (
            f"{'one image' if n == 1 else f'a batch of {n} images'} of {' and '.join(self.layers)}"
        )
        try:
            with out_of_memory(tools.device, what):
                tools.before_forward(n)
                images, maps = self._forward(range(first, first + n))
        except DeviceMemoryError as error:
            self._halve(n, error)
            return
        try:
            with out_of_memory(tools.device, f"counting {what}"):
                self._count(images, maps, first)
        except DeviceMemoryError as error:
            if tools.workers.world > 1:
                raise
            # The sums may be half changed: go back to what is saved, or to the start.
            self._halve(n, error)
            self._counts = self._new_counts()
            self._resume()
            return
        self._done += n
        self._seconds += time.monotonic() - begun

    def _next_images(self) -> tuple[int, int]:
        """Number of the next image, and how many make the next batch."""
        length = self._stop - self._start
        if self._done >= length:  # the second pass, for the published score
            first = self._done - length
            return first, min(self._batch, length - first)
        first = self._start + self._done
        ends = [end for end in self._due_snapshots() if end > first]
        return first, min(self._batch, min(ends, default=self._stop) - first)

    def _forward(self, indices: Sequence[int]) -> tuple[Images, Maps]:
        """Images with these numbers and every model's maps of them."""
        if self._plan.half and not self._half_told:
            self._half_told = True
            self._tell_half(indices[:1])
        with half_forwards(self._tools.device, self._plan.half):
            return self._look(indices)

    def _tell_half(self, indices: Sequence[int]) -> None:
        """Say how far half precision is off, by an image that is looked at both ways."""
        with half_forwards(self._tools.device, on=True):
            _, half = self._look(indices)
        _, full = self._look(indices)
        for model, maps in full.items():
            median, worst = relative_error(half[model], maps)
            self._tools.note(
                f"Half precision: maps of {model} differ by {median:.2g} of a unit's deviation "
                f"(median unit; worst {worst:.2g})."
            )

    def _look(self, indices: Sequence[int]) -> tuple[Images, Maps]:
        images, maps = self._source.draw(indices, self._tools.check)
        for backbone in self._backbones:
            card = backbone.card
            prepared = backbone.normalise(images.resized(card.image_size, card.interpolation))
            prepared = prepared.contiguous(memory_format=torch.channels_last)
            # `stop`: nobody reads what comes after the last tapped layer, such as a classifier.
            with tap(
                backbone.net, backbone.layers, stop=True, on_output=lambda _: self._tools.check()
            ) as found:
                backbone.forward(prepared)
            maps[card.name] = found
        if self._counting != self._tools.device:
            maps = {m: {k: v.to(self._counting) for k, v in f.items()} for m, f in maps.items()}
        return images, maps

    def _count(self, images: Images, maps: Maps, first: int) -> None:
        if self._done < self._stop - self._start:
            self._counts.add(images, maps, first)
        else:
            self._counts.add_published(maps, first)

    def _fill_views(self) -> None:
        """Draw the first images again that another process counted, or whose maps are lost."""
        for index in self._counts.missing_views():
            self._tools.check()
            images, maps = self._forward([index])
            self._counts.keep_views(images, maps, index)
        self._counts.flush()

    # Memory

    def _halve(self, n: int, error: DeviceMemoryError) -> None:
        if n == 1:
            raise error
        self._batch = n // 2
        if self._tools.device.type == "cuda":
            torch.cuda.empty_cache()
        self._tools.note(f"The device's memory was full: batch halved to {self._batch}.")

    def _fitting_batch(self) -> int:
        """The batch asked for, or as much of it as is good for a CPU and its memory.

        A CPU without memory does not raise: the system ends the process.
        """
        wanted, device = self._plan.batch_size, self._tools.device
        if device.type == "cuda":
            return wanted
        need, free = image_bytes(self.layers), free_bytes(device)
        useful = max(BATCH_BYTES // map_bytes(self.layers), 1)
        fits = max(int(MEMORY_SHARE * free / need), 1)
        if fits < min(wanted, useful):
            self._tools.note(
                f"Batch lowered from {wanted} to {fits}: an image needs about {gibibytes(need)}, "
                f"{gibibytes(free)} is free."
            )
        return min(wanted, useful, fits)

    def _new_counts(self) -> Counts:
        plan, tools = self._plan, self._tools
        needed = table_bytes(self.layers, plan.pairs, plan.dtype.itemsize)
        on_disk = self._counting.type == "cpu" and needed > MEMORY_SHARE * free_bytes(
            self._counting
        )
        if on_disk and tools.table_dir is not None:
            tools.note(f"The tables need {gibibytes(needed)}: they are kept in files meanwhile.")
        writer = None
        if tools.activations is not None:
            n_views = min(plan.n_views, plan.n_images)
            writer = ActivationWriter(tools.activations, self.layers, n_views)
        return Counts(self.layers, plan, tools.device, tools.table_dir if on_disk else None, writer)

    # Snapshots and state

    def _due_snapshots(self) -> dict[int, list[SnapshotName]]:
        """Where this process stops for which snapshots, as numbers of images."""
        found: dict[int, list[SnapshotName]] = {}
        world, boundary = self._tools.workers.world, self._counts.correlation.boundary_after
        for name, part in SNAPSHOTS:
            wanted = -(-(self._stop - self._start) // part)
            at = min(boundary(self._start + wanted), self._stop)
            enough = self._plan.n_images // part >= BLOCK * world
            if name not in self._counts.taken and enough and (at < self._stop or world > 1):
                found.setdefault(at, []).append(name)
        return found

    def _look_around(self) -> None:
        """Between two batches: take the snapshots that are due, and save when it is time."""
        workers = self._tools.workers
        if names := self._due_snapshots().get(self._start + self._done):
            if workers.world == 1:
                self._look_at_pairs(lambda: self._counts.take_snapshot(names, workers))
            else:
                # Nobody passes this point before rank 0 has saved what was found here, so a
                # resumed run never waits for a process that is further on.
                self.save()
                self._counts.take_snapshot(names, workers)
                self.save()
                workers.barrier()
        elif workers.world == 1 and self._may_look():
            self._look_at_pairs(lambda: self._counts.look(workers))
        checkpoint, since = self._tools.checkpoint, self._done - self.saved
        if checkpoint is not None and since and checkpoint.due(self._tools.every, since):
            self.save()

    def _look_at_pairs(self, look: Callable[[], Snapshot | None]) -> None:
        begun = time.monotonic()
        self._found = look()
        self._looked = time.monotonic()
        self._look_cost = self._looked - begun

    def _may_look(self) -> bool:
        """Whether another look at the pairs costs no more than `LOOK_SHARE` of the time.

        Tables can be made at the end of a block of the null only.
        """
        counted = self._done >= self._stop - self._start
        if not self._look_cost or counted or not self._counts.correlation.at_boundary:
            return False
        return time.monotonic() - self._looked >= self._look_cost / LOOK_SHARE

    def save(self) -> None:
        """Save the state, unless nothing was counted or there is no place for it.

        Raises:
            StoreError: the disk is full or read-only.
        """
        if self._tools.checkpoint is None or not self._done:
            return
        self._counts.flush()
        tensors, facts = self._counts.state()
        facts |= {"done": self._done, "batch": self._batch, "seconds": self._seconds}
        self._tools.checkpoint.save(tensors, facts)
        self.saved = self._done

    def _resume(self) -> None:
        """Load the saved state, if it is there and whole; else begin at the start."""
        tools = self._tools
        self.saved = self._done = 0
        loaded = tools.checkpoint.load() if tools.checkpoint else None
        if tools.workers.world > 1:
            # Rank 0 knows which snapshots were taken; without it everybody begins again.
            found = torch.tensor([loaded is not None], dtype=torch.int64)
            if not int(tools.workers.broadcast({"": found})[""]):
                loaded = None
        if loaded is not None:
            try:
                self._counts.restore(*loaded)
            except StaleCacheError as error:
                tools.note(f"The saved state is not used: {error.message}")
                self._counts = self._new_counts()
            else:
                facts = loaded[1]
                self.saved = self._done = int(facts["done"])
                self._batch = min(int(facts["batch"]), self._batch)
                self._seconds = float(facts["seconds"])
                taken = self._counts.snapshots.values()
                self._found = max(taken, key=lambda snapshot: snapshot.n_images, default=None)
                tools.note(f"Going on after {self._done} saved images.")
        if tools.workers.world > 1:
            self._share()

    def _share(self) -> None:
        """Agree on the pilot and on the snapshots that are still to be taken."""
        workers, counts = self._tools.workers, self._counts
        if workers.rank == 0 and not self._done:
            self._advance()
        names: list[SnapshotName] = [name for name, _ in SNAPSHOTS]
        taken = torch.tensor([name in counts.taken for name in names], dtype=torch.int64)
        taken = workers.broadcast({"": taken})[""]
        counts.taken.clear()
        counts.taken.update(n for n, bit in zip(names, taken.tolist(), strict=True) if bit)
        pilot = workers.broadcast(counts.correlation.pilot_state())
        if workers.rank and not self._done:
            counts.correlation.load_pilot(pilot)


def map_bytes(layers: Mapping[str, Sequence[LayerSpec]]) -> int:
    """Bytes of all maps of one image."""
    return sum(4 * s.channels * s.size[0] * s.size[1] for specs in layers.values() for s in specs)


def image_bytes(layers: Mapping[str, Sequence[LayerSpec]]) -> int:
    """About how much memory one image takes while it is matched.

    All maps are held at once; the networks' own work and the resampled maps take about twice that
    again.
    """
    return 3 * map_bytes(layers)
