"""A match that several processes share, as torchrun starts them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext

import torch

from rosetta_ui.engine.flow import (
    MatchJob,
    is_whole,
    look_at_photos,
    make_ready,
    remove_unfinished,
    run_lock,
    tell,
)
from rosetta_ui.engine.jobs import JobHandle
from rosetta_ui.engine.matching_job import run_match
from rosetta_ui.engine.requests import result_key
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError, Cancelled
from rosetta_ui.matching.distributed import TorchWorkers, WorkerLostError, local_device
from rosetta_ui.types import MatchRequest


def match_together(
    bench: Workbench, request: MatchRequest, handle: JobHandle, *, every: int = 0
) -> tuple[str, int]:
    """Do this process's part of a match.

    Args:
        bench: everything that is needed.
        request: checked.
        handle: of the job.
        every: images between saves of the state; 0 goes by the clock.

    Returns:
        The result's id, and the number of this process; 0 has written the result.

    Raises:
        BadRequestError: the published score, whose batches cannot be shared.
        WorkerLostError: another process is gone; what was counted is saved.
        RosettaError: what went wrong in this process.
    """
    if request.score == "published":
        raise BadRequestError(
            "The published score depends on its batches, so one process must see all of them.",
            "Start it without torchrun, or choose pearson or centred.",
        )
    bench.models.use(local_device(bench.models.device))
    with _group(bench.models.device) as workers:
        handle.note(f"Process {workers.rank + 1} of {workers.world} on {bench.models.device}.")
        make_ready(bench, request, handle)
        photos = look_at_photos(request, handle)
        key = result_key(request, bench.registry, bench.weights, photos.digest if photos else "")
        lead = workers.rank == 0
        with run_lock(bench, key, handle) if lead else nullcontext():
            there = torch.tensor([lead and is_whole(bench, key)], dtype=torch.int64)
            if int(workers.broadcast({"": there})[""]):
                return key, workers.rank
            job = MatchJob(request, key, handle.status.job, photos, every)
            try:
                with bench.lock.hold():
                    for said in run_match(bench, job, workers):
                        tell(handle, said)
            except Cancelled as error:
                raise WorkerLostError(
                    "This process was told to stop: another one of the run is gone, or somebody "
                    "ended it.",
                    "Run the same command again: it goes on from what was saved.",
                ) from error
            workers.barrier()  # everybody's state is dropped before the folder goes
            if lead:
                remove_unfinished(bench, key)
        return key, workers.rank


@contextmanager
def _group(device: torch.device) -> Generator[TorchWorkers]:
    workers = TorchWorkers(device)
    yield workers
    # Not after an error: leaving waits for the others, and they may be gone.
    workers.close()
