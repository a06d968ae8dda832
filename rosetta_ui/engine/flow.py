"""A match from its request to its result, as far as no device is needed: weights, photos, cache.

Imports no torch; the part that needs the device goes through `dispatch`.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rosetta_ui.engine.dispatch import dispatch
from rosetta_ui.engine.jobs import JobHandle
from rosetta_ui.engine.requests import checked, job_id, result_key
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import Cancelled, RosettaError, StoreError, WeightsUnavailableError
from rosetta_ui.matching.photos import PhotoSet, choose_photos, describe_refused
from rosetta_ui.store.checked import Checked
from rosetta_ui.store.files import folder_bytes, read_json, said_plainly
from rosetta_ui.store.keys import digest
from rosetta_ui.store.record import request_of
from rosetta_ui.types import JobStatus, MatchRequest, ModelCard

log = logging.getLogger(__name__)

RUN = "run.json"
"""Beside the saved state: which request it belongs to, for another start of the app."""

UNFINISHED_SHARE = 0.25
"""Share of the cache's budget that the states of unfinished runs may take."""

_WAIT = 0.2  # seconds between looks at a lock: Stop must work while waiting


@dataclass(frozen=True)
class MatchJob:
    """A match that is ready to run.

    Attributes:
        request: checked.
        key: id of the result it will leave.
        job: id of the job, so that Stop reaches it.
        photos: the pictures, where they take the generator's place.
        every: images between saves of the state; 0 goes by the clock.
        seconds: after which to save and say `again`; 0 is never.
        before_forward: see `MatchTools`; for tests.
    """

    request: MatchRequest
    key: str
    job: str = ""
    photos: PhotoSet | None = None
    every: int = 0
    seconds: float = 0.0
    before_forward: Callable[[int], None] | None = None


def activations_key(result: str) -> str:
    """Where the small maps of all units of a result are in the store."""
    return digest("activations", {"result": result})


def photo_size(cards: Sequence[ModelCard]) -> tuple[int, int]:
    """(height, width) that photos are brought to: the first backbone's aspect, the largest side."""
    height, width = cards[0].image_size
    largest = max(max(card.image_size) for card in cards)
    scale = largest / max(height, width)
    return round(height * scale), round(width * scale)


def cached_result(bench: Workbench, request: MatchRequest) -> str | None:
    """The id of a request's result, if it is in the cache and whole; quick, for photos unknown."""
    if request.photos:
        return None
    try:
        key = result_key(request, bench.registry, bench.weights)
    except WeightsUnavailableError:
        return None
    return key if is_whole(bench, key) else None


def is_whole(bench: Workbench, key: str) -> bool:
    """Whether a result is in the store; a damaged one is dropped, so that it is made again."""
    if bench.store.folder(key) is None:
        return False
    try:
        bench.shelf.open(key)
    except StoreError as error:
        log.warning("a cached result is dropped and made again: %s", error.sentence)
        bench.store.drop(key)
        return False
    return True


def match(
    bench: Workbench, token: str, request: MatchRequest, handle: JobHandle, *, every: int = 0
) -> str:
    """Do a match as a job: make weights ready, choose photos, run, keep the result.

    Args:
        bench: everything that is needed.
        token: of the bench, for `dispatch`.
        request: checked.
        handle: of the job.
        every: images between saves of the state; 0 goes by the clock.

    Returns:
        The result's id.

    Raises:
        Cancelled: somebody pressed Stop; what was counted is saved.
        RosettaError: what went wrong, as a sentence.
    """
    make_ready(bench, request, handle)
    photos = look_at_photos(request, handle)
    key = result_key(request, bench.registry, bench.weights, photos.digest if photos else "")
    if is_whole(bench, key):
        return key
    with run_lock(bench, key, handle):
        if is_whole(bench, key):  # another process was first
            return key
        clear_unfinished(bench, keep=key)
        job = MatchJob(request, key, handle.status.job, photos, every)
        _run(bench, token, job, handle)
        remove_unfinished(bench, key)
    return key


def _run(bench: Workbench, token: str, job: MatchJob, handle: JobHandle) -> None:
    handle.say("Waiting for the device.")
    with bench.lock.hold():
        again = True
        while again:
            again = False
            task = dispatch("match", token, {"job": job})
            for said in task:
                again = tell(handle, said)
                _pause(bench, handle, task)


def _pause(bench: Workbench, handle: JobHandle, task: Iterator[Any]) -> None:
    """Give way between two steps; a Stop that comes here is the task's too, so that it saves."""
    try:
        bench.pause(handle)
    except Cancelled as stop:
        if isinstance(task, Generator):
            task.throw(stop)
        raise


def tell(handle: JobHandle, said: Any) -> bool:
    """Pass on what a task says; True where it asks to be called again."""
    if "say" in said:
        handle.say(said["say"])
    if "note" in said:
        handle.note(said["note"])
    if "found" in said:
        handle.tell_found(said["found"])
    if "done" in said:
        handle.progress(said["done"], said["total"], "Matching.")
    return bool(said.get("again"))


