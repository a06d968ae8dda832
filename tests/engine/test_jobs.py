"""Jobs end in exactly one state, can be stopped, and share the device fairly."""

from __future__ import annotations

import threading
import time

import pytest

from rosetta_ui.engine.jobs import DeviceLock, JobBoard, JobHandle
from rosetta_ui.errors import BadRequestError, StoreError


def test_a_job_is_queued_running_and_done_with_its_result() -> None:
    board, gate = JobBoard(), threading.Event()

    def work(handle: JobHandle) -> str:
        handle.progress(1, 4, "Working.")
        gate.wait(5)
        return "the-result"

    job = board.start("match-1", "match", work)
    while board.status(job).done == 0:
        time.sleep(0.005)
    running = board.status(job)
    assert (running.state, running.done, running.total) == ("running", 1, 4)
    gate.set()
    done = board.wait(job, 5)
    assert (done.state, done.result, done.seconds_left) == ("done", "the-result", 0.0)


def test_jobs_of_one_kind_wait_in_line_and_other_kinds_do_not() -> None:
    board, gate = JobBoard(), threading.Event()
    board.start("match-1", "match", lambda _: str(gate.wait(5)))
    board.start("match-2", "match", lambda _: "")
    board.start("match-3", "match", lambda _: "")
    assert board.wait(board.start("fetch-1", "fetch", lambda _: ""), 5).state == "done"
    assert [board.status(f"match-{i}").place for i in (1, 2, 3)] == [0, 1, 2]
    assert board.status("match-3").state == "queued"
    board.stop("match-2")
    assert board.status("match-2").state == "stopped"
    assert board.status("match-3").place == 1
    gate.set()
    assert board.wait("match-3", 5).state == "done"


def test_starting_the_same_job_joins_it_while_it_runs_and_repeats_it_after() -> None:
    board, gate, runs = JobBoard(), threading.Event(), []

    def work(_handle: JobHandle) -> str:
        runs.append(1)
        gate.wait(5)
        return ""

    assert board.start("match-1", "match", work) == board.start("match-1", "match", work)
    gate.set()
    board.wait("match-1", 5)
    assert len(runs) == 1
    board.start("match-1", "match", work)
    board.wait("match-1", 5)
    assert len(runs) == 2


def test_stop_reaches_a_running_job() -> None:
    board = JobBoard()

    def work(handle: JobHandle) -> str:
        while True:
            handle.cancel.check()
            time.sleep(0.005)

    board.start("match-1", "match", work)
    board.stop("match-1")
    assert board.wait("match-1", 5).state == "stopped"


def test_a_failure_becomes_a_sentence_and_a_hint() -> None:
    board = JobBoard()

    def work(_handle: JobHandle) -> str:
        raise StoreError("The disk is full.", "Free some space.")

    status = board.wait(board.start("match-1", "match", work), 5)
    assert (status.state, status.message, status.hint) == (
        "failed",
        "The disk is full.",
        "Free some space.",
    )


def test_a_broken_job_fails_and_the_next_one_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    board, gate, reported = JobBoard(), threading.Event(), threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: reported.set())

    def work(_handle: JobHandle) -> str:
        gate.wait(5)
        raise KeyError("mistake")

    board.start("match-1", "match", work)
    board.start("match-2", "match", lambda _: "fine")
    gate.set()
    assert board.wait("match-1", 5).state == "failed"
    assert "KeyError" in board.status("match-1").message
    assert board.wait("match-2", 5).result == "fine"
    assert reported.wait(5)


def test_an_unknown_job_is_said_to_be_unknown() -> None:
    with pytest.raises(BadRequestError, match="no job 'nothing'"):
        JobBoard().status("nothing")


def test_newest_jobs_come_first_and_notes_stay() -> None:
    board = JobBoard()

    def work(handle: JobHandle) -> str:
        handle.note("Batch halved to 4.")
        return ""

    for job in ("a", "b"):
        board.wait(board.start(job, job, work), 5)
    assert [status.job for status in board.statuses()] == ["b", "a"]
    assert board.status("a").log == ("Batch halved to 4.",)


def test_rate_and_time_left_follow_from_the_images_of_this_run() -> None:
    handle = JobHandle("match-1", "match", "images")
    handle.progress(100, 200)  # a resumed run starts at 100: these are not its own images
    time.sleep(0.05)
    handle.progress(110, 200)
    status = handle.status
    assert 0 < status.rate <= 10 / 0.05
    assert status.seconds_left == pytest.approx(90 / status.rate)


def test_the_device_goes_to_whoever_waits_longest() -> None:
    lock, order = DeviceLock(), []

    def visitor(name: str) -> None:
        with lock.hold():
            order.append(name)

    with lock.hold():
        threads = [threading.Thread(target=visitor, args=(name,)) for name in ("a", "b")]
        for place, thread in enumerate(threads):
            thread.start()
            while lock.waiting <= place:
                time.sleep(0.001)
        lock.give_way()
        order.append("job")
    for thread in threads:
        thread.join()
    assert order == ["a", "b", "job"]


def test_close_stops_what_runs() -> None:
    board = JobBoard()

    def work(handle: JobHandle) -> str:
        while not handle.cancel.is_set():
            time.sleep(0.005)
        handle.cancel.check()
        return ""

    board.start("match-1", "match", work)
    board.close()
    assert board.status("match-1").state == "stopped"
