"""The Match tab: choose models, run, watch, stop; what was found; earlier results."""

# ruff: noqa: D102 - the protocol repeats methods that the engine documents

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import gradio as gr

from rosetta_ui.errors import BadRequestError
from rosetta_ui.tabs import present
from rosetta_ui.tabs.plots import PlotsEngine, compare_section, plots_section
from rosetta_ui.types import (
    MOST_IMAGES,
    AddRequest,
    Estimate,
    JobStatus,
    MatchRequest,
    MatchSummary,
    ModelStatus,
    ResultInfo,
    Role,
    RosettaNeuron,
    Selection,
    UnitIndex,
)
from rosetta_ui.widgets.add_model import add_model
from rosetta_ui.widgets.factory import Asked
from rosetta_ui.widgets.match_form import match_form
from rosetta_ui.widgets.match_history import match_history
from rosetta_ui.widgets.match_job import match_job
from rosetta_ui.widgets.match_summary import match_summary

PUBLISHED_BACKBONES = ("mae", "dino", "clip", "resnet50")


class MatchEngine(PlotsEngine, Protocol):
    """What the Match tab asks of the engine."""

    def models(self, role: Role | None = None) -> list[ModelStatus]: ...
    def default_request(self) -> MatchRequest: ...
    def estimate(self, request: MatchRequest) -> Estimate: ...
    def start_match(self, request: MatchRequest) -> str: ...
    def start_add(self, request: AddRequest) -> str: ...
    def job(self, job: str) -> JobStatus: ...
    def stop(self, job: str) -> None: ...
    def results(self) -> list[ResultInfo]: ...
    def keep(self, result: str, saved: bool) -> None: ...
    def rename(self, result: str, title: str) -> None: ...
    def delete(self, result: str) -> None: ...
    def index(self, result: str) -> dict[str, UnitIndex]: ...
    def summary(self, result: str, selection: Selection) -> MatchSummary: ...
    def neurons(self, result: str, selection: Selection) -> list[RosettaNeuron]: ...


class Match:
    """Answers to the widgets of the Match tab.

    Args:
        engine: does the work.
        own_machine: visitors may name files and folders of the machine that serves the page.
    """

    def __init__(self, engine: MatchEngine, own_machine: bool = True) -> None:
        self._engine = engine
        self._own_machine = own_machine

    def catalogue(self, asked: Asked) -> present.Json:
        """Models with their states, presets, and what the form holds at first."""
        generators = self._engine.models("generator")
        backbones = self._engine.models("backbone")
        return {
            "generators": [present.model_json(status) for status in generators],
            "backbones": [present.model_json(status) for status in backbones],
            "presets": presets(generators, backbones, self._engine.default_request()),
            "usual": form_values(self._engine.default_request()),
            "own_machine": self._own_machine,
        }

    def estimate(self, asked: Asked) -> present.Json:
        """What the match in the form would cost."""
        cost = self._engine.estimate(self._request(asked))
        return {
            "images": cost.images,
            "seconds": present.number(cost.seconds, 1),
            "memory": cost.memory_bytes,
            "disk": cost.disk_bytes,
            "cached": cost.cached,
        }

    def start(self, asked: Asked) -> present.Json:
        """Start, join or resume the match in the form."""
        return {"job": self._engine.start_match(self._request(asked))}

    def addable(self, asked: Asked) -> present.Json:
        """Published models whose file a person may bring."""
        models = self._engine.models()
        return {"names": [s.card.name for s in models if s.state in ("add", "download")]}

    def add(self, asked: Asked) -> present.Json:
        """Start adding a model from a file or an address."""
        self._refuse_strangers("a model")
        request = AddRequest(
            name=present.text_of(asked, "name"),
            file=present.text_of(asked, "file"),
            backbone=present.text_of(asked, "backbone"),
        )
        return {"job": self._engine.start_add(request)}

    def _request(self, asked: Asked) -> MatchRequest:
        request = request_of(asked)
        if request.photos:
            self._refuse_strangers("a folder of photos")
        return request

    def _refuse_strangers(self, what: str) -> None:
        """Paths of the serving machine are for those who run it.

        Raises:
            BadRequestError: the page is open to others, without a password.
        """
        if not self._own_machine:
            raise BadRequestError(
                f"This page is open to everybody, so it takes no path to {what}.",
                "Run your own copy, or let its owner do it from the command line.",
            )

    def job(self, asked: Asked) -> present.Json:
        """A snapshot of one job."""
        return present.job_json(self._engine.job(present.text_of(asked, "job")))

    def resume(self, asked: Asked) -> present.Json:
        """Go on with a match that was stopped, also one that another browser started."""
        request = self._engine.job(present.text_of(asked, "job")).request
        if request is None:
            raise BadRequestError("This job is no match.", "Start it again.")
        if request.photos:
            self._refuse_strangers("a folder of photos")
        return {"job": self._engine.start_match(request)}

    def stop(self, asked: Asked) -> present.Json:
        """Ask a job to stop."""
        self._engine.stop(present.text_of(asked, "job"))
        return {}

    def summary(self, asked: Asked) -> present.Json:
        """Headline numbers and ranked neurons of one result."""
        result = present.text_of(asked, "result")
        info = next((i for i in self._engine.results() if i.result == result), None)
        selection = present.selection_of(asked, info.request.score if info else Selection().score)
        index = self._engine.index(result)
        return {
            "title": info.title if info else result,
            "summary": present.summary_json(self._engine.summary(result, selection)),
            "models": present.model_columns(index),
            "rows": present.neuron_rows(self._engine.neurons(result, selection), index),
        }

    def results(self, asked: Asked) -> list[present.Json]:
        """Every result, bundled ones first."""
        return [present.result_json(info) for info in self._engine.results()]

    def keep(self, asked: Asked) -> present.Json:
        """Take a result out of the cache's budget, or put it back."""
        self._engine.keep(present.text_of(asked, "result"), bool(asked.get("saved")))
        return {}

    def rename(self, asked: Asked) -> present.Json:
        """Give a result another title."""
        self._engine.rename(present.text_of(asked, "result"), present.text_of(asked, "title"))
        return {}

    def delete(self, asked: Asked) -> present.Json:
        """Remove a result from the disk."""
        self._engine.delete(present.text_of(asked, "result"))
        return {}