def make_ready(bench: Workbench, request: MatchRequest, handle: JobHandle) -> None:
    """Fetch and convert what is missing of a request's models.

    Raises:
        WeightsUnavailableError: a model cannot be had; says what to bring where.
    """
    names = [name for name in (request.generator, *request.backbones) if name]
    cards = [bench.registry.card(name) for name in names]
    missing = [card for card in cards if bench.weights.state(card).state == "fetch"]
    if missing:
        bench.weights.ensure_all(
            missing,
            lambda done, total, text: handle.progress(done >> 10, total >> 10, text),
            handle.cancel.check,
        )
    refuse_missing(bench, request)


def refuse_missing(bench: Workbench, request: MatchRequest) -> None:
    """Refuse a request whose weights a person must bring first.

    Raises:
        WeightsUnavailableError: says what to bring where.
    """
    for name in (request.generator, *request.backbones):
        if name and bench.weights.state(card := bench.registry.card(name)).state == "add":
            bench.weights.record(card)  # raises the sentence


def look_at_photos(request: MatchRequest, handle: JobHandle) -> PhotoSet | None:
    """Choose and check the photos of a request, if it has any; refused files become notes.

    Raises:
        BadRequestError: no picture can be read.
    """
    if not request.photos:
        return None
    handle.say("Looking through the photos.")
    photos = choose_photos(
        Path(request.photos), request.n_images, request.seed, handle.cancel.check
    )
    for sentence in describe_refused(photos.refused):
        handle.note(sentence)
    if len(photos) < request.n_images:
        handle.note(f"The folder has {len(photos)} usable pictures; all of them are matched.")
    return photos


@contextmanager
def run_lock(bench: Workbench, name: str, handle: JobHandle) -> Generator[None]:
    """Let one process at a time work on a run; the lock ends with its process, also after kill -9.

    Raises:
        Cancelled: somebody pressed Stop while waiting.
        StoreError: the cache folder cannot be written.
    """
    lock = _lock(bench, name)
    with said_plainly(Path(lock.lock_file), "write"):
        while True:
            try:
                lock.acquire(timeout=_WAIT)
                break
            except Timeout:
                handle.say("Waiting: another process runs the same match.")
                handle.cancel.check()
    try:
        yield
    finally:
        lock.release()


def unfinished(bench: Workbench) -> Iterator[tuple[Path, JobStatus, MatchRequest]]:
    """Runs that were stopped or killed and can go on: folder, status and request, newest first."""
    folder = bench.settings.cache_dir / "work"
    runs = sorted(folder.glob(f"*/{RUN}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in runs:
        try:
            data = Checked(read_json(path), str(path))
            request = checked(request_of(data.get("request")), bench.registry)
            done, total = (data.get(name).integer(0, 1 << 40) for name in ("done", "total"))
        except RosettaError as error:
            log.warning("an unfinished run is left out: %s", error.sentence)
            continue
        text = f"Stopped after {done} of {total} images. The same match goes on from there."
        status = JobStatus(
            job_id(request), "match", "stopped", done, total, message=text, request=request
        )
        yield path.parent, status, request


def clear_unfinished(bench: Workbench, keep: str) -> None:
    """Remove the states of the oldest unfinished runs where all together take too much."""
    limit = UNFINISHED_SHARE * bench.store.budget_bytes
    total = 0
    for folder, status, _ in list(unfinished(bench)):
        total += folder_bytes(folder)
        if total <= limit or folder.name == keep:
            continue
        lock = _lock(bench, folder.name)
        try:
            with lock.acquire(timeout=0):
                log.info("the state of %s is removed to keep the cache's budget", status.job)
                remove_unfinished(bench, folder.name)
        except Timeout:
            log.info("the state of %s stays: another process works on it", status.job)


def forget_unfinished(bench: Workbench, request: MatchRequest) -> None:
    """Remove the state of a request's unfinished run, if there is one."""
    for folder, status, _ in list(unfinished(bench)):
        if status.job == job_id(request):
            with _lock(bench, folder.name).acquire():
                remove_unfinished(bench, folder.name)


def sweep_finished(bench: Workbench, key: str) -> None:
    """Remove the state of a run whose result is kept: its process died between the two."""
    if bench.work_folder(key).is_dir():
        try:
            with _lock(bench, key).acquire(timeout=0):
                remove_unfinished(bench, key)
        except Timeout:
            log.info("the state of %s is being removed by another process", key)


def remove_unfinished(bench: Workbench, key: str) -> None:
    """Remove the state of one run; the caller holds its lock.

    The lock's own file stays: removing it would let two processes hold "the" lock.
    """
    folder = bench.work_folder(key)
    with said_plainly(folder, "remove"):
        if folder.is_dir():
            shutil.rmtree(folder)


def _lock(bench: Workbench, name: str) -> FileLock:
    path = bench.work_folder(name).with_name(f"{name}.lock")
    with said_plainly(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)
