"""The Match tab's answers, with a drawn engine in the place of the real one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_engine import FakeEngine

from rosetta_ui.errors import BadRequestError
from rosetta_ui.tabs.match import Match, form_values, presets, request_of
from rosetta_ui.types import MatchRequest

FORM: dict[str, Any] = {
    "generator": "dcgan-digiface",
    "backbones": ["dinov2-s", "mobilenetv2"],
    "images": 32,
    "batch": 4,
    "seed": 3,
    "psi": 0.9,
    "class": None,
    "score": "centred",
    "rule": "published",
    "k": 5,
}


@pytest.fixture
def match() -> Match:
    return Match(FakeEngine())


def test_the_form_becomes_the_request_that_it_shows() -> None:
    request = request_of(FORM)
    assert request == MatchRequest(
        "dcgan-digiface", ("dinov2-s", "mobilenetv2"), 32, 4, seed=3, psi=0.9, score="centred"
    )
    assert request_of({**FORM, **form_values(request)}) == request


def test_the_clique_rule_asks_for_tables_between_backbones() -> None:
    assert request_of({**FORM, "rule": "clique"}).backbone_pairs
    assert not request_of(FORM).backbone_pairs


@pytest.mark.parametrize(
    "wrong",
    [
        {"backbones": []},
        {"backbones": "dinov2-s"},
        {"backbones": None},
        {"images": 0},
        {"images": 1e12},
        {"images": "many"},
        {"batch": 0},
        {"seed": -1},
        {"psi": "wide"},
        {"score": "cosine"},
        {"class": -1},
        {"generator": 7},
    ],
    ids=str,
)
def test_a_form_that_no_match_could_use_is_refused_with_a_sentence(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError) as caught:
        request_of({**FORM, **wrong})
    assert str(caught.value).endswith(".")


def test_the_catalogue_says_state_licence_and_terms_of_every_model(match: Match) -> None:
    answer = match.catalogue({})
    for model in (*answer["generators"], *answer["backbones"]):
        assert model["state"] in ("ready", "fetch", "download", "add")
        assert model["licence"]
        assert model["terms"]
        assert model["state"] == "ready" or model["command"]
    json.dumps(answer, allow_nan=False)


def test_presets_name_only_models_that_there_are() -> None:
    engine = FakeEngine()
    generators, backbones = engine.models("generator"), engine.models("backbone")
    found = presets(generators, backbones, engine.default_request())
    known = {s.card.name for s in (*generators, *backbones)}
    assert [p["name"] for p in found] == ["Faces, fast", "Faces, best"]
    for preset in found:
        assert {preset["request"]["generator"], *preset["request"]["backbones"]} <= known
        assert preset["request"]["score"] == "centred"
    without = [s for s in generators if s.card.name != "mobilestylegan"]
    assert [p["name"] for p in presets(without, backbones, engine.default_request())] == [
        "Faces, fast"
    ]


def test_a_match_is_started_followed_and_stopped(match: Match) -> None:
    job = match.start(FORM)["job"]
    running = match.job({"job": job})
    assert (running["state"], running["total"], running["unit"]) == ("running", 32, "images")
    match.stop({"job": job})
    assert match.job({"job": job})["state"] == "stopped"
    again = match.resume({"job": job})["job"]  # by its id alone: another browser can, too
    assert match.job({"job": again})["models"] == running["models"]


def test_a_job_that_is_not_there_is_said(match: Match) -> None:
    with pytest.raises(BadRequestError):
        match.job({"job": "nothing"})


def test_the_estimate_is_plain_numbers(match: Match) -> None:
    cost = match.estimate(FORM)
    assert cost["images"] == 32
    assert cost["memory"] > 0
    assert not cost["cached"]


def test_the_summary_holds_headline_backbones_and_ranked_rows(match: Match) -> None:
    answer = match.summary({"result": "bundled", "rule": "published", "k": 5, "score": ""})
    assert answer["summary"]["rosetta"] == len(answer["rows"])
    assert answer["summary"]["score"] == "centred"
    assert len(answer["summary"]["tables"]) == len(answer["models"]) - 1
    json.dumps(answer, allow_nan=False)


def test_results_can_be_kept_renamed_and_deleted(match: Match) -> None:
    match.keep({"result": "second", "saved": True})
    match.rename({"result": "second", "title": "Mine"})
    second = match.results({})[1]
    assert (second["title"], second["saved"]) == ("Mine", True)
    match.delete({"result": "second"})
    assert [r["id"] for r in match.results({})] == ["bundled"]


def test_a_folder_of_photos_takes_the_generator_s_place(match: Match) -> None:
    request = request_of({**FORM, "photos": "/pictures"})
    assert request.photos == "/pictures"
    assert request.generator == ""
    assert request_of(form_values(request)).photos == "/pictures"


def test_a_page_for_strangers_takes_no_paths_of_its_machine() -> None:
    open_page = Match(FakeEngine(), own_machine=False)
    assert open_page.catalogue({})["own_machine"] is False
    for ask in (open_page.start, open_page.estimate):
        with pytest.raises(BadRequestError, match="open to everybody"):
            ask({**FORM, "photos": "/etc"})
    with pytest.raises(BadRequestError, match="open to everybody"):
        open_page.add({"name": "x", "file": "/etc/passwd"})


def test_a_model_is_added_by_name_file_and_architecture() -> None:
    engine = FakeEngine()
    match = Match(engine)
    job = match.add({"name": "mine", "file": "/models/mine.pth", "backbone": "resnet50"})["job"]
    assert match.job({"job": job})["state"] == "running"
    assert engine.calls == ["add mine /models/mine.pth resnet50"]
    assert "biggan" in match.addable({})["names"]
