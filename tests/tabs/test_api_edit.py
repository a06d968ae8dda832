"""The endpoint for edits: over HTTP as a client sees it, and as a function."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from fake_engine import FakeEngine
from gradio_client import Client

from rosetta_ui.tabs.api_edit import EditApi

BROWSER = Path(__file__).resolve().parents[1] / "browser"
sys.path.insert(0, str(BROWSER))

from driving import free_port, running  # noqa: E402 - found through the line above

SHIFT = {"kind": "shift", "dx": 0.25, "dy": 0.0}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    port = free_port()
    with running([sys.executable, str(BROWSER / "drawn_app.py"), str(port)], port) as address:
        yield Client(address, verbose=False)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_22_a_client_predicts_iterates_and_cancels(client: Client) -> None:
    last = client.predict(edits=[SHIFT], seed=3, api_name="/edit")
    assert last["state"] == "done"
    assert last["picture"].startswith("data:image/png;base64,")
    assert [e["kind"] for e in last["recipe"]["steps"][0]["edits"]] == ["shift"]
    steps = list(client.submit(edits=[SHIFT], seed=3, api_name="/edit"))
    assert {step["state"] for step in steps} == {"running", "done"}
    assert steps[-1] == last
    job = client.submit(edits=[SHIFT], seed=3, api_name="/edit")
    assert next(job)["state"] == "running"
    assert job.cancel()


def test_a_call_closes_its_page_however_it_ends() -> None:
    engine = FakeEngine(n_neurons=12)
    api = EditApi(engine)
    *_, last = api.edit([SHIFT], seed=3)
    assert last["numbers"]["fidelity_after"] == 0.84
    json.dumps(last, allow_nan=False)
    call = api.edit([SHIFT], seed=4)
    next(call)
    call.close()
    with pytest.raises(gr.Error, match="an edit is not as expected"):
        list(api.edit([{"kind": "explode"}]))
    assert len(engine.editing.closed) == 2


def test_a_recipe_is_gone_on_with() -> None:
    engine = FakeEngine(n_neurons=12)
    *_, first = EditApi(engine).edit([SHIFT], seed=3)
    *_, second = EditApi(engine).edit([SHIFT], recipe=first["recipe"])
    assert len(second["recipe"]["steps"]) == 2