def request_of(asked: Asked) -> MatchRequest:
    """The form's values as a request.

    Raises:
        BadRequestError: a value that no match could use; the engine judges the rest.
    """
    usual = MatchRequest()
    backbones = asked.get("backbones")
    if not isinstance(backbones, Sequence) or isinstance(backbones, str) or not backbones:
        raise BadRequestError("No backbone is chosen.", "Choose at least one.")
    photos = present.text_of(asked, "photos")
    return MatchRequest(
        generator="" if photos else present.text_of(asked, "generator"),
        photos=photos,
        backbones=tuple(str(name) for name in backbones),
        n_images=present.whole_of(asked, "images", usual.n_images, 1, MOST_IMAGES),
        batch_size=present.whole_of(asked, "batch", usual.batch_size, 1, 4096),
        seed=present.whole_of(asked, "seed", usual.seed, 0),
        psi=None if asked.get("psi") is None else present.decimal_of(asked, "psi"),
        class_index=None if asked.get("class") is None else present.whole_of(asked, "class", 0),
        score=present.score_of(present.text_of(asked, "score") or usual.score),
        backbone_pairs=present.text_of(asked, "rule") == "clique",
    )


def form_values(request: MatchRequest) -> present.Json:
    """A request as the form's values; the rule and K come from `Selection`'s defaults."""
    usual = Selection()
    return {
        "generator": request.generator,
        "photos": request.photos,
        "backbones": list(request.backbones),
        "images": request.n_images,
        "batch": request.batch_size,
        "seed": request.seed,
        "psi": request.psi,
        "class": request.class_index,
        "score": request.score,
        "rule": usual.rule,
        "k": usual.k,
    }


def presets(
    generators: Sequence[ModelStatus], backbones: Sequence[ModelStatus], usual: MatchRequest
) -> list[present.Json]:
    """Good first choices among the models that there are.

    Faces are aligned, so `centred` is shown first for them; the published set is as in the paper.
    """
    own = tuple(status.card.name for status in backbones if status.card.embedded)
    wanted = [
        (
            "Faces, fast",
            "Small faces: a first answer within a minute or two, also on a laptop.",
            replace(usual, generator="dcgan-digiface", backbones=own, score="centred"),
        ),
        (
            "Faces, best",
            "Photorealistic faces: slower, and the clearest neurons.",
            replace(
                usual, generator="mobilestylegan", backbones=own, n_images=256, score="centred"
            ),
        ),
        (
            "As published",
            "The paper's models and 1,600 images of one class; their weights must be added first.",
            MatchRequest("biggan", PUBLISHED_BACKBONES, 1600, 16, class_index=207),
        ),
    ]
    known = {status.card.name for status in (*generators, *backbones)}
    return [
        {"name": name, "about": about, "request": form_values(request)}
        for name, about, request in wanted
        if {request.generator, *request.backbones} <= known
    ]


def match_tab(engine: MatchEngine, own_machine: bool = True) -> None:
    """Lay out the tab that is open; see `Match` for the arguments."""
    match = Match(engine, own_machine)
    with gr.Row(elem_id="match-page", elem_classes="r-page"):
        with gr.Column(elem_id="match-form-column", min_width=0):
            match_form(match.catalogue, match.estimate, match.start)
            if own_machine:
                add_model(match.addable, match.add)
        with gr.Column(elem_id="match-found-column", min_width=0):
            match_job(match.job, match.stop, match.resume)
            match_summary(match.summary)
            plots_section(engine)
            match_history(match.results, match.keep, match.rename, match.delete)
            compare_section(engine)
