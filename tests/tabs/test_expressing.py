"""Images that express a neuron: the endpoint over HTTP as a client sees it, and as a function."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from fake_engine import FakeEngine
from gradio_client import Client
from PIL import Image

from rosetta_ui.tabs.expressing import ExpressApi
from rosetta_ui.types import Selection

BROWSER = Path(__file__).resolve().parents[1] / "browser"
sys.path.insert(0, str(BROWSER))

from driving import free_port, running  # noqa: E402 - found through the line above


@pytest.fixture
def client() -> Iterator[Client]:
    port = free_port()
    with running([sys.executable, str(BROWSER / "drawn_app.py"), str(port)], port) as address:
        yield Client(address, verbose=False)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_22_a_client_sees_images_that_express_a_neuron_as_they_are_made(client: Client) -> None:
    best = client.predict(api_name="/rosetta")["neurons"][0]["anchor"]
    job = client.submit(neuron=best, api_name="/express")
    first = next(job)
    assert (first["state"], first["neuron"], first["steps"]) == ("running", best, 90)
    assert [image["start"] for image in first["images"]] == [0, 1, 2, 3]
    assert first["images"][0]["after"].startswith("data:image/webp;base64,")
    assert next(job)["images"] is None  # they come again only when they are others
    assert job.cancel()


def test_the_last_answer_has_the_finished_pictures_and_how_every_unit_rose() -> None:
    engine = FakeEngine(n_neurons=12, seconds=0.8)
    neuron = engine.neurons("bundled", Selection(score="centred"))[0]
    *frames, last = ExpressApi(engine).express()
    assert {frame["state"] for frame in frames} == {"running"}
    assert (last["state"], last["neuron"]) == ("done", str(neuron.anchor))
    assert last["step"] == last["steps"] == 90
    units = [str(neuron.anchor), *(str(p.unit) for p in neuron.partners.values())]
    for image in last["images"]:
        assert image["activity"] == {unit: [0.8, 2.4] for unit in units}
        assert set(image["maps"]) == set(units)
        head, _, body = image["after"].partition(",")
        assert head == "data:image/png;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(body)))
        assert picture.size == engine.preview("bundled", 0).shape[:2]
    json.dumps([*frames, last], allow_nan=False)


def test_leaving_the_call_stops_its_work() -> None:
    engine = FakeEngine(seconds=60)
    call = ExpressApi(engine).express()
    job = next(call)["job"]
    call.close()
    assert engine.job(job).state == "stopped"


def test_what_is_no_neuron_here_is_refused_in_a_sentence() -> None:
    api = ExpressApi(FakeEngine(n_neurons=12))
    with pytest.raises(gr.Error, match="'mobilestylegan/conv0:3' is no Rosetta Neuron here"):
        next(api.express("mobilestylegan/conv0:3"))
    with pytest.raises(gr.Error, match="There is no result 'nothing'"):
        next(api.express(result="nothing"))
    with pytest.raises(gr.Error, match="There is no rule 'nearest'"):
        next(api.express(rule="nearest"))  # pyright: ignore[reportArgumentType]
