"""Scenarios of the Gallery, in Chromium over the drawn engine."""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from driving import PATIENCE, OpenPage
from playwright.sync_api import Page, expect

pytestmark = [
    pytest.mark.browser,
    # Playwright and gradio's client leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROWS = "#map-grid .body .line"
NAME = "#large-view [data-id=name]"


def ready(page: Page) -> Page:
    page.wait_for_selector("#large-view canvas[data-unit]")
    page.wait_for_selector("#map-grid [data-painted-ms]")
    return page


def place(page: Page) -> dict[str, str]:
    query = page.evaluate("Object.fromEntries(new URLSearchParams(location.search))")
    assert isinstance(query, dict)
    return query


def shown_keys(page: Page) -> list[str]:
    return page.evaluate("rosetta.get('shown').map((row) => row.key)")


def test_a_click_changes_grid_columns_scores_and_address_and_reload_restores(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(drawn_app))
    row = page.locator(ROWS).nth(3)
    unit = row.locator("[role=rowheader]").get_attribute("title")
    assert unit
    row.locator("[data-column='2']").click()
    expect(page.locator(NAME)).to_have_text(unit)
    expect(row).to_have_attribute("aria-selected", "true")
    assert place(page)["neuron"] == unit
    maps = page.locator("#large-view canvas[data-unit]")
    expect(maps).to_have_count(5)
    expect(maps.first).to_have_attribute("data-unit", unit)
    caption = page.locator("#large-view .figure").nth(2).inner_text()
    assert re.search(r"null 0\.\d\d", caption.replace("\n", " "))
    page.locator("#large-view .thumb").nth(2).click()
    expect(page.locator("#large-view .thumb").nth(2)).to_have_attribute("aria-pressed", "true")
    chosen = place(page)
    page.reload()
    ready(page)
    expect(page.locator(NAME)).to_have_text(unit)
    assert place(page) == chosen
    pressed = page.locator("#large-view .thumb[aria-pressed=true]").inner_text()
    assert pressed.strip() == chosen["image"]


def test_arrows_and_enter_choose_the_next_neuron(drawn_app: str, open_page: OpenPage) -> None:
    page = ready(open_page(drawn_app))
    keys = shown_keys(page)
    page.locator(ROWS).first.locator("[data-column='0']").click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    focused = page.evaluate("document.activeElement.dataset.column")
    assert focused == "1"
    page.keyboard.press("Enter")
    expect(page.locator(NAME)).to_have_text(keys[1])
    for _ in range(20):  # far beyond what is in view: rows are made as the focus reaches them
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(NAME)).to_have_text(keys[21])
    page.keyboard.press("Control+End")
    page.keyboard.press("Enter")
    expect(page.locator(NAME)).to_have_text(keys[-1])
    stops = page.locator("#map-grid [role=gridcell][tabindex='0']").count()
    assert stops == 1


def test_opacity_threshold_and_raw_repaint_without_a_request(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(drawn_app))
    page.wait_for_timeout(1500)  # the next neuron is fetched ahead
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data or request.url))
    canvas = page.locator("#large-view canvas[data-unit]").first
    page.get_by_label("Opacity of the maps").fill("0.25")
    assert float(canvas.evaluate("(c) => getComputedStyle(c).opacity")) == 0.25
    pixels = "(c) => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].join()"
    before = canvas.evaluate(pixels)
    page.get_by_label("Hide activations below").fill("0.5")
    assert canvas.evaluate(pixels) != before
    page.get_by_role("radio", name="Raw").check(force=True)
    assert float(canvas.evaluate("(c) => getComputedStyle(c).opacity")) == 1
    # A status poll may fall into this second; nothing else may be asked.
    assert [a for a in asked if "readiness" not in a] == []


def test_five_hundred_cells_are_painted_and_scroll(
    drawn_app: str, open_page: OpenPage, saw: Callable[[str], None]
) -> None:
    began = time.monotonic()
    page = ready(open_page(drawn_app))
    painted = page.locator("#map-grid [data-painted-ms]").get_attribute("data-painted-ms")
    assert len(shown_keys(page)) * 5 >= 500
    lines = page.locator(ROWS).count()
    assert lines < 40, "only rows in view may be in the page"
    page.locator("#map-grid .scroll").evaluate("(s) => { s.scrollTop = s.scrollHeight; }")
    last = page.locator(f"{ROWS}[data-at='159'] canvas").last
    page.wait_for_selector(f"{ROWS}[data-at='159'][data-image]")
    lit = "(c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0)"
    assert last.evaluate(lit)
    assert time.monotonic() - began < 6 * PATIENCE
    saw(f"drawn engine: first screen of 160 × 5 cells painted {painted} ms after it was asked for")


