"""The app for programs: named endpoints that `gradio_client` calls; nothing else is public.

    match     run, join or resume a match; yields its progress, the finished one last
    rosetta   the Rosetta Neurons of a result, as `rosetta --json` prints them
    heatmaps  maps of some units on one image
    export    a file of a result
    edit      change a picture; yields frames, the finished picture last
    invert    a picture looked for in a generator's world (`tabs/api_invert.py`)
    express   images that express a neuron (`tabs/expressing.py`)

Results are named by their ids only: a visitor's text is never taken for a path.
"""

# ruff: noqa: D102 - the protocol repeats methods that the engine documents

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, Protocol

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import BadRequestError, RosettaError
from rosetta_ui.tabs import present
from rosetta_ui.tabs.api_edit import EditApi, EditApiEngine
from rosetta_ui.tabs.files import file_json
from rosetta_ui.types import (
    HeatmapRow,
    JobStatus,
    MatchRequest,
    MatchSummary,
    PersonNames,
    ResultInfo,
    Selection,
    Unit,
)
from rosetta_ui.widgets.factory import picture_uri

ENDPOINTS = ("match", "rosetta", "heatmaps", "export", "express", "edit", "invert")
HEARTBEAT = 0.25  # seconds between looks at a job: also how long a cancelled call goes on
MOST_UNITS = 64

Rule = Literal["published", "mutual", "clique"]
Score = Literal["", "pearson", "centred", "published"]
Kind = Literal["json", "csv", "parquet", "zip", "html", "webp"]


class ResultsEngine(Protocol):
    """Knows which results there are."""

    def results(self) -> list[ResultInfo]: ...


class ApiEngine(EditApiEngine, ResultsEngine, Protocol):
    """What programs ask of the engine."""

    def default_request(self) -> MatchRequest: ...
    def start_match(self, request: MatchRequest) -> str: ...
    def job(self, job: str) -> JobStatus: ...
    def jobs(self) -> list[JobStatus]: ...
    def stop(self, job: str) -> None: ...
    def images(self, result: str) -> int: ...
    def preview(self, result: str, image: int) -> NDArray[np.uint8]: ...
    def summary(self, result: str, selection: Selection) -> MatchSummary: ...
    def export(self, result: str, selection: Selection) -> dict[str, Any]: ...
    def export_file(
        self,
        result: str,
        selection: Selection,
        kind: str,
        neuron: str = "",
        names: PersonNames | None = None,
    ) -> bytes: ...
    def heatmaps(
        self, result: str, units: Sequence[Unit], image: int, size: int = 64
    ) -> HeatmapRow: ...


@contextmanager
def told() -> Generator[None]:
    """Send an error's sentence to the client, not a traceback."""
    try:
        yield
    except RosettaError as error:
        raise gr.Error(error.sentence, print_exception=False) from error


