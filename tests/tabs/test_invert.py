"""The Invert tab's answers, with a drawn desk in the place of the real one."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable
from typing import Any, cast

import gradio as gr
import numpy as np
import pytest
from fake_engine import FakeEngine, draw
from fake_inverting import FakeInverting
from PIL import Image

from rosetta_ui.errors import BadRequestError
from rosetta_ui.inversions import Crop
from rosetta_ui.tabs.api_invert import InvertApi
from rosetta_ui.tabs.invert import Inverter
from rosetta_ui.tabs.invert_values import MOST_BYTES, classes_of, picture_bytes


@pytest.fixture
def engine() -> FakeEngine:
    made = FakeEngine(n_neurons=8)
    made.inverting = FakeInverting(seconds=0.3)
    return made


@pytest.fixture
def inverter(engine: FakeEngine) -> Inverter:
    return Inverter(engine)


def png(side: int = 96, seed: int = 3) -> str:
    buffer = io.BytesIO()
    Image.fromarray(draw(seed, side)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def strip() -> str:
    buffer = io.BytesIO()
    Image.fromarray(draw(3, 96)).resize((300, 90)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def wanted(**changes: Any) -> dict[str, Any]:
    return {"generator": "mobilestylegan", "picture": png(), **changes}


def opened(inverter: Inverter, session: str = "") -> str:
    return inverter.open({"page": "", "session": session})["page"]


def followed(inverter: Inverter, page: str) -> list[dict[str, Any]]:
    """Every snapshot until it is over, as the page asks for them."""
    seen = frame = 0
    found: list[dict[str, Any]] = []
    for _ in range(400):
        now = inverter.progress({"page": page, "seen": seen, "frame": frame})
        seen, frame = now["seen"], now["frame"]
        found.append(now)
        if now["state"] not in ("queued", "running"):
            json.dumps(found, allow_nan=False)
            return found
        time.sleep(0.01)
    raise AssertionError("the inversion did not end")


def test_an_upload_comes_back_upright_with_a_square_for_each_framing(inverter: Inverter) -> None:
    answer = inverter.read({"data": png(64)})
    assert answer["picture"].startswith("data:image/png;base64,")
    assert (answer["width"], answer["height"]) == (64, 64)
    assert set(answer["crops"]) == {"centre", "portrait"}
    json.dumps(answer, allow_nan=False)


def test_a_tall_picture_is_proposed_higher_for_portraits(inverter: Inverter) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 120)).save(buffer, "PNG")
    crops = inverter.read({"data": base64.b64encode(buffer.getvalue()).decode()})["crops"]
    assert crops["portrait"]["y"] < crops["centre"]["y"] == 0.5


def test_the_example_photo_is_cut_to_its_face_for_portraits_only(inverter: Inverter) -> None:
    crops = inverter.example({"generator": "dcgan-digiface", "kind": "photo"})["crops"]
    assert crops["centre"] == {"x": 0.5, "y": 0.5, "side": 1.0}
    assert crops["portrait"]["side"] < 0.6
    left, top, side = Crop(**crops["portrait"]).box(512, 512)
    assert (left < 224 - 40) and (left + side > 224 + 40), "the face lies about x = 224"
    assert (top < 110 - 40) and (top + side > 110 + 60), "and y = 110"


@pytest.mark.parametrize("data", ["", "no base64 !", "aGVsbG8=", "data:image/png;base64,aGVsbG8="])
def test_what_is_no_picture_is_refused_in_a_sentence(inverter: Inverter, data: str) -> None:
    with pytest.raises(BadRequestError):
        inverter.read({"data": data})


def test_an_upload_above_the_limit_is_refused_before_it_is_decoded() -> None:
    assert len(picture_bytes(base64.b64encode(bytes(MOST_BYTES)).decode())) == MOST_BYTES
    with pytest.raises(BadRequestError, match="more than 10 MB"):
        picture_bytes("A" * (2 * MOST_BYTES))


def test_generators_come_with_presets_results_and_examples(inverter: Inverter) -> None:
    answer = inverter.catalogue({})
    ready = next(m for m in answer["generators"] if m["state"] == "ready")
    assert [p["name"] for p in ready["presets"]] == ["photo", "sketch", "other-class", "published"]
    assert ready["results"][0]["backbones"]
    assert {e["ask"]["kind"] for e in ready["examples"]} >= {"seed"}
    json.dumps(answer, allow_nan=False)
    for example in ready["examples"]:
        assert inverter.example({"generator": ready["name"], **example["ask"]})["picture"]


def test_the_target_is_the_square_that_was_chosen(inverter: Inverter, engine: FakeEngine) -> None:
    crop = {"x": 0.25, "y": 0.75, "side": 0.5}
    inverter.ask({"page": opened(inverter), "request": wanted(crop=crop)})
    (request,) = engine.inverting.asked
    assert (request.picture == draw(3, 96)[48:96, 0:48]).all()


def test_what_is_left_empty_is_the_presets(inverter: Inverter) -> None:
    request, classes = inverter.request(
        wanted(preset="sketch", weights={"pixels": 2, "neurons": None}, settings={"steps": 7})
    )
    assert classes == ()
    assert request.guidance.neurons == 1.0
    assert request.guidance.pixels == 2.0
    assert request.settings.steps == 7
    assert request.settings.restarts == 4


@pytest.mark.parametrize(
    "change",
    [
        {"preset": "nonsense"},
        {"weights": {"neurons": -1}},
        {"weights": {"neurons": float("nan")}},
        {"weights": "all"},
        {"weights": {"neurons": 0, "pixels": 0, "perceptual": 0}},
        {"backbones": "dinov2-s"},
        {"settings": {"steps": 0}},
        {"settings": {"steps": 1.5}},
        {"settings": {"space": "q"}},
        {"settings": {"start": "there"}},
        {"settings": {"restarts": 1000}},
        {"crop": [0.5, 0.5, 1]},
        {"crop": {"x": 0.5, "y": float("nan"), "side": 1}},
        {"crop": {"x": 0.5, "y": 0.5, "side": 0}},
        {"crop": {"x": 0.5, "y": 0.5, "side": 0.01}},
        {"classes": "cat"},
        {"seed": -1},
        {"picture": 3},
        {"picture": ""},
    ],
)
def test_malformed_requests_are_refused_in_words(inverter: Inverter, change: Any) -> None:
    with pytest.raises(BadRequestError):
        inverter.ask({"page": opened(inverter), "request": wanted(**change)})


def test_classes_are_read_from_a_list_of_numbers() -> None:
    assert classes_of("207, 281 404") == (207, 281, 404)
    assert classes_of("207,207") == (207,)
    with pytest.raises(BadRequestError, match="too many"):
        classes_of(",".join(map(str, range(40))))


def test_a_picture_is_looked_through_for_what_the_generator_draws(inverter: Inverter) -> None:
    page = opened(inverter)
    inverter.prepare({"page": page, "generator": "mobilestylegan", "picture": strip()})
    asked = {"page": page}
    assert inverter.framed(asked) == {"ready": False, "crop": None}
    for _ in range(400):
        if (found := inverter.framed(asked))["ready"]:
            break
        time.sleep(0.01)
    assert found == {"ready": True, "crop": {"x": 0.75, "y": 0.5, "side": 0.8}}
    with pytest.raises(BadRequestError):
        inverter.prepare({"page": page, "generator": "mobilestylegan", "picture": "aGVsbG8="})


def test_pictures_whose_framing_is_known_are_not_looked_through(inverter: Inverter) -> None:
    asked = {"generator": "mobilestylegan", "seed": 11, "other": "dcgan-digiface"}
    assert inverter.example({**asked, "kind": "photo"})["framed"]
    assert inverter.example({**asked, "kind": "seed"})["framed"]
    assert not inverter.example({**asked, "kind": "other"})["framed"]
    assert "framed" not in inverter.read({"data": png()})


def test_frames_and_losses_come_once_and_the_result_last(inverter: Inverter) -> None:
    page = opened(inverter)
    answer = inverter.ask({"page": page, "request": wanted(settings={"steps": 40})})
    assert answer["target"].startswith("data:image/")
    steps = followed(inverter, page)
    assert steps[-1]["state"] == "done"
    assert [p["step"] for now in steps for p in now["points"]] == list(range(1, 41))
    assert len({now["picture"] for now in steps if now["picture"]}) >= 5
    (run,) = inverter.results({"page": page})["runs"]
    whole = inverter.result({"page": page, "which": run["which"]})
    assert steps[-1]["which"] == run["which"]
    assert whole["numbers"]["psnr"] == 31.4
    assert "40 steps" in whole["words"]
    assert sum(whole["points"][-1]["terms"].values()) < sum(whole["points"][0]["terms"].values())
    json.dumps(whole, allow_nan=False)


def test_several_classes_become_several_results(inverter: Inverter) -> None:
    page = opened(inverter)
    inverter.ask({"page": page, "request": wanted(classes="3, 5, 8")})
    followed(inverter, page)
    labels = [run["label"] for run in inverter.results({"page": page})["runs"]]
    assert labels == ["Photo, class 3", "Photo, class 5", "Photo, class 8"]


def test_more_steps_go_on_with_the_same_result(inverter: Inverter) -> None:
    page = opened(inverter)
    inverter.ask({"page": page, "request": wanted(settings={"steps": 20})})
    followed(inverter, page)
    inverter.more({"page": page, "steps": 10})
    followed(inverter, page)
    (run,) = inverter.results({"page": page})["runs"]
    assert run["steps"] == 30


def test_a_result_goes_out_as_png_recipe_maps_and_into_edit(
    inverter: Inverter, engine: FakeEngine
) -> None:
    page = opened(inverter)
    inverter.ask({"page": page, "request": wanted(settings={"steps": 5})})
    which = followed(inverter, page)[-1]["which"]
    asked = {"page": page, "which": which}
    assert inverter.png(asked)["png"].startswith("data:image/png;base64,")
    assert inverter.recipe(asked)["which"] == which
    maps = inverter.heatmaps(asked)
    first = maps["neurons"][0]
    size = first["own"]["size"]
    levels = np.frombuffer(base64.b64decode(first["own"]["data"]), np.uint8)
    assert levels.size == size[0] * size[1]
    assert set(first["partners"]) <= set(maps["backbones"])
    there = inverter.edit(asked)["page"]
    assert engine.editing.view(there).entries[0].label == "Inverted picture"
    inverter.forget(asked)
    assert inverter.results({"page": page})["runs"] == []
    with pytest.raises(BadRequestError, match="no longer here"):
        inverter.png(asked)


def test_a_page_that_is_forgotten_gets_a_new_id(inverter: Inverter) -> None:
    page = opened(inverter)
    assert inverter.open({"page": page})["page"] == page
    inverter.close({"page": page})
    with pytest.raises(BadRequestError, match="no longer open"):
        inverter.alive({"page": page})
    assert inverter.open({"page": page})["page"] != page


def test_when_a_browser_goes_its_inversion_ends(inverter: Inverter, engine: FakeEngine) -> None:
    class Ended:
        session_hash = "abc"

    page = opened(inverter, session="abc")
    inverter.ask({"page": page, "request": wanted()})
    inverter.gone(cast(gr.Request, Ended()))
    assert engine.inverting.stopped == [page]
    inverter.gone(cast(gr.Request, Ended()))
    assert engine.inverting.stopped == [page]


@pytest.fixture
def call(engine: FakeEngine) -> Callable[..., Any]:
    return InvertApi(engine).invert


def test_a_program_gets_progress_and_the_result_last(
    call: Callable[..., Any], engine: FakeEngine
) -> None:
    engine.inverting = FakeInverting(seconds=0.8)
    steps = list(InvertApi(engine).invert(png(), "mobilestylegan", steps=20, crop=[0.5, 0.5, 0.5]))
    assert [s["state"] for s in steps[:-1]] == ["running"] * (len(steps) - 1)
    assert steps[-1]["state"] == "done"
    assert steps[-1]["numbers"]["ssim"] == 0.93
    assert steps[-1]["recipe"]["kind"] == "rosetta-inversion"
    assert engine.inverting.closed
    json.dumps(steps, allow_nan=False)


def test_leaving_a_call_ends_its_inversion(engine: FakeEngine) -> None:
    engine.inverting = FakeInverting(seconds=60)
    call = InvertApi(engine).invert(png(), "mobilestylegan")
    assert next(call)["state"] == "running"
    call.close()
    assert len(engine.inverting.closed) == 1


def test_a_program_is_told_in_a_sentence_what_is_wrong(call: Callable[..., Any]) -> None:
    with pytest.raises(gr.Error, match="no picture that can be read"):
        list(call("aGVsbG8=", "mobilestylegan"))
    with pytest.raises(gr.Error, match="Give \\[x, y, side\\]"):
        list(call(png(), "mobilestylegan", crop=[0.5]))