def test_search_and_filters_change_the_list_and_the_count(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(drawn_app))
    total = len(shown_keys(page))
    count = page.locator("#gallery-bar [data-id=count]")
    page.get_by_label("Find a unit, layer or model").fill("layers.2 thin-resnet50/layer3")
    expect(count).to_contain_text(f"of {total}")
    assert all("/layers.2." in key for key in shown_keys(page))
    page.get_by_role("button", name="Clear filters").click()
    expect(count).not_to_contain_text("of")
    page.get_by_label("Lowest score to show").fill("0.6")
    expect(count).to_contain_text(f"of {total}")
    strong = len(shown_keys(page))
    page.get_by_role("checkbox", name="Above the null").check()
    assert 0 < len(shown_keys(page)) <= strong
    page.get_by_label("Concept", exact=True).select_option(index=1)
    few = len(shown_keys(page))
    assert 0 < few < strong
    page.reload()
    ready(page)
    assert len(shown_keys(page)) == few
    page.get_by_label("Find a unit, layer or model").fill("no such thing")
    expect(page.locator("#map-grid .message")).to_contain_text("No neuron passes")


def test_a_click_in_the_picture_ranks_the_neurons_active_there(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(drawn_app))
    tile = page.locator("#large-view .r-tile").first
    box = tile.bounding_box()
    assert box
    tile.click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.3})
    page.wait_for_selector("#gallery-bar [data-id=point]:visible")
    page.wait_for_function("rosetta.get('active') !== null")
    assert place(page)["point"].startswith("0.5")
    means = page.evaluate(
        "rosetta.get('shown').map((row) => rosetta.get('active').get(row.key))"
        ".map((v) => v.reduce((a, b) => a + b) / v.length)"
    )
    assert means == sorted(means, reverse=True)
    page.wait_for_function("document.querySelector('#map-grid .line[data-at=\"0\"][data-image]')")
    images = page.locator(f"{ROWS}[data-image]").evaluate_all(
        "(l) => l.map((x) => x.dataset.image)"
    )
    assert set(images) == {place(page)["pin"]}
    page.locator("#gallery-bar [data-id=point]").click()
    expect(page.locator("#gallery-bar [data-id=point]")).to_be_hidden()
    assert "point" not in place(page)


def test_a_box_in_the_picture_is_a_region(drawn_app: str, open_page: OpenPage) -> None:
    page = ready(open_page(drawn_app))
    box = page.locator("#large-view .r-tile").nth(1).bounding_box()
    assert box
    page.mouse.move(box["x"] + 20, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 80, steps=4)
    page.mouse.up()
    page.wait_for_function("rosetta.get('active') !== null")
    assert len(place(page)["point"].split(",")) == 4


def test_favourites_and_names_survive_a_reload(drawn_app: str, open_page: OpenPage) -> None:
    page = ready(open_page(drawn_app))
    page.get_by_role("button", name="Keep as a favourite").click()
    page.get_by_label("Your name for this concept").fill("<b>fringe</b>")
    page.keyboard.press("Enter")
    page.reload()
    ready(page)
    page.get_by_role("checkbox", name="Favourites").check()
    page.wait_for_function("rosetta.get('shown').length === 1")
    expect(page.locator("#map-grid .name .called")).to_have_text("<b>fringe</b>")


def test_export_gives_json_csv_and_a_picture(
    drawn_app: str, open_page: OpenPage, tmp_path: Path
) -> None:
    page = ready(open_page(drawn_app))
    files: dict[str, Path] = {}
    for name in ("All neurons, JSON", "Shown neurons, CSV", "This neuron, PNG"):
        page.get_by_text("Export", exact=True).click()
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        files[name] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[name])
    dictionary = json.loads(files["All neurons, JSON"].read_text())
    assert len(dictionary["neurons"]) == len(shown_keys(page))
    rows = list(csv.DictReader(files["Shown neurons, CSV"].open(newline="")))
    assert len(rows) == 4 * len(shown_keys(page))
    assert {row["anchor"] for row in rows} == set(shown_keys(page))
    assert files["This neuron, PNG"].read_bytes().startswith(b"\x89PNG")


def test_the_raw_value_under_the_pointer_is_shown_in_every_model(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(drawn_app))
    page.locator("#large-view .r-tile").nth(2).hover(position={"x": 40, "y": 50})
    readings = page.locator("#large-view .reading")
    expect(readings).to_have_count(5)
    assert all(
        re.fullmatch(r"−?\d+(\.\d+)?(e[−+]\d+)?", text) for text in readings.all_inner_texts()
    )
    assert float(readings.first.evaluate("(r) => getComputedStyle(r).opacity")) > 0


def test_an_unknown_neuron_or_result_in_a_link_is_said(drawn_app: str, open_page: OpenPage) -> None:
    page = open_page(f"{drawn_app}/?result=bundled&neuron=mobilestylegan/conv0:3")
    expect(page.locator("#large-view .message")).to_contain_text("no Rosetta Neuron")
    page = open_page(f"{drawn_app}/?result=nothing")
    expect(page.locator("#map-grid .message")).to_contain_text("There is no result 'nothing'.")
