"""Scenarios of the Gallery, in Chromium over the drawn engine."""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

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


def test_03_a_click_changes_grid_columns_scores_and_address_and_reload_restores(
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


def test_04_arrows_and_enter_choose_the_next_neuron(drawn_app: str, open_page: OpenPage) -> None:
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


def test_05_opacity_threshold_and_raw_repaint_without_a_request(
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


def test_06_five_hundred_cells_are_painted_and_scroll(
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
    stop = page.locator("#map-grid [role=gridcell][tabindex='0']")
    expect(stop).to_have_count(1)  # the Tab key reaches a row that is seen
    assert int(stop.locator("xpath=..").get_attribute("data-at") or 0) > 130
    assert time.monotonic() - began < 6 * PATIENCE
    saw(f"drawn engine: first screen of 160 × 5 cells painted {painted} ms after it was asked for")


def test_07_search_and_filters_change_the_list_and_the_count(
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


def test_08_a_click_in_the_picture_ranks_the_neurons_active_there(
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


def test_08_a_box_in_the_picture_is_a_region(drawn_app: str, open_page: OpenPage) -> None:
    page = ready(open_page(drawn_app))
    box = page.locator("#large-view .r-tile").nth(1).bounding_box()
    assert box
    page.mouse.move(box["x"] + 20, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 80, steps=4)
    page.mouse.up()
    page.wait_for_function("rosetta.get('active') !== null")
    assert len(place(page)["point"].split(",")) == 4


def test_07_favourites_and_names_survive_a_reload(drawn_app: str, open_page: OpenPage) -> None:
    page = ready(open_page(drawn_app))
    page.get_by_role("button", name="Keep as a favourite").click()
    page.get_by_label("Your name for this neuron").fill("<b>fringe</b>")
    page.keyboard.press("Enter")
    page.reload()
    ready(page)
    page.get_by_role("checkbox", name="Favourites").check()
    page.wait_for_function("rosetta.get('shown').length === 1")
    expect(page.locator("#map-grid .name .called")).to_have_text("<b>fringe</b>")


def test_07_export_gives_json_csv_and_a_picture(
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


def test_07_layers_of_a_model_and_sizes_of_maps_filter_with_the_count(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(drawn_app))
    total = len(shown_keys(page))
    count = page.locator("#gallery-bar [data-id=count]")
    menu = page.locator("#gallery-bar [data-id=layers]")
    menu.locator("summary").click()
    menu.get_by_label("Model").select_option("dinov2-s")
    expect(count).to_contain_text(f"{total} Rosetta Neurons")  # every neuron has a partner there
    menu.get_by_label("From layer").select_option("4")
    menu.get_by_label("To layer").select_option("7")
    expect(count).to_contain_text(f"of {total}")
    depths = page.evaluate("rosetta.get('shown').map((row) => row.cells[1].unit.depth)")
    assert depths
    assert all(4 <= depth <= 7 for depth in depths)
    menu.get_by_label("From layer").select_option("9")  # the other end follows
    expect(menu.get_by_label("To layer")).to_have_value("9")
    expect(page.locator("#gallery-bar [data-id=layers-text]")).to_contain_text("blocks.9.mlp.act")
    chosen = len(shown_keys(page))
    page.reload()
    ready(page)
    assert len(shown_keys(page)) == chosen
    page.get_by_role("button", name="Clear filters").click()
    menu.locator("summary").click()
    menu.get_by_label("Map size").select_option("7x7")
    expect(count).to_contain_text(f"of {total}")
    sizes = page.evaluate(
        "rosetta.get('shown').map((row) => row.cells.some((c) => c.unit.size[0] === 7))"
    )
    assert sizes
    assert all(sizes)


def test_07_concepts_are_named_regrouped_at_once_and_a_person_s_name_wins(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(drawn_app))
    words = page.locator("#map-grid .line[aria-selected=true] .concept")
    expect(words).to_have_text("top left, small, dark brown")
    pill = page.locator("#large-view [data-id=pills] .r-pill.accent")
    expect(pill).to_contain_text("top left, small, dark brown")
    pill.hover()
    expect(page.get_by_role("tooltip")).to_contain_text("Fires at the top left, on 7.0 %")
    # A class whose name is hostile stands there as text.
    expect(page.get_by_role("tooltip")).to_contain_text("<img src=x onerror=alert(1)>")
    concepts = page.get_by_label("Concept", exact=True)
    usual = concepts.locator("option").count()
    concepts.select_option("each")
    page.wait_for_function("n => rosetta.get('shown').length === n", arg=usual - 2)
    slider = page.get_by_label("How unlike neurons of one concept may be")
    slider.fill("1.2")
    expect(concepts.locator("option")).not_to_have_count(usual)
    page.wait_for_function("n => rosetta.get('shown').length < n", arg=usual - 2)
    assert place(page)["grouping"] == "1.2"
    slider.fill("0.7")
    expect(concepts.locator("option")).to_have_count(usual)
    concepts.select_option("")
    page.locator("#large-view").get_by_role("button", name="Name this concept").click()
    page.get_by_label("Your name for this group of neurons").fill("<b>fringe</b>")
    page.keyboard.press("Enter")
    expect(words).to_have_text("<b>fringe</b>")
    page.reload()
    ready(page)
    expect(words).to_have_text("<b>fringe</b>")
    page.get_by_label("Find a unit, layer or model").fill("fringe")
    expect(page.locator("#gallery-bar [data-id=count]")).to_contain_text("of 160")


def test_07_a_view_is_kept_as_an_svg_that_needs_nothing_beside_it(
    drawn_app: str, open_page: OpenPage, tmp_path: Path
) -> None:
    page = ready(open_page(drawn_app))
    page.get_by_text("Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="This neuron, SVG").click()
    made = tmp_path / "view.svg"
    download.value.save_as(made)
    text = made.read_text()
    root = ElementTree.fromstring(text)
    spelled = "{http://www.w3.org/2000/svg}"
    unit = page.locator(NAME).inner_text()
    assert root.findtext(f"{spelled}title") == unit
    images = [node.get("href") for node in root.iter(f"{spelled}image")]
    assert len(images) == 11  # the picture six times, five maps
    assert all(str(address).startswith("data:image/") for address in images)
    words = [node.text or "" for node in root.iter(f"{spelled}text")]
    assert any("dinov2-s" in each for each in words)


def test_a_dictionary_of_another_installation_opens_in_the_gallery(
    own_drawn_app: str, open_page: OpenPage, tmp_path: Path
) -> None:
    page = ready(open_page(own_drawn_app))
    given = tmp_path / "dictionary.json"
    given.write_text("{}")
    page.locator("#gallery-bar [data-id=bundle]").set_input_files(given)
    page.wait_for_function("rosetta.get('gallery')?.result === 'imported'")
    expect(page.locator("#gallery-bar [data-id=said]")).to_contain_text("Imported")
    expect(page.get_by_label("Rule", exact=True)).to_be_disabled()
    assert place(page)["rule"] == "mutual"
    view = page.locator("#large-view")
    expect(view.locator(".message")).to_contain_text("No pictures and no maps here")
    scores = view.locator(".figure", has_text="dinov2-s")
    expect(scores).to_contain_text(re.compile(r"null\s*0\.\d\d"))
    expect(page.locator("#map-grid .line[data-at='0']")).to_be_visible()
    assert list(page.evaluate("rosetta.favourites('imported')").values()) == ["fringe"]
    given.write_text("<html>")
    page.locator("#gallery-bar [data-id=bundle]").set_input_files(given)
    count = page.locator("#gallery-bar [data-id=count]")
    expect(count).to_contain_text("This file is no dictionary: it is not JSON.")


def test_08_all_units_of_every_model_are_ranked_at_the_place(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(drawn_app))
    box = page.locator("#large-view .r-tile").first.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.3)
    columns = page.locator("#large-view .active .column")
    expect(columns).to_have_count(5)
    expect(columns.first).to_contain_text("of 2,560 units")
    expect(columns.last).to_contain_text("stored units")
    matched = columns.nth(2).locator("button.matched").nth(1)
    unit = matched.inner_text()
    matched.click()
    owner = page.evaluate(
        "(unit) => rosetta.get('gallery').rows.find("
        "(row) => row.cells.some((c) => c.unit.name.endsWith(`/${unit}`))).key",
        unit,
    )
    expect(page.locator(NAME)).to_have_text(owner)
    page.locator("#gallery-bar [data-id=point]").click()
    expect(page.locator("#large-view .active")).to_be_hidden()


def test_08_a_unit_that_no_neuron_has_shows_its_map_and_pairs_and_a_link_brings_it_back(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(drawn_app))
    box = page.locator("#large-view .r-tile").first.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.3)
    columns = page.locator("#large-view .active .column")
    expect(columns).to_have_count(5)
    alone = columns.first.locator("button.unit:not(.matched)").first
    alone.click()
    view = page.locator("#large-view .one")
    shown = view.locator("canvas")
    expect(shown).to_have_attribute("data-unit", "mobilestylegan/conv0:0")
    expect(view).to_contain_text("+6.00 σ at the marked place")
    expect(alone).to_have_attribute("aria-pressed", "true")
    lit = "(c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0)"
    assert shown.evaluate(lit)
    view.locator(".r-tile").hover(position={"x": 40, "y": 50})
    expect(view.locator(".reading")).to_have_text(re.compile(r"\d"))
    assert place(page)["unit"] == "mobilestylegan/conv0:0"
    linked = ready(open_page(page.url))
    expect(linked.locator("#large-view .one canvas")).to_have_attribute(
        "data-unit", "mobilestylegan/conv0:0"
    )
    partners = view.locator("button.matched")
    expect(partners).to_have_count(4)
    partners.first.click()
    expect(shown).to_have_attribute("data-unit", "dinov2-s/blocks.0.mlp.act:0")
    view.get_by_role("button", name="Close this unit").click()
    expect(view).to_be_hidden()
    assert "unit" not in place(page)


def test_more_of_a_neuron_is_made_with_progress_and_stops(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(drawn_app))
    page.get_by_role("button", name="Show me more of this").click()
    panel = page.locator("#large-view .express")
    expect(panel.locator(".card")).to_have_count(4)
    expect(panel).to_contain_text(re.compile(r"Step [1-9]\d* of 90, .* left"))
    expect(panel.locator(".card").first).to_contain_text("+0.80 σ → +2.40 σ")
    panel.get_by_label("Whose map lies on the images").select_option("2")
    painted = panel.locator("canvas").first
    expect(painted).to_have_attribute("aria-label", re.compile("efficientnet-lite0/"))
    panel.get_by_role("button", name="Stop").click()
    expect(panel).to_contain_text("Stopped; these are the best so far.")
    expect(panel.locator(".card")).to_have_count(4)
    page.locator(ROWS).nth(2).click()
    expect(panel).to_be_hidden()
