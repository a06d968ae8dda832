"""The match loop: draw or read images, look at them with every backbone, count, from first to last.

An iterator of steps; the caller shows progress, gives way to others and stops it. One forward of
the generator and one of each backbone an image serve every table. Knows no cache keys and no
result folders: it gives tables, statistics, pictures and small maps.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.errors import Cancelled, DeviceMemoryError
from rosetta_ui.matching.activations import small_size
from rosetta_ui.matching.distributed import shard
from rosetta_ui.matching.neighbours import Neighbours
from rosetta_ui.matching.outcome import (
    BLOCK,
    KEPT_SCORES,
    SNAPSHOT_K,
    SNAPSHOTS,
    MatchOutcome,
    MatchPlan,
    MatchStep,
    MatchTools,
    Pair,
    Snapshot,
    packed,
    unpacked,
)
from rosetta_ui.matching.passes import CorrelationPass
from rosetta_ui.matching.sources import Images, ImageSource, Maps, small_maps
from rosetta_ui.matching.statistics import UnitMoments
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.probing.memory import free_bytes, gibibytes, out_of_memory
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import LayerSpec, ScoreName


class MatchRun:
    """One match. Iterate `steps` to the end, then call `finish`.

    Args:
        source: makes the images.
        backbones: look at them; the first is the anchor where the source brings no maps.
        plan: what is matched.
        tools: what surrounds the run.
    """

    def __init__(
        self,
        source: ImageSource,
        backbones: Sequence[Backbone],
        plan: MatchPlan,
        tools: MatchTools | None = None,
    ) -> None:
        self._source = source
        self._backbones = tuple(backbones)
        self._plan = plan
        self._tools = tools or MatchTools()
        self.layers: dict[str, tuple[LayerSpec, ...]] = {
            **{model: tuple(layers) for model, layers in source.layers.items()},
            **{backbone.card.name: backbone.layers for backbone in self._backbones},
        }
        self._batch = self._fitting_batch()
        self._reset()
        workers = self._tools.workers
        self._start, self._stop = shard(
            plan.n_images, workers.rank, workers.world, self._pass.boundary_after
        )
        self._done = self._start
        self._saved = self._start

    # The loop

    def steps(self) -> Iterator[MatchStep]:
        """Count the images batch by batch, going on from the saved state.

        Raises:
            Cancelled: `check` raised it; the state of the last whole batch is saved.
            DeviceMemoryError: one image does not fit.
            StoreError: the state could not be saved.
        """
        with torch.inference_mode():
            self._resume()
        yield self._step()
        try:
            while self._done < self._stop:
                with torch.inference_mode():
                    self._advance()
                yield self._step()
        except Cancelled:
            self._tools.stopping()
            self._save()
            raise

    def finish(self) -> MatchOutcome | None:
        """The tables; None in every process but the one of rank 0."""
        tools = self._tools
        with torch.inference_mode():
            self._fill_views()
            if tools.workers.world > 1:
                self._save()  # whoever dies from here on, nobody's images are lost
                self._meet_moments()
                tools.workers.add_up(self._pass.tensors_to_reduce())
                if tools.workers.rank:
                    return None
            tables = self._pass.finish()
            return MatchOutcome(
                tables,
                self._snapshots,
                self._moments,
                [picture for _, picture in sorted(self._pictures.items())],
                self._plan.n_images,
                self._seconds,
            )

    def _step(self) -> MatchStep:
        return MatchStep(self._done - self._start, self._stop - self._start)

    def _advance(self) -> None:
        """Count one batch, or make the batch smaller where memory does not suffice."""
        tools = self._tools
        tools.check()
        begun = time.monotonic()
        target = next(self._cuts())
        n = min(self._batch, target - self._done)
        names = " and ".join(self.layers)
        try:
            with out_of_memory(tools.device, f"{_counted(n)} of {names}"):
                tools.before_forward(n)
                images, maps = self._forward(range(self._done, self._done + n))
        except DeviceMemoryError as error:
            self._halve(n, error)
            return
        try:
            with out_of_memory(tools.device, f"counting {_counted(n)} of {names}"):
                self._count(images, maps)
        except DeviceMemoryError as error:
            # The sums may be half changed: go back to what is saved, or to the start.
            if tools.workers.world > 1:
                raise
            self._halve(n, error)
            self._reset()
            self._resume()
            return
        self._seconds += time.monotonic() - begun
        if self._done in self._due_snapshots():
            self._take_snapshots()
        if tools.checkpoint is not None and tools.checkpoint.due(
            tools.every, self._done - self._saved
        ):
            self._save()

    def _forward(self, indices: Sequence[int]) -> tuple[Images, Maps]:
        """Images with these numbers and every model's maps of them."""
        images, maps = self._source.draw(indices, self._tools.check)
        for backbone in self._backbones:
            card = backbone.card
            resized = images.resized(card.image_size, card.interpolation)
            prepared = backbone.normalise(resized)
            # `stop`: nobody reads what comes after the last tapped layer, such as a classifier.
            with tap(
                backbone.net,
                backbone.layers,
                stop=True,
                on_output=lambda _: self._tools.check(),
            ) as found:
                backbone.forward(prepared)
            maps[card.name] = found
        return images, maps

    def _count(self, images: Images, maps: Maps) -> None:
        first = self._done
        self._pass.add(maps, first)
        for model, moments in self._moments.items():
            moments.add(maps[model])
        self._keep_views(first, images, maps)
        self._done += len(images.images)

    def _cuts(self) -> Iterator[int]:
        """Where batches must end: at snapshots and at the end of the shard."""
        ends = sorted({*self._due_snapshots(), self._stop})
        return itertools.dropwhile(lambda end: end <= self._done, ends)

    def _halve(self, n: int, error: DeviceMemoryError) -> None:
        if n == 1:
            raise error
        self._batch = n // 2
        if self._tools.device.type == "cuda":
            torch.cuda.empty_cache()
        self._tools.note(f"The device's memory was full: batch halved to {self._batch}.")

    def _fitting_batch(self) -> int:
        """The batch asked for, or as much of it as fits into the memory of a CPU.

        A CPU without memory does not raise: the system ends the process.
        """
        wanted = self._plan.batch_size
        device = self._tools.device
        if device.type == "cuda":
            return wanted
        need, free = image_bytes(self.layers), free_bytes(device)
        fits = max(int(0.8 * free / need), 1)
        if fits >= wanted:
            return wanted
        self._tools.note(
            f"Batch lowered from {wanted} to {fits}: an image needs about {gibibytes(need)}, "
            f"{gibibytes(free)} is free."
        )
        return fits

    # Pictures and small maps

    def _keep_views(self, first: int, images: Images, maps: Maps) -> None:
        n = min(self._plan.n_views - first, len(images.images))
        if n <= 0:
            return
        self._pictures.update(enumerate(images.pictures()[:n], first))
        if (writer := self._tools.activations) is None:
            return
        for model, specs in self.layers.items():
            for spec in specs:
                small = small_maps(maps[model][spec.name][:n], small_size(spec))
                writer.record(model, spec.name, first, small)

    def _fill_views(self) -> None:
        """Draw the first images again that another process counted, or whose maps are lost."""
        if self._tools.workers.rank == 0:
            for index in range(min(self._plan.n_views, self._plan.n_images)):
                if index not in self._pictures:
                    self._tools.check()
                    images, maps = self._forward([index])
                    self._keep_views(index, images, maps)
            if self._tools.activations is not None:
                self._tools.activations.flush()

    # Snapshots

    def _due_snapshots(self) -> dict[int, list[str]]:
        """Where this process stops for which snapshots."""
        found: dict[int, list[str]] = {}
        world = self._tools.workers.world
        for name, part in SNAPSHOTS:
            wanted = -(-(self._stop - self._start) // part)
            at = min(self._pass.boundary_after(self._start + wanted), self._stop)
            enough = self._plan.n_images // part >= BLOCK * world
            if name not in self._taken and enough and (at < self._stop or world > 1):
                found.setdefault(at, []).append(name)
        return found

    def _take_snapshots(self) -> None:
        names = self._due_snapshots()[self._done]
        together = self._tools.workers.world > 1
        if together:
            # Nobody passes this point before rank 0 has saved what was found here, so a resumed
            # run never waits for a process that is further on.
            self._save()
        counted = self._pass
        if together:
            counted = self._new_pass()
            counted.load_state_dict({k: v.clone() for k, v in self._pass.state_dict().items()})
            self._tools.workers.add_up(counted.tensors_to_reduce())
        self._taken.update(names)
        if self._tools.workers.rank == 0:
            tables = counted.finish()
            neighbours: dict[Pair, dict[ScoreName, Neighbours]] = {
                pair: {s: tables[pair].neighbours(s, SNAPSHOT_K) for s in KEPT_SCORES}
                for pair in self._plan.pairs
            }
            n_images = next(iter(tables.values())).n_images
            self._snapshots.update({name: Snapshot(n_images, neighbours) for name in names})
        if together:
            self._save()
            self._tools.workers.barrier()

    # State

    def _new_pass(self) -> CorrelationPass:
        plan = self._plan
        return CorrelationPass(
            self.layers,
            plan.pairs,
            n_images=plan.n_images,
            seed=plan.seed,
            device=self._tools.device,
            dtype=plan.dtype,
        )

    def _reset(self) -> None:
        self._pass = self._new_pass()
        self._moments = {m: UnitMoments(s, self._tools.device) for m, s in self.layers.items()}
        self._pictures: dict[int, NDArray[np.uint8]] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._taken: set[str] = set()
        self._seconds = 0.0

    def _save(self) -> None:
        checkpoint = self._tools.checkpoint
        if checkpoint is None or self._done == self._start:
            return
        if self._tools.activations is not None:
            self._tools.activations.flush()
        state = {f"pass/{k}": v for k, v in self._pass.state_dict().items()}
        for model, moments in self._moments.items():
            state |= {f"moments/{model}/{k}": v for k, v in moments.state_dict().items()}
        for name, snapshot in self._snapshots.items():
            state |= packed(f"snapshots/{name}", snapshot)
        for index, picture in self._pictures.items():
            state[f"pictures/{index}"] = torch.from_numpy(np.ascontiguousarray(picture))
        facts = {
            "done": self._done,
            "batch": self._batch,
            "seconds": self._seconds,
            "taken": sorted(self._taken),
            "snapshots": {name: s.n_images for name, s in self._snapshots.items()},
        }
        checkpoint.save(state, facts)
        self._saved = self._done

    def _resume(self) -> None:
        """Load the saved state, if it is there and whole; else begin at the start."""
        self._done = self._saved = self._start
        loaded = self._tools.checkpoint.load() if self._tools.checkpoint else None
        workers = self._tools.workers
        if workers.world > 1:
            # Rank 0 knows which snapshots were taken; without it everybody begins again.
            found = torch.tensor([loaded is not None], dtype=torch.int64)
            if not int(workers.broadcast({"": found})[""]):
                loaded = None
        if loaded is not None:
            self._restore(*loaded)
        if workers.world > 1:
            self._share()

    def _restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        def under(prefix: str) -> dict[str, Tensor]:
            return {
                name.removeprefix(prefix): tensor
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }

        self._pass.load_state_dict(under("pass/"))
        for model, moments in self._moments.items():
            moments.load_state_dict(under(f"moments/{model}/"))
        self._snapshots = {
            name: unpacked(under(f"snapshots/{name}/"), count, self._plan.pairs)
            for name, count in facts["snapshots"].items()
        }
        self._taken = set(facts["taken"])
        self._done = self._saved = int(facts["done"])
        self._batch = min(int(facts["batch"]), self._batch)
        self._seconds = float(facts["seconds"])
        writer = self._tools.activations
        if writer is None or writer.continued:
            self._pictures = {int(i): t.numpy() for i, t in under("pictures/").items()}
        self._tools.note(f"Going on after {self._done - self._start} saved images.")

    def _share(self) -> None:
        """Agree on the pilot and on the snapshots that are still to be taken."""
        workers = self._tools.workers
        if workers.rank == 0 and self._done == self._start and self._start < self._stop:
            self._advance()
        names = [name for name, _ in SNAPSHOTS]
        taken = torch.tensor([name in self._taken for name in names], dtype=torch.int64)
        taken = workers.broadcast({"": taken})[""]
        self._taken = {name for name, bit in zip(names, taken.tolist(), strict=True) if bit}
        pilot = workers.broadcast(self._pass.pilot_state())
        if self._done == self._start:
            self._pass.load_pilot(pilot)

    def _meet_moments(self) -> None:
        for moments in self._moments.values():
            ((key, mine),) = moments.state_dict().items()
            first, *others = self._tools.workers.gather(mine)
            moments.load_state_dict({key: first})
            for other in others:
                moments.add_state_({key: other})


def image_bytes(layers: Mapping[str, Sequence[LayerSpec]]) -> int:
    """About how much memory one image takes while it is matched.

    All maps are held at once; the networks' own work and the resampled maps take about twice that
    again.
    """
    maps = sum(4 * s.channels * s.size[0] * s.size[1] for specs in layers.values() for s in specs)
    return 3 * maps


def _counted(n: int) -> str:
    return "one image" if n == 1 else f"a batch of {n} images"
