"""The endpoints for programs: over HTTP as a client sees them, and as functions."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from fake_engine import FakeEngine

from rosetta_ui.tabs.api import ENDPOINTS, Api
from rosetta_ui.types import Selection

PROJECT = Path(__file__).resolve().parents[2]
BROWSER = PROJECT / "tests" / "browser"
sys.path.insert(0, str(BROWSER))

from driving import free_port, running  # noqa: E402 - found through the line above

EXAMPLES = Path(__file__).with_name("api_examples.py")


@pytest.fixture(scope="module")
def app() -> Iterator[str]:
    port = free_port()
    with running([sys.executable, str(BROWSER / "drawn_app.py"), str(port)], port) as address:
        yield address


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(n_neurons=12, seconds=0.4)


def asked(address: str) -> dict[str, object]:
    with urllib.request.urlopen(f"{address}/gradio_api/info", timeout=20) as answer:
        return json.load(answer)


def test_only_the_intended_names_are_public(app: str) -> None:
    info = asked(app)
    assert sorted(info["named_endpoints"]) == sorted(f"/{name}" for name in ENDPOINTS)
    assert info["unnamed_endpoints"] == {}


def test_arguments_are_typed_and_described(app: str) -> None:
    endpoints = asked(app)["named_endpoints"]
    parameters = {p["parameter_name"]: p for p in endpoints["/match"]["parameters"]}
    assert parameters["n_images"]["python_type"]["type"] == "int"
    assert parameters["backbones"]["parameter_has_default"]
    for name, endpoint in endpoints.items():
        assert endpoint["description"], name
        assert all(p["python_type"]["type"] != "Any" for p in endpoint["parameters"]), name


def test_22_the_examples_of_the_readme_run(app: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES), app],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "done 32 of 32" in done.stdout
    assert "running 0 of 32" in done.stdout
    assert "fidelity 0.84 after 1 edit" in done.stdout
    assert "inverted: 31.4 dB" in done.stdout
    assert "cancelled: True" in done.stdout
    assert [path.suffix for path in tmp_path.iterdir()] == [".html"]


@pytest.mark.parametrize(
    "path",
    [
        PROJECT / "app.py",
        PROJECT / "rosetta_ui" / "tabs" / "api.py",
        PROJECT / "cache",
        PROJECT / "cache" / "zoo",
        Path("/etc/passwd"),
    ],
    ids=str,
)
def test_files_of_the_app_the_cache_and_the_system_are_refused(app: str, path: Path) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{app}/gradio_api/file={path}", timeout=20)
    assert caught.value.code in (403, 404)
    caught.value.close()


def test_beside_the_page_only_the_script_of_plotly_is_served(app: str) -> None:
    from rosetta_ui.widgets.plot_view import plotly_script

    with urllib.request.urlopen(f"{app}/gradio_api/file={plotly_script()}", timeout=20) as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError) as caught:
        beside = plotly_script().with_name("widgetbundle.js")
        urllib.request.urlopen(f"{app}/gradio_api/file={beside}", timeout=20)
    assert caught.value.code in (403, 404)
    caught.value.close()


def test_a_match_ends_with_the_result_and_its_summary(engine: FakeEngine) -> None:
    steps = list(Api(engine).match(n_images=16))
    assert [s["state"] for s in steps[:-1]] == ["running"] * (len(steps) - 1)
    assert steps[-1]["state"] == "done"
    assert steps[-1]["result"] == "second"
    assert steps[-1]["summary"]["rosetta"] == 12
    json.dumps(steps, allow_nan=False)


def test_leaving_a_match_stops_it() -> None:
    engine = FakeEngine(seconds=60)
    call = Api(engine).match(n_images=5000)
    job = next(call)["job"]
    call.close()
    assert engine.job(job).state == "stopped"


def test_leaving_a_match_that_others_wait_for_lets_it_go_on() -> None:
    engine = FakeEngine(seconds=60)
    theirs = engine.start_match(engine.default_request())
    engine.start_match = lambda _request: theirs  # the engine joins equal requests
    call = Api(engine).match()
    next(call)
    call.close()
    assert engine.job(theirs).state == "running"


def test_a_bad_value_is_told_in_a_sentence(engine: FakeEngine) -> None:
    with pytest.raises(gr.Error, match="1 images are too few"):
        list(Api(engine).match(n_images=1))
    with pytest.raises(gr.Error, match="There is no result '/etc'"):
        Api(engine).rosetta(result="/etc")
    with pytest.raises(gr.Error, match="is not a unit"):
        Api(engine).heatmaps(units=["nonsense"])
    with pytest.raises(gr.Error, match="Give 1 to 64 units"):
        Api(engine).heatmaps(units=[])


def test_rosetta_takes_the_first_result_and_its_own_score(engine: FakeEngine) -> None:
    answer = Api(engine).rosetta()
    assert answer["result"] == "bundled"
    assert answer["schema"] == 1
    assert len(answer["neurons"]) == 12


def test_heatmaps_are_the_engines_numbers(engine: FakeEngine) -> None:
    neuron = engine.neurons("bundled", Selection())[0]
    answer = Api(engine).heatmaps(units=[str(neuron.anchor)], image=3)
    row = engine.heatmaps("bundled", [neuron.anchor], 3)
    assert answer["maps"][str(neuron.anchor)] == pytest.approx(row.maps[neuron.anchor], abs=1e-6)
    assert answer["image"] == 3


def test_an_export_is_a_named_file_as_base64(engine: FakeEngine) -> None:
    answer = Api(engine).export(kind="html", neuron="a")
    assert answer["name"] == "rosetta-bundled.html"
    assert answer["mime"] == "text/html"
    assert json.loads(base64.b64decode(answer["data"]))["kind"] == "html"
