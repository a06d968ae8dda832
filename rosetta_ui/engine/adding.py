"""Adding a model from a person's file, as a job. Imports no torch before the job runs."""

from __future__ import annotations

from rosetta_ui.engine.jobs import JobHandle, Work
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.models.adding import add_model, check_request
from rosetta_ui.types import AddRequest


def adding(bench: Workbench, request: AddRequest) -> Work:
    """The work of adding a model; it has no result.

    Raises:
        BadRequestError: the name cannot be used or is taken, or a value is malformed.
    """
    check_request(bench.weights, bench.registry, request)

    def work(handle: JobHandle) -> str:
        def report(done: int, total: int, text: str) -> None:
            handle.progress(done >> 10, total >> 10, text)

        add_model(bench.weights, bench.registry, request, report, handle.cancel.check)
        return ""

    return work
