"""Long jobs: ids, places in the queue, progress, stop; and the fair lock for the device.

A job belongs to the engine, not to a page: it goes on when the page closes and is found again by
its id. Knows nothing of models or matches: a job is a function that reports to its `JobHandle`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace

from rosetta_ui.errors import BadRequestError, Cancelled, RosettaError
from rosetta_ui.types import FoundSoFar, JobState, JobStatus, MatchRequest

log = logging.getLogger(__name__)

MOST_LOOKS = 24
"""Looks at a running match that are remembered."""

KEPT_JOBS = 200
"""Snapshots of finished jobs that are remembered."""

CLOSE_SECONDS = 90.0
"""Time for a stopped job to write its state: 3.1 GB for a 1024 px generator and four backbones,
which took 27 s on a busy disk. Whoever kills the process meanwhile loses only that state."""

_RATE_WINDOW = 30.0  # seconds: long enough to smooth batches of several seconds each


class Cancel:
    """A flag that somebody pressed Stop; `check` raises it inside the job."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the job to stop."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()

    def check(self) -> None:
        """Do nothing, or end the job.

        Raises:
            Cancelled: somebody asked.
        """
        if self._event.is_set():
            raise Cancelled


class DeviceLock:
    """Who may use the device: first come, first served, so that nobody starves.

    A long job holds it and calls `give_way` between batches: whoever waits (a click, an edit) goes
    first, and the job takes its place behind them. Not re-entrant.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: deque[object] = deque()

    @contextmanager
    def hold(self) -> Generator[None]:
        """Wait for one's turn, and keep the device inside the `with`."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def give_way(self) -> None:
        """Let everybody who waits now go first; called by the holder, who then holds it again."""
        if self.waiting:
            self._leave()
            self._enter()

    @property
    def waiting(self) -> int:
        """How many wait behind the holder."""
        with self._changed:
            return max(len(self._line) - 1, 0)

    def _enter(self) -> None:
        place = object()
        with self._changed:
            self._line.append(place)
            try:
                self._changed.wait_for(lambda: self._line[0] is place)
            except BaseException:  # Ctrl-C while waiting must not leave a dead place in the line
                self._line.remove(place)
                self._changed.notify_all()
                raise

    def _leave(self) -> None:
        with self._changed:
            self._line.popleft()
            self._changed.notify_all()


class JobHandle:
    """What a running job reports to; snapshots are taken from it at any time.

    Attributes:
        cancel: to be checked often enough that Stop works within 2 s.
    """

    def __init__(
        self, job: str, kind: str, unit_name: str, request: MatchRequest | None = None
    ) -> None:
        self.cancel = Cancel()
        self.finished = threading.Event()
        self._lock = threading.Lock()
        self._status = JobStatus(
            job, kind, "queued", unit_name=unit_name, message="Waiting.", request=request
        )
        self._marks: deque[tuple[float, int]] = deque()

    @property
    def status(self) -> JobStatus:
        """A snapshot."""
        with self._lock:
            return self._status

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Say how far it is; rate and time left follow from the last 30 s of this run."""
        now = time.monotonic()
        with self._lock:
            self._marks.append((now, done))
            while len(self._marks) > 2 and now - self._marks[0][0] > _RATE_WINDOW:
                self._marks.popleft()
            first_time, first_done = self._marks[0]
            moved = done - first_done
            rate = moved / (now - first_time) if moved > 0 and now > first_time else 0.0
            self._status = replace(
                self._status,
                done=done,
                total=total,
                rate=rate,
                seconds_left=(total - done) / rate if rate else float("nan"),
                message=message or self._status.message,
            )

    def say(self, message: str) -> None:
        """Say what happens now, apart from counting."""
        with self._lock:
            self._marks.clear()
            self._status = replace(
                self._status, message=message, rate=0.0, seconds_left=float("nan")
            )

    def note(self, sentence: str) -> None:
        """Add a sentence that stays, such as "Batch halved to 4."."""
        log.info("%s: %s", self.status.job, sentence)
        with self._lock:
            self._status = replace(self._status, log=(*self._status.log, sentence))

    def tell_found(self, found: FoundSoFar) -> None:
        """Add what a look at a match has found; a look at as many images takes the place of one."""
        with self._lock:
            earlier = tuple(f for f in self._status.found if f.images < found.images)
            self._status = replace(self._status, found=(*earlier, found)[-MOST_LOOKS:])

    def end(self, state: JobState, message: str, *, hint: str = "", result: str = "") -> None:
        """Set the last state."""
        with self._lock:
            self._status = replace(
                self._status,
                state=state,
                message=message,
                hint=hint,
                result=result or self._status.result,
                seconds_left=0.0 if state == "done" else float("nan"),
            )
        self.finished.set()

    def stopped(self, message: str) -> None:
        """Say that it stopped, once; what is kept may still be written after that.

        A large state takes seconds to write, and whoever pressed Stop waits for this word only. The
        job's lane stays taken until all is written.
        """
        if not self.finished.is_set():
            self.end("stopped", message)

    def begin(self) -> None:
        """Leave the queue."""
        with self._lock:
            self._status = replace(self._status, state="running", message="Starting.")


Work = Callable[[JobHandle], str]
"""Does the job and returns the result's id (or nothing); raises RosettaError or Cancelled."""


