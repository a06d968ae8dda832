"""Images that express a neuron: what the Gallery's panel asks, and the endpoint for programs."""

# ruff: noqa: D102 - the protocol repeats methods that the engine documents

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import BadRequestError
from rosetta_ui.tabs import present
from rosetta_ui.tabs.api import HEARTBEAT, ResultsEngine, Rule, Score, known_result, selection_for
from rosetta_ui.tabs.api import told as told_to_client
from rosetta_ui.tabs.cells import cell_json
from rosetta_ui.types import (
    ExpressedImage,
    Expression,
    JobStatus,
    RosettaNeuron,
    Selection,
    Unit,
)
from rosetta_ui.widgets.factory import Asked, picture_uri, png_uri

PREVIEW = 256  # px of a picture while it is made


class ExpressEngine(ResultsEngine, Protocol):
    """What is asked of the engine."""

    def neurons(self, result: str, selection: Selection) -> list[RosettaNeuron]: ...
    def start_expression(self, result: str, neuron: RosettaNeuron) -> str: ...
    def expression(self, job: str) -> Expression: ...
    def job(self, job: str) -> JobStatus: ...
    def jobs(self) -> list[JobStatus]: ...
    def stop(self, job: str) -> None: ...


Find = Callable[[Asked], tuple[str, RosettaNeuron]]
"""The result and the neuron that a question of the page names; raises `BadRequestError`."""


class ExpressPanel:
    """Answers to the panel "show me more of this" of the large view.

    Args:
        engine: does the work.
        find: knows the page's neurons.
    """

    def __init__(self, engine: ExpressEngine, find: Find) -> None:
        self._engine, self._find = engine, find

    def express(self, asked: Asked) -> present.Json:
        """Start making images that express one neuron."""
        return {"job": self._engine.start_expression(*self._find(asked))}

    def expressed(self, asked: Asked) -> present.Json:
        """How far that is; the images where they are others than those the page has seen."""
        job = present.text_of(asked, "job")
        made = self._engine.expression(job)
        seen = present.whole_of(asked, "seen", -1, -1)
        status = present.job_json(self._engine.job(job))
        images = [_shown(image) for image in made.images] if made.step != seen else None
        return {**status, "step": made.step, "images": images or None}

    def stop(self, asked: Asked) -> present.Json:
        """Ask such a job to stop; the images that it has stay."""
        self._engine.stop(present.text_of(asked, "job"))
        return {}


def _shown(image: ExpressedImage) -> present.Json:
    return {
        "start": image.start,
        "before": picture_uri(image.before, PREVIEW),
        "after": picture_uri(image.after, PREVIEW),
        "cells": [
            {
                **cell_json(unit, values, (float(values.min()), float(values.max()))),
                "before": present.number(image.activity_before[unit], 2),
                "after": present.number(image.activity_after[unit], 2),
            }
            for unit, values in image.maps.items()
        ],
    }


class ExpressApi:
    """The endpoint; one for all visitors, so it keeps nothing about any."""

    def __init__(self, engine: ExpressEngine) -> None:
        self._engine = engine

    def express(
        self,
        neuron: str = "",
        result: str = "",
        rule: Rule = "published",
        k: int = 5,
        score: Score = "",
    ) -> Iterator[dict[str, Any]]:
        """Make images that express a Rosetta Neuron; yields progress, the finished images last.

        The natural images in which it is most active are the starts. Only the generator's own unit
        is raised; how its partners in the backbones answer is measured. Cancelling the call stops
        the work that it started.

        Args:
            neuron: its anchor, spelled `model/layer:channel`; empty takes the best.
            result: id, as `match` gives it; empty takes the first, which comes with the app.
            rule: as for `rosetta`.
            k: as for `rosetta`.
            score: as for `rosetta`.

        Returns:
            {state, step, steps, seconds_left, place, message, job, neuron, images}; images is null
            until there are new ones, else [{start: number of the natural image, before and after:
            data addresses, activity: {unit: [before, after]} in deviations above the data set's
            mean, maps: {unit: rows of raw activations} of the picture that was made}]. The last has
            state "done" and its pictures as PNG.
        """
        with told_to_client():
            result = known_result(self._engine, result)
            chosen = selection_for(self._engine, result, rule, k, score)
            found = self._neuron(result, chosen, neuron)
            busy = {s.job for s in self._engine.jobs() if s.state in ("queued", "running")}
            job = self._engine.start_expression(result, found)
            yield from self._followed(job, str(found.anchor), mine=job not in busy)

    def _neuron(self, result: str, selection: Selection, anchor: str) -> RosettaNeuron:
        found = self._engine.neurons(result, selection)
        neuron = next((n for n in found if str(n.anchor) == anchor or not anchor), None)
        if neuron is None:
            raise BadRequestError(
                f"'{anchor[:80]}' is no Rosetta Neuron here.", "Choose another rule, K or score."
            )
        return neuron

    def _followed(self, job: str, neuron: str, *, mine: bool) -> Iterator[dict[str, Any]]:
        over, seen = False, -1
        try:
            while True:
                status = self._engine.job(job)
                over = status.state not in ("queued", "running")
                if over:
                    break
                made = self._engine.expression(job)
                fresh = made.step != seen and made.images
                seen = made.step
                yield _step(status, neuron, _told(made) if fresh else None)
                time.sleep(HEARTBEAT)
        finally:
            if mine and not over:  # the caller has gone: nobody waits for these images
                self._engine.stop(job)
        if status.state == "failed":
            raise BadRequestError(status.message, status.hint)
        yield _step(status, neuron, _told(self._engine.expression(job), whole=True))


def _step(status: JobStatus, neuron: str, images: list[present.Json] | None) -> dict[str, Any]:
    return {
        "state": status.state,
        "step": status.done,
        "steps": status.total,
        "seconds_left": present.number(status.seconds_left, 1),
        "place": status.place,
        "message": status.message,
        "job": status.job,
        "neuron": neuron,
        "images": images,
    }


def _told(made: Expression, *, whole: bool = False) -> list[present.Json]:
    """The images for a program; `whole` for those that are finished."""

    def picture(image: NDArray[np.uint8]) -> str:
        return png_uri(image) if whole else picture_uri(image, PREVIEW)

    def activity(image: ExpressedImage, unit: Unit) -> list[float | None]:
        both = (image.activity_before[unit], image.activity_after[unit])
        return [present.number(value, 3) for value in both]

    return [
        {
            "start": image.start,
            "before": picture(image.before),
            "after": picture(image.after),
            "activity": {str(unit): activity(image, unit) for unit in image.maps},
            "maps": {
                str(unit): np.round(values.astype(float), 6).tolist()
                for unit, values in image.maps.items()
            },
        }
        for image in made.images
    ]


def express_endpoint(engine: ExpressEngine) -> None:
    """Add the endpoint to the page that is being built."""
    # The work waits in the engine's own queue, so several calls may follow theirs at once.
    gr.api(ExpressApi(engine).express, api_name="express", concurrency_limit=4)
