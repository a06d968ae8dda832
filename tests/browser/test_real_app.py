"""The real app on real weights: it starts without a network, matches, paints what it computed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import PATIENCE, OpenPage, free_port, running
from playwright.sync_api import Locator, Page, expect

from rosetta_ui.engine.engine import Engine
from rosetta_ui.settings import Settings
from rosetta_ui.types import Selection

pytestmark = [
    pytest.mark.browser,
    pytest.mark.weights,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Saw = Callable[[str], None]

# Runs in the app's own process before anything else: whoever asks another machine is written down.
NO_NETWORK = """
import os, socket
real = socket.socket.connect
def connect(self, address):
    host = address[0] if isinstance(address, tuple) else ""
    if host and host not in ("127.0.0.1", "::1", "localhost"):
        with open(os.environ["ASKED"], "a") as log:
            log.write(str(address) + "\\n")
        raise OSError("there is no network here")
    return real(self, address)
socket.socket.connect = connect
"""


@dataclass(frozen=True)
class App:
    address: str
    cache: Path
    asked: Path
    began: float


@pytest.fixture(scope="module")
def app(zoo: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """`python app.py` with the zoo's weights, an otherwise empty cache and no network."""
    folder = tmp_path_factory.mktemp("real-app")
    cache, asked = folder / "cache", folder / "asked.txt"
    cache.mkdir()
    asked.touch()
    (cache / "zoo").symlink_to(zoo.root / "zoo", target_is_directory=True)
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    port = free_port()
    command = [sys.executable, "app.py", "--port", str(port), "--cache-dir", str(cache)]
    extra = {"PYTHONPATH": str(folder), "ASKED": str(asked)}
    began = time.monotonic()
    with running(command, port, 30 * PATIENCE, extra) as address:
        yield App(address, cache, asked, began)


def run_match(page: Page, images: int, seconds: float) -> float:
    """Run the match of the form and wait until it is done; gives the seconds it took."""
    page.get_by_role("spinbutton", name="Images").fill(str(images))
    expect(page.locator("#match-form [data-id=cost]")).to_contain_text(
        re.compile(rf"^({images} images|Matched before)"), timeout=30_000
    )
    began = time.monotonic()
    page.get_by_role("button", name="Run the match").click()
    state = page.locator("#match-job [data-id=state]")
    expect(state).to_have_text(re.compile("Done|Failed"), timeout=seconds * 1000)
    expect(state).to_have_text("Done")
    return time.monotonic() - began


def opened(page: Page) -> Page:
    expect(page.get_by_role("button", name="Run the match")).to_be_enabled(timeout=60_000)
    return page


def test_01_the_page_is_usable_with_no_network(app: App, open_page: OpenPage, saw: Saw) -> None:
    page = open_page(app.address)
    page.wait_for_selector("#map-grid .message:visible, #large-view canvas[data-unit]")
    saw(f"start: page usable {time.monotonic() - app.began:.1f} s after `python app.py` (goal 6)")
    chip = page.locator("#header [data-id=chip]")
    expect(chip).to_have_attribute("data-stage", "ready", timeout=60_000 * PATIENCE)
    saw(f"start: torch and timm loaded {time.monotonic() - app.began:.1f} s after the start")
    assert app.asked.read_text() == ""


class Journey:
    """Counts what a person does; every step needs something that is visible on the page."""

    def __init__(self) -> None:
        self.actions = 0

    def click(self, target: Locator, **where: Any) -> None:
        expect(target).to_be_visible()
        target.click(**where)
        self.actions += 1


def test_03_from_the_start_to_an_exported_neuron_takes_at_most_eight_actions(
    app: App, open_page: OpenPage, saw: Saw, tmp_path: Path
) -> None:
    page = open_page(app.address)  # the Gallery is open, with the dictionary that comes with it
    journey = Journey()
    picture = page.locator("#large-view .figure .r-tile").first
    expect(page.locator("#large-view [data-maps=whole]")).to_be_visible(timeout=60_000 * PATIENCE)
    box = picture.bounding_box()
    assert box
    # The hair, at the top of an aligned face.
    journey.click(picture, position={"x": box["width"] * 0.5, "y": box["height"] * 0.1})
    place = page.locator("#gallery-bar [data-id=point]")
    expect(place).to_contain_text("Most active at the marked place")
    best = page.locator("#map-grid .body .line[data-at='0'][data-image]")
    unit = str(best.locator("[role=rowheader]").get_attribute("title"))
    journey.click(best)
    expect(page.locator("#large-view [data-id=name]")).to_have_text(unit)
    for backbone in ("dinov2-s", "efficientnet-lite0", "mobilenetv2", "thin-resnet50"):
        figure = page.locator("#large-view .figure", has_text=backbone)
        expect(figure).to_be_visible()
        expect(figure).to_contain_text(re.compile(r"r\s*[−]?0\.\d\d"))
        expect(figure).to_contain_text(re.compile(r"null\s*[−]?0\.\d\d"))
    journey.click(page.get_by_text("Export", exact=True))
    with page.expect_download(timeout=60_000 * PATIENCE) as download:
        journey.click(page.get_by_role("button", name="All neurons, JSON"))
    made = tmp_path / "dictionary.json"
    download.value.save_as(made)
    told = json.loads(made.read_text())
    (entry,) = (each for each in told["neurons"] if each["anchor"] == unit)
    assert set(entry["partners"]) == {each["name"] for each in told["result"]["models"][1:]}
    assert told["concepts"]
    saw(f"journey: start to export in {journey.actions} actions (goal 8)")
    assert journey.actions <= 8


