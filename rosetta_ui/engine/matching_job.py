"""The part of a match that needs the device: models, the loop, and the result that it leaves.

Called through `dispatch`, so it takes plain values and yields plain values: `say` (what happens
now), `note` (a sentence that stays), `done` and `total`, `again` (time is up: call once more), and
last `result`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from rosetta_ui.engine.flow import RUN, MatchJob, activations_key, photo_size
from rosetta_ui.engine.requests import anchor_of, pairs_of
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.engine.writing import RunNotes, write_result
from rosetta_ui.errors import BadRequestError, Cancelled
from rosetta_ui.matching.activations import Activations
from rosetta_ui.matching.checkpoint import Checkpoint
from rosetta_ui.matching.distributed import Alone, Workers
from rosetta_ui.matching.match import MatchRun
from rosetta_ui.matching.outcome import MatchOutcome, MatchPlan, MatchTools, Snapshot
from rosetta_ui.matching.partial import found_so_far
from rosetta_ui.matching.sources import GeneratedImages, ImageSource, PhotoImages
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.store.files import said_plainly, write_json
from rosetta_ui.types import FoundSoFar, UnitIndex

STOPPED = "Stopped. The same match goes on where it stopped."

N_VIEWS = 48
"""First images whose pictures and small maps are kept."""


def run(bench: Workbench, values: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The task `match` of `dispatch`; takes a `MatchJob` as `job`."""
    yield from run_match(bench, values["job"])


@dataclass
class _Told:
    """Sentences on their way to the person."""

    notes: list[str] = field(default_factory=list[str])
    new: list[str] = field(default_factory=list[str])

    def add(self, sentence: str) -> None:
        self.notes.append(sentence)
        self.new.append(sentence)

    def fresh(self) -> Iterator[dict[str, Any]]:
        while self.new:
            yield {"note": self.new.pop(0)}


def run_match(
    bench: Workbench, job: MatchJob, workers: Workers | None = None
) -> Iterator[dict[str, Any]]:
    """Run a match, going on with what an earlier run left, and keep its result.

    Args:
        bench: models, disk and the device's lock; the caller holds the lock.
        job: what to do.
        workers: the processes that share the run.

    Raises:
        Cancelled: somebody pressed Stop; the state is saved.
        RosettaError: see `MatchRun` and `write_result`.
    """
    workers = workers or Alone()
    told = _Told()
    if job.request.half and bench.models.device.type != "cuda":
        raise BadRequestError(
            f"Half precision needs a CUDA device, and this one is '{bench.models.device}'.",
            "Run the same match without them.",
        )
    yield {"say": "Loading models."}
    source, backbones = _models(bench, job)
    tools = _tools(bench, job, workers, told)
    match = MatchRun(source, backbones, _plan(job), tools)
    if tools.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(tools.device)
    yield {"say": "Matching."}
    if (yield from _count(bench, job, match, told)):
        yield {"again": True}
        return
    yield {"say": "Making tables."}
    try:
        outcome = match.finish()
        yield from told.fresh()
        if outcome is not None:
            yield from _keep(bench, job, outcome, told)
    except Cancelled:
        match.save()
        raise
    workers.barrier()
    if tools.checkpoint is not None:
        tools.checkpoint.drop()
    yield {"result": job.key}


def _keep(
    bench: Workbench, job: MatchJob, outcome: MatchOutcome, told: _Told
) -> Generator[dict[str, Any]]:
    """Write the result and the small maps, and put both into the store."""
    device = bench.models.device
    notes = RunNotes(tuple(told.notes), _peak_bytes(device), str(device), job.photos)
    kept = bench.work_folder(job.key) / "activations"
    small = Activations(kept, outcome.layers, len(outcome.pictures))
    pause = partial(bench.pause, bench.handle(job.job))
    folder = yield from write_result(bench, job.request, outcome, small, notes, pause)
    bench.store.commit_folder(activations_key(job.key), kept, "activations")
    bench.store.commit_folder(job.key, folder)


def _count(
    bench: Workbench, job: MatchJob, match: MatchRun, told: _Told
) -> Generator[dict[str, Any], None, bool]:
    """Run the loop; True where its time is up before the last image."""
    begun, first, saved, counted = time.monotonic(), -1, -1, 0
    run = bench.work_folder(job.key) / RUN
    try:
        for step in match.steps():
            first = step.done if first < 0 else first
            counted = step.done
            yield from told.fresh()
            yield {"done": step.done, "total": step.total}
            if step.found is not None:
                yield {"found": _found(job, match, step.found)}
            if step.saved != saved:
                saved = step.saved
                _write_run(run, job, saved, step.total)
            late = job.seconds and time.monotonic() - begun > job.seconds
            if late and first < step.done < step.total:
                match.save()
                return True
    except Cancelled:
        if match.saved < counted:
            match.save()  # Stop came between two batches, where the loop does not hear of it
        _write_run(run, job, match.saved, match.total)
        raise
    return False


def _found(job: MatchJob, match: MatchRun, look: Snapshot) -> FoundSoFar:
    """What a look at the tables has found, under the score that was asked for."""
    anchor = anchor_of(job.request)
    score = "centred" if job.request.score == "centred" else "pearson"
    tables = {
        cols: scores[score] for (rows, cols), scores in look.neighbours.items() if rows == anchor
    }
    indexes = {model: UnitIndex(layers) for model, layers in match.layers.items()}
    return found_so_far(look.n_images, tables, indexes, anchor)


def _write_run(path: Path, job: MatchJob, done: int, total: int) -> None:
    """What another start of the app can tell about an unfinished run."""
    values = {"job": job.job, "request": asdict(job.request), "done": done, "total": total}
    with said_plainly(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, values)


def _models(bench: Workbench, job: MatchJob) -> tuple[ImageSource, list[Backbone]]:
    request = job.request
    backbones = [bench.models.backbone(name) for name in request.backbones]
    if job.photos is None:
        generator = bench.models.generator(request.generator)
        return GeneratedImages(generator, request.seed, request.class_index, request.psi), backbones
    size = photo_size([backbone.card for backbone in backbones])
    return PhotoImages(job.photos, size, bench.models.device), backbones


def _plan(job: MatchJob) -> MatchPlan:
    request = job.request
    return MatchPlan(
        pairs=pairs_of(request),
        n_images=request.n_images if job.photos is None else len(job.photos),
        batch_size=request.batch_size,
        seed=request.seed,
        dtype=getattr(torch, request.dtype),
        n_views=N_VIEWS,
        published=request.batch_size if request.score == "published" else 0,
        half=request.half,
    )


def _tools(bench: Workbench, job: MatchJob, workers: Workers, told: _Told) -> MatchTools:
    folder = bench.work_folder(job.key)
    handle = bench.handle(job.job)
    part = f"-{workers.rank}-of-{workers.world}" if workers.world > 1 else ""
    return MatchTools(
        device=bench.models.device,
        check=partial(bench.pause, handle),
        stopping=partial(handle.stopped, STOPPED) if handle else _nothing,
        note=told.add,
        checkpoint=Checkpoint(folder / f"state{part}.safetensors"),
        every=job.every,
        activations=folder / "activations" if workers.rank == 0 else None,
        workers=workers,
        before_forward=job.before_forward or _none,
        table_dir=folder / f"tables{part}",
    )


def _nothing() -> None:
    pass


def _none(_images: int) -> None:
    pass


def _peak_bytes(device: torch.device) -> int:
    """Most memory that was used: on a GPU by this run, on a CPU by this process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