class Api:
    """The endpoints; one for all visitors, so it keeps nothing about any."""

    def __init__(self, engine: ApiEngine) -> None:
        self._engine = engine

    def match(  # noqa: PLR0913 - a client names each by its own word
        self,
        generator: str = "",
        backbones: list[str] | None = None,
        n_images: int = 0,
        seed: int = 0,
        psi: float | None = None,
        class_index: int | None = None,
        score: Score = "",
    ) -> Iterator[dict[str, Any]]:
        """Match a generator with backbones; yields progress, the finished match last.

        The same request joins its running match, goes on with its stopped one, or finishes at once
        where its result is kept. Cancelling the call stops the match that it started; what it had
        is kept.

        Args:
            generator: name; empty takes the usual one, and then the usual backbones too.
            backbones: names.
            n_images: how many; 0 takes the usual number for this machine.
            seed: of the images.
            psi: truncation; None takes the generator's own.
            class_index: for class-conditional generators only.
            score: pearson, centred or published; empty takes pearson.

        Returns:
            {state, done, total, rate, seconds_left, message, place, job, result}; the last one has
            state "done", the result's id and its summary.
        """
        usual = self._engine.default_request()
        with told():
            request = MatchRequest(
                generator=generator or usual.generator,
                backbones=tuple(backbones or usual.backbones),
                n_images=_whole(n_images, "n_images") or usual.n_images,
                batch_size=usual.batch_size,
                seed=_whole(seed, "seed"),
                psi=None if psi is None else float(psi),
                class_index=None if class_index is None else _whole(class_index, "class_index"),
                score=present.score_of(score or usual.score),
            )
            busy = {s.job for s in self._engine.jobs() if s.state in ("queued", "running")}
            job = self._engine.start_match(request)
            yield from self._followed(job, mine=job not in busy)

    def _followed(self, job: str, *, mine: bool) -> Iterator[dict[str, Any]]:
        over = False
        try:
            while True:
                status = self._engine.job(job)
                over = status.state not in ("queued", "running")
                if over:
                    break
                yield _progress(status)
                time.sleep(HEARTBEAT)
        finally:
            if mine and not over:  # the caller has gone: nobody waits for this match
                self._engine.stop(job)
        if status.state == "failed":
            raise BadRequestError(status.message, status.hint)
        yield {**_progress(status), **self._summary(status.result)}

    def _summary(self, result: str) -> dict[str, Any]:
        if not result:
            return {}
        usual = selection_for(self._engine, result, "published", 5, "")
        return {"summary": present.summary_json(self._engine.summary(result, usual))}

    def rosetta(
        self,
        result: str = "",
        rule: Rule = "published",
        k: int = 5,
        score: Score = "",
        above_null: bool = False,
        lowest: float = -1.0,
    ) -> dict[str, Any]:
        """The Rosetta Neurons of a result, best first.

        Args:
            result: id, as `match` gives it; empty takes the first, which comes with the app.
            rule: published (top-1 one way, top-K the other), mutual (top-K both ways) or clique.
            k: the K of the rule.
            score: pearson, centred or published; empty takes the result's own.
            above_null: only those above the threshold of the shuffled images.
            lowest: smallest score to keep.

        Returns:
            {"schema": 1, "result": id, "neurons": [{anchor, partners, score_min, ...}]}.
        """
        with told():
            result = known_result(self._engine, result)
            chosen = replace(
                selection_for(self._engine, result, rule, k, score),
                lowest=present.decimal_of({"lowest": lowest}, "lowest"),
                above_null=bool(above_null),
            )
            return {"result": result, **self._engine.export(result, chosen)}

    def heatmaps(
        self, units: list[str], result: str = "", image: int = 0, size: int = 64
    ) -> dict[str, Any]:
        """Maps of some units on one image of a result.

        Args:
            units: spelled `model/layer:channel`, at most 64.
            result: id; empty takes the first.
            image: number of the image, from 0.
            size: longest side of a map, 1 to 64; smaller maps stay as they are.

        Returns:
            {image, picture: a data address, maps: {unit: rows of raw activations},
            ranges: {unit: [low, high] over the data set}}.
        """
        with told():
            result = known_result(self._engine, result)
            if not 1 <= len(units) <= MOST_UNITS:
                raise BadRequestError(f"{len(units)} units.", f"Give 1 to {MOST_UNITS} units.")
            chosen = [Unit.parse(str(unit)) for unit in units]
            row = self._engine.heatmaps(
                result, chosen, _whole(image, "image"), _whole(size, "size")
            )
            return {
                "result": result,
                "image": row.image_index,
                "picture": picture_uri(row.picture, 256),
                "maps": {
                    str(u): np.round(m.astype(float), 6).tolist() for u, m in row.maps.items()
                },
                "ranges": {str(u): [float(v) for v in ends] for u, ends in row.ranges.items()},
            }

    def export(
        self,
        result: str = "",
        kind: Kind = "json",
        rule: Rule = "published",
        k: int = 5,
        score: Score = "",
        neuron: str = "",
    ) -> dict[str, str]:
        """A file of a result.

        Args:
            result: id; empty takes the first.
            kind: json, csv or parquet (the dictionary), zip (with pictures and maps, for another
                installation), html (the gallery as one page that needs no server), webp (a short
                film of one neuron).
            rule: as for `rosetta`.
            k: as for `rosetta`.
            score: as for `rosetta`.
            neuron: the film's, spelled; empty takes the best.

        Returns:
            {name, mime, data}: data is the file as base64.
        """
        with told():
            result = known_result(self._engine, result)
            chosen = selection_for(self._engine, result, rule, k, score)
            data = self._engine.export_file(result, chosen, kind, neuron)
            return file_json(result, kind, data)


def known_result(engine: ResultsEngine, result: str) -> str:
    """The id of a result that a program names; an empty one takes the first.

    Raises:
        BadRequestError: there is none of this id.
    """
    known = [info.result for info in engine.results()]
    if not result and known:
        return known[0]
    if result not in known:
        shown = ", ".join(known[:8]) or "none yet"
        raise BadRequestError(f"There is no result '{result[:80]}'.", f"There are: {shown}.")
    return result


def selection_for(engine: ResultsEngine, result: str, rule: str, k: int, score: str) -> Selection:
    """How a program chooses neurons of a result; an empty score takes the result's own.

    Raises:
        BadRequestError: a rule, score or K that does not exist.
    """
    own = next((i for i in engine.results() if i.result == result), None)
    usual = own.request.score if own else Selection().score
    return Selection(
        rule=present.rule_of(rule),
        k=present.whole_of({"k": k}, "k", Selection().k, 1, present.MOST_K),
        score=present.score_of(score or usual),
    )


def _whole(value: float, name: str) -> int:
    return present.whole_of({name: value}, name, 0)


def _progress(status: JobStatus) -> dict[str, Any]:
    return {
        "state": status.state,
        "done": status.done,
        "total": status.total,
        "rate": present.number(status.rate),
        "seconds_left": present.number(status.seconds_left, 1),
        "message": status.message,
        "place": status.place,
        "job": status.job,
        "result": status.result,
    }


def api_endpoints(engine: ApiEngine) -> None:
    """Add the endpoints to the page that is being built."""
    api = Api(engine)
    # A match waits in the engine's own queue, so several calls may follow theirs at once.
    gr.api(api.match, api_name="match", concurrency_limit=8)
    gr.api(api.rosetta, api_name="rosetta", concurrency_limit=4)
    gr.api(api.heatmaps, api_name="heatmaps", concurrency_limit=2)
    gr.api(api.export, api_name="export", concurrency_limit=2)
    gr.api(EditApi(engine).edit, api_name="edit", concurrency_limit=4)