def test_a_real_match_paints_the_heatmaps_that_the_engine_computes(
    app: App, open_page: OpenPage, saw: Saw
) -> None:
    page = opened(open_page(f"{app.address}/?tab=match"))
    expect(page.get_by_role("combobox", name="Generator")).to_have_value("dcgan-digiface")
    expect(page.locator("#match-form [data-id=chosen]")).to_have_text("4 chosen")
    took = run_match(page, 32, 400)
    saw(f"match: DCGAN × 4 backbones, 32 images: {took:.1f} s")
    expect(page.locator("#match-summary")).to_contain_text("Backbone by backbone")
    page.locator("#match-job").get_by_role("button", name="Open in the Gallery").click()
    page.wait_for_selector("#large-view canvas[data-unit]", timeout=60_000 * PATIENCE)
    page.wait_for_selector("#map-grid [data-painted-ms]")
    painted = page.locator("#map-grid [data-painted-ms]").get_attribute("data-painted-ms")
    saw(f"gallery: first screen of the grid painted in {painted} ms")

    row = page.locator("#map-grid .body .line").nth(4)
    unit = str(row.locator("[role=rowheader]").get_attribute("title"))
    row.click()
    whole = page.locator(f"#large-view [data-maps=whole] canvas[data-unit='{unit}']")
    expect(whole).to_be_visible(timeout=60_000)
    seen = page.evaluate("({...document.querySelector('#large-view [data-shown-ms]').dataset})")
    saw(f"gallery: click on a neuron → stored maps painted: {seen.get('firstMs', 'none')} ms")
    saw(f"gallery: click on a neuron → every model's own maps: {seen['shownMs']} ms (first time)")
    page.get_by_role("radio", name="Raw").check(force=True)
    compare_with_engine(page, app, unit)


def compare_with_engine(page: Page, app: App, anchor: str) -> None:
    """Every painted pixel of the large view and of the grid's row is the engine's number."""
    engine = Engine(Settings(cache_dir=app.cache, fetch=False))
    result = page.evaluate("rosetta.get('state').result")
    image = page.evaluate("rosetta.get('large').image")
    score = page.evaluate("rosetta.get('gallery').score")
    neurons = engine.neurons(result, Selection(score=score))
    neuron = next(n for n in neurons if str(n.anchor) == anchor)
    units = [neuron.anchor, *(p.unit for p in neuron.partners.values())]
    row = engine.heatmaps(result, units, image)
    table = np.array(page.evaluate("[...rosetta.maps.tables.sea]")).reshape(256, 3)
    for unit in units:
        low, high = row.ranges[unit]
        expected = np.clip((row.maps[unit] - low) / (high - low) * 255, 0, 255)
        found = painted_levels(page, f"#large-view canvas[data-unit='{unit}']", table)
        assert found.shape == expected.shape, unit
        assert np.abs(found - expected).max() <= 1.5, unit
    thumbs, images = engine.thumbs(result, [neuron])
    for column, levels in enumerate(thumbs[0]):
        canvas = f"#map-grid .line[aria-selected=true] [data-column='{column + 1}'] canvas"
        assert np.abs(painted_levels(page, canvas, table) - levels).max() <= 1
    line = page.locator("#map-grid .line[aria-selected=true]")
    assert line.get_attribute("data-image") == str(images[0])


def painted_levels(page: Page, canvas: str, table: np.ndarray) -> np.ndarray:
    """The levels 0 to 255 whose colours a canvas shows: [height, width]."""
    width, height, data = page.locator(canvas).evaluate(
        "(c) => [c.width, c.height,"
        " [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]"
    )
    pixels = np.array(data).reshape(height, width, 1, 4)
    assert (pixels[..., 3] == 255).all()
    distance = np.abs(pixels[..., :3] - table[None, None]).sum(-1)
    assert (distance.min(-1) == 0).all()
    return distance.argmin(-1)


def test_09_the_same_match_again_comes_from_the_cache(
    app: App, open_page: OpenPage, saw: Saw
) -> None:
    page = opened(open_page(f"{app.address}/?tab=match"))
    page.get_by_role("spinbutton", name="Images").fill("32")
    cost = page.locator("#match-form [data-id=cost]")
    expect(cost).to_contain_text("Matched before", timeout=30_000)
    took = run_match(page, 32, 30)
    saw(f"match: the same again: {took:.2f} s (goal 1)")