class JobBoard:
    """All jobs of this process. Jobs of one lane run one after the other, lanes side by side."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, JobHandle] = {}
        self._lanes: dict[str, deque[tuple[JobHandle, Work]]] = {}
        self._threads: dict[str, threading.Thread] = {}

    def start(
        self,
        job: str,
        kind: str,
        work: Work,
        unit_name: str = "images",
        request: MatchRequest | None = None,
    ) -> str:
        """Queue a job in the lane of its kind; one of the same id that is not over is joined."""
        with self._lock:
            known = self._jobs.get(job)
            if known is not None and not known.finished.is_set():
                return job
            handle = JobHandle(job, kind, unit_name, request)
            self._jobs.pop(job, None)  # so that the new run is the newest in `statuses`
            self._jobs[job] = handle
            self._forget_old()
            lane = self._lanes.setdefault(kind, deque())
            lane.append((handle, work))
            if len(lane) == 1:
                self._open_lane(kind)
        return job

    def note_done(self, job: str, request: MatchRequest, result: str) -> str:
        """Enter a match that had nothing to do, because its result is there already."""
        with self._lock:
            known = self._jobs.get(job)
            if known is not None and not known.finished.is_set():
                return job
            handle = JobHandle(job, "match", "images", request)
            handle.progress(request.n_images, request.n_images)
            handle.end("done", "From the cache.", result=result)
            self._jobs.pop(job, None)
            self._jobs[job] = handle
            self._forget_old()
        return job

    def knows(self, job: str) -> bool:
        """Whether this process has had a job of this id."""
        with self._lock:
            return job in self._jobs

    def status(self, job: str) -> JobStatus:
        """A snapshot with the job's place in the queue.

        Raises:
            BadRequestError: there is no such job.
        """
        return self._placed(self._handle(job))

    def statuses(self) -> list[JobStatus]:
        """Snapshots of all jobs, newest first."""
        with self._lock:
            handles = list(self._jobs.values())
        return [self._placed(handle) for handle in reversed(handles)]

    def stop(self, job: str) -> None:
        """Ask a job to stop; one that waits in the queue stops at once.

        Raises:
            BadRequestError: there is no such job.
        """
        handle = self._handle(job)
        handle.cancel.set()
        with self._lock:
            for lane in self._lanes.values():
                for item in list(lane)[1:]:
                    if item[0] is handle:
                        lane.remove(item)
                        handle.end("stopped", "Stopped before it began.")

    def wait(self, job: str, timeout: float | None = None) -> JobStatus:
        """Wait until a job is over, or for some seconds; then a snapshot."""
        self._handle(job).finished.wait(timeout)
        return self.status(job)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Stop every job and give each some seconds to keep what it has."""
        with self._lock:
            open_jobs = [j for j, handle in self._jobs.items() if not handle.finished.is_set()]
            threads = list(self._threads.values())
        for job in open_jobs:
            self.stop(job)
        for thread in threads:
            thread.join(timeout)

    def _handle(self, job: str) -> JobHandle:
        with self._lock:
            if job not in self._jobs:
                raise BadRequestError(f"There is no job '{job}'.", "Start it again.")
            return self._jobs[job]

    def _placed(self, handle: JobHandle) -> JobStatus:
        with self._lock:
            for lane in self._lanes.values():
                for place, (other, _) in enumerate(lane):
                    if other is handle:
                        return replace(handle.status, place=place)
        return handle.status

    def _forget_old(self) -> None:
        over = [job for job, handle in self._jobs.items() if handle.finished.is_set()]
        for job in over[: max(len(over) - KEPT_JOBS, 0)]:
            del self._jobs[job]

    def _open_lane(self, kind: str) -> None:
        thread = threading.Thread(
            target=self._run_lane, args=(kind,), name=f"rosetta-{kind}", daemon=True
        )
        self._threads[kind] = thread
        thread.start()

    def _run_lane(self, kind: str) -> None:
        """Run the lane's first job; one thread a job, so that a broken one takes no other along."""
        lane = self._lanes[kind]
        with self._lock:
            handle, work = lane[0]
        try:
            _run(handle, work)
        finally:
            with self._lock:
                lane.popleft()
                if lane:
                    self._open_lane(kind)


def _run(handle: JobHandle, work: Work) -> None:
    handle.begin()
    try:
        handle.cancel.check()
        result = work(handle)
    except Cancelled:
        handle.stopped("Stopped.")
    except RosettaError as error:
        log.exception("job %s failed", handle.status.job)
        handle.end("failed", error.message, hint=error.hint)
    except BaseException as error:
        # A mistake of ours: the page must not wait for ever; the thread's hook still reports it.
        handle.end(
            "failed", f"The job broke: {type(error).__name__}: {error}.", hint="See the log."
        )
        raise
    else:
        handle.end("done", "Done.", result=result)
