"""Plots and comparison in the page: one selection with table, grid and address; themes; files."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from driving import OpenPage, serious_violations
from playwright.sync_api import Browser, Page, expect

from rosetta_ui.rendering.page import PageFacts, PageNeuron, gallery_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

# Where plotly drew what chooses a neuron, or a layer's first cell: list of [key, x, y].
PLACES = """(plot) => {
  const node = document.querySelector(plot);
  const { xaxis, yaxis } = node._fullLayout;
  const box = node.getBoundingClientRect();
  const spot = (key, x, y) =>
    [key, box.left + xaxis._offset + xaxis.c2p(x), box.top + yaxis._offset + yaxis.c2p(y)];
  return node.data.flatMap((trace) => trace.type === "heatmap"
    ? trace.customdata.map((row, at) => spot(row[0].neuron ?? row[0].rows, 0, at))
    : trace.customdata.map((c, at) => spot(c.neuron, trace.x[at], trace.y[at])));
}"""


def shown(page: Page, name: str) -> Page:
    """Wait until a plot is drawn."""
    page.wait_for_selector("#match-summary .fact")
    page.locator("#plot-view").scroll_into_view_if_needed()
    expect(page.locator(f"#plot-view [data-name={name}]")).to_have_attribute("aria-pressed", "true")
    page.wait_for_selector("#plot-view [data-drawn]")
    return page


def neuron_of(page: Page) -> str:
    return parse_qs(urlsplit(page.url).query)["neuron"][0]


def places(page: Page, plot: str) -> dict[str, tuple[float, float]]:
    """What can be clicked without hitting its neighbour: key → where, in the window."""
    page.locator(plot).scroll_into_view_if_needed()
    every = [(key, x, y) for key, x, y in page.evaluate(PLACES, plot)]
    alone = {
        key: (x, y)
        for key, x, y in every
        if all(max(abs(x - a), abs(y - b)) > 9 for other, a, b in every if other != key)
    }
    assert alone, f"every point of {plot} has others over it"
    return alone


def click_neuron(page: Page, plot: str, key: str) -> None:
    x, y = places(page, plot)[key]
    hovered = "([plot, key]) => document.querySelector(plot)._hoverdata?.some("
    hovered += "(point) => point.customdata?.neuron === key)"
    # A plot that is being drawn anew forgets what the pointer is over: point again until it knows.
    for _ in range(100):
        page.mouse.move(x - 2, y)
        page.mouse.move(x, y)
        if page.evaluate(hovered, [plot, key]):
            break
        page.wait_for_timeout(100)
    page.mouse.click(x, y)
    page.wait_for_function("key => rosetta.get('state').neuron === key", arg=key)
    assert neuron_of(page) == key


def test_10_a_matrix_cell_a_scatter_point_and_a_table_row_of_a_pair_select_the_same(
    drawn_app: str, open_page: OpenPage
) -> None:
    plot = "#plot-view .canvas"
    page = shown(open_page(f"{drawn_app}/?tab=match&result=bundled&plot=scores"), "scores")
    points = places(page, plot)
    listed = page.evaluate(
        "[...document.querySelectorAll('#match-summary tr[data-key]')].map((r) => r.dataset.key)"
    )
    key = next(each for each in listed[1:] if each in points)
    click_neuron(page, plot, key)
    expect(page.locator("#plot-view [data-id=chosen]")).to_have_text(f"Chosen: {key}")
    # By the matrix: first the two layers, then their units. Choose another one in between.
    click_neuron(page, plot, next(each for each in points if each != key))
    page.get_by_role("button", name="Layer by layer").click()
    shown(page, "layers")
    page.wait_for_function("document.querySelector('#plot-view .canvas').data[0].z.length === 5")
    page.mouse.click(*places(page, plot)[key.split("/")[1].split(":")[0]])
    expect(page.get_by_role("button", name="All layers")).to_be_visible()
    page.wait_for_function(
        "document.querySelector('#plot-view .canvas').data[0].customdata[0][0].neuron"
    )
    click_neuron(page, plot, key)
    # The table of the same result leads to the same neuron in the Gallery.
    page.locator(f"#match-summary tr[data-key='{key}']").click()
    expect(page.locator("#large-view h2")).to_have_text(key)
    assert neuron_of(page) == key


def test_a_link_brings_a_plot_and_a_comparison_back(drawn_app: str, open_page: OpenPage) -> None:
    page = shown(open_page(f"{drawn_app}/?tab=match&result=bundled"), "layers")
    page.get_by_role("button", name="Real and shuffled").click()
    shown(page, "nulls")
    page.locator("#compare-view").scroll_into_view_if_needed()
    page.get_by_label("The other result").select_option("second")
    page.wait_for_selector("#compare-view [data-drawn]")
    again = shown(open_page(page.url), "nulls")
    again.locator("#compare-view").scroll_into_view_if_needed()
    again.wait_for_selector("#compare-view [data-drawn]")
    expect(again.get_by_label("The other result")).to_have_value("second")


def test_the_comparison_counts_lists_and_selects(drawn_app: str, open_page: OpenPage) -> None:
    page = open_page(f"{drawn_app}/?tab=match&result=bundled")
    page.wait_for_selector("#match-summary .fact")
    page.get_by_role("button", name="Compare with the open result").click()
    page.wait_for_selector("#compare-view [data-drawn]")
    expect(page.locator("#compare-view .fact b").first).to_have_text("80")
    page.locator("#compare-view .r-segment").get_by_text("Only there").click()
    line = page.locator("#compare-view .list tr[data-neuron]").nth(2)
    key = line.get_attribute("data-neuron") or ""
    line.click()
    expect(page.locator("#compare-view .list tr[aria-selected=true]")).to_have_attribute(
        "data-neuron", key
    )
    assert neuron_of(page) == key
    click_neuron(page, "#compare-view .canvas", list(places(page, "#compare-view .canvas"))[-1])


def test_a_plot_that_cannot_be_drawn_says_why(drawn_app: str, open_page: OpenPage) -> None:
    page = open_page(f"{drawn_app}/?tab=match&result=bundled&plot=convergence")
    page.wait_for_selector("#match-summary .fact")
    page.locator("#plot-view").scroll_into_view_if_needed()
    expect(page.locator("#plot-view .message")).to_contain_text("keeps no tables of some")
    page.get_by_role("button", name="Selectivity").click()
    shown(page, "selectivity")
    expect(page.locator("#plot-view .message")).to_be_hidden()


def test_plots_follow_the_theme(drawn_app: str, open_page: OpenPage) -> None:
    page = shown(
        open_page(f"{drawn_app}/?tab=match&result=bundled", color_scheme="light"), "layers"
    )
    ink = "document.querySelector('#plot-view .canvas').layout.font.color"
    before = page.evaluate(ink)
    page.get_by_role("button", name="Switch between light and dark").click()
    page.wait_for_function(f"{ink} !== '{before}'")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_plots_fit_are_accessible_and_are_photographed(
    drawn_app: str, open_page: OpenPage, artefacts: Path, width: int, theme: str
) -> None:
    address = f"{drawn_app}/?tab=match&result=bundled&other=second&plot=nulls"
    page = shown(open_page(address, width, 900, color_scheme=theme), "nulls")
    page.locator("#plot-view").screenshot(path=artefacts / f"plots-{width}-{theme}.png")
    page.locator("#compare-view").scroll_into_view_if_needed()
    page.wait_for_selector("#compare-view [data-drawn]")
    page.locator("#compare-view").screenshot(path=artefacts / f"compare-{width}-{theme}.png")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert serious_violations(page) == []


def test_the_export_menu_makes_page_film_and_table_and_reads_names_back(
    drawn_app: str, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(drawn_app)
    page.wait_for_selector("#large-view canvas[data-unit]")
    for name, kind in (
        ("Page for any browser, HTML", "html"),
        ("This neuron, film", "webp"),
        ("All neurons, Parquet", "parquet"),
    ):
        page.get_by_text("Export", exact=True).click()
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        assert download.value.suggested_filename == f"rosetta-bundled.{kind}"
        made = tmp_path / kind
        download.value.save_as(made)
        wanted = neuron_of(page) if kind == "webp" else ""
        assert json.loads(made.read_text()) == {"kind": kind, "neuron": wanted, "names": {}}
    key = page.evaluate("rosetta.get('gallery').rows[5].key")
    given = {"schema": 1, "neurons": [], "favourites": {key: "<b>fringe</b>", "gone/l:1": "x"}}
    dictionary = tmp_path / "names.json"
    dictionary.write_text(json.dumps(given))
    page.locator("#gallery-bar [data-id=names]").set_input_files(dictionary)
    expect(page.locator("#gallery-bar .count")).to_have_text(
        "1 favourites read, 1 are no neurons here."
    )
    assert page.evaluate("rosetta.favourites('bundled')") == {key: "<b>fringe</b>"}
    dictionary.write_text('{"neurons": 3}')
    page.locator("#gallery-bar [data-id=names]").set_input_files(dictionary)
    expect(page.locator("#gallery-bar .count")).to_contain_text("This is no dictionary")


def test_the_exported_page_opens_from_a_file_without_a_server(
    browser: Browser, tmp_path: Path
) -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    neurons = [
        PageNeuron(f"gen/low:{i}", hostile if i == 0 else "", i, i < 2, 0, [("a/top:1", 0.8, 0.2)])
        for i in range(3)
    ]
    maps = np.full((3, 2, 16, 16), 255, np.uint8)
    picture = np.full((32, 32, 3), 90, np.uint8)
    text = gallery_page(
        PageFacts(hostile, [hostile], ["gen", "a"], 0.3), neurons, maps, {0: picture}
    )
    (tmp_path / "gallery.html").write_text(text, "utf-8")
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: said.append(request.url))
    page.goto((tmp_path / "gallery.html").as_uri())
    expect(page.locator("article")).to_have_count(3)
    expect(page.locator("h1")).to_have_text(hostile)
    expect(page.locator("article .called")).to_have_text(hostile)
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    pixel = "document.querySelector('canvas').getContext('2d').getImageData(3, 3, 1, 1).data[3]"
    assert page.evaluate(pixel) == 255
    page.fill("#find", "low:2")
    expect(page.locator("#count")).to_have_text("1 of 3 neurons")
    context.close()
    assert [line for line in said if not line.startswith(("file:", "data:"))] == []