def test_09_a_real_match_stops_and_resumes(app: App, open_page: OpenPage, saw: Saw) -> None:
    page = opened(open_page(f"{app.address}/?tab=match"))
    for box in page.locator("#match-form [data-id=backbones] input").all():
        box.set_checked(box.get_attribute("value") == "mobilenetv2")
    page.get_by_role("spinbutton", name="Seed").fill("5")
    page.get_by_role("spinbutton", name="Images").fill("96")
    page.get_by_role("button", name="Run the match").click()
    done = page.locator("#match-job [data-id=done]")
    expect(done).to_have_text(re.compile(r"^[1-9]\d* of 96 images$"), timeout=120_000)
    began = time.monotonic()
    page.get_by_role("button", name="Stop").click()
    state = page.locator("#match-job [data-id=state]")
    expect(state).to_have_text(re.compile("Stopped|Done"), timeout=10_000)
    saw(f"match: stopped {time.monotonic() - began:.2f} s after Stop (goal 2)")
    assert state.inner_text() == "Stopped"
    page.get_by_role("button", name="Resume").click()
    # A batch that Stop cut off is lost; the batches before it are not.
    resumed = re.compile(r"Going on after [1-9]\d* saved images")
    expect(page.locator("#match-job [data-id=log]")).to_have_text(resumed, timeout=60_000)
    expect(state).to_have_text("Done", timeout=200_000)


def chosen(page: Page, seed: int, images: int) -> Page:
    """The form filled in for a small match with one backbone."""
    for box in page.locator("#match-form [data-id=backbones] input").all():
        box.set_checked(box.get_attribute("value") == "mobilenetv2")
    page.get_by_role("spinbutton", name="Seed").fill(str(seed))
    page.get_by_role("spinbutton", name="Images").fill(str(images))
    return page


def test_19_a_second_visitor_sees_the_place_in_the_queue_and_nothing_crosses_over(
    app: App, open_page: OpenPage
) -> None:
    first = chosen(opened(open_page(f"{app.address}/?tab=match")), 21, 640)
    second = chosen(opened(open_page(f"{app.address}/?tab=match")), 22, 8)
    state, place = ("#match-job [data-id=state]", "#match-job [data-id=place]")
    first.get_by_role("button", name="Run the match").click()
    done = first.locator("#match-job [data-id=done]")
    expect(done).to_have_text(re.compile(r"^[1-9]\d* of 640 images$"), timeout=120_000)
    second.get_by_role("button", name="Run the match").click()
    expect(second.locator(state)).to_have_text("Waiting")
    expect(second.locator(place)).to_have_text("1 job ahead")
    assert first.evaluate("rosetta.get('state').job") != second.evaluate("rosetta.get('state').job")
    assert first.get_by_role("spinbutton", name="Seed").input_value() == "21"
    # What the running match has found grows on the page that watches it.
    expect(first.locator("#match-job [data-id=found]")).to_contain_text(
        "Rosetta Neurons after 80 images", timeout=200_000
    )
    expect(second.locator("#match-job [data-id=found]")).to_be_hidden()
    first.get_by_role("button", name="Stop").click()
    expect(first.locator(state)).to_have_text("Stopped", timeout=20_000)
    expect(second.locator(state)).to_have_text("Done", timeout=120_000)
    expect(first.locator(state)).to_have_text("Stopped")
    # Another browser has nothing of the first one's but its address, and can go on with it.
    third = open_page(first.url)
    third.get_by_role("button", name="Resume").click(timeout=60_000)
    expect(third.locator(state)).to_have_text("Running", timeout=60_000)
    third.get_by_role("button", name="Stop").click()
    expect(third.locator(state)).to_have_text("Stopped", timeout=20_000)


def test_02_a_fresh_machine_without_a_network_shows_the_dictionary_and_says_what_is_missing(
    tmp_path: Path, open_page: OpenPage
) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    asked = tmp_path / "asked.txt"
    asked.touch()
    port = free_port()
    command = [sys.executable, "app.py", "--port", str(port), "--cache-dir", str(tmp_path / "c")]
    extra = {"PYTHONPATH": str(tmp_path), "ASKED": str(asked)}
    with running(command, port, 30 * PATIENCE, extra) as address:
        page = open_page(address)
        page.wait_for_selector("#large-view canvas[data-unit]", timeout=60_000 * PATIENCE)
        expect(page.locator("#gallery-bar [data-id=count]")).to_contain_text("Rosetta Neurons")
        chip = page.locator("#header [data-id=chip]")
        expect(chip).to_have_attribute("data-stage", "failed", timeout=120_000 * PATIENCE)
        text = page.locator("#header [data-id=text]")
        expect(text).to_contain_text("could not be")
        page.close()


def test_ending_the_app_leaves_a_cache_that_the_next_start_opens(app: App) -> None:
    check = (
        "from rosetta_ui.engine.engine import Engine; from rosetta_ui.settings import Settings; "
    )
    check += f"e = Engine(Settings.read({{'cache_dir': {str(app.cache)!r}}})); "
    check += "import sys; sys.exit(0 if len(e.results()) >= 1 else 3)"
    done = subprocess.run([sys.executable, "-c", check], check=False, timeout=120)
    assert done.returncode == 0
