"""Every word of the field on Match and Gallery explains itself, on hover and by keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from driving import OpenPage, serious_violations
from playwright.sync_api import Locator, Page, expect

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

# Where a word stands, the word, and some of what it means.
MATCH = [
    ("#match-form", "Generator", "draws the images"),
    ("#match-form", "Backbones", "looks at images"),
    ("#match-form", "Images", "steadier"),
    ("#match-form", "Batch size", "at once"),
    ("#match-form", "Seed", "same images"),
    ("#match-form", "ψ", "Truncation"),
    ("#match-form", "Score", "correlation"),
    ("#match-form", "Rule", "Clique"),
    ("#match-form", "K", "best partners"),
    ("#match-summary", "Rosetta Neurons", "every chosen backbone"),
    ("#match-summary", "by chance", "shuffled"),
    ("#match-summary", "above the null", "threshold"),
    ("#match-summary", "live units", "Dead ones"),
    ("#match-summary", "Units", "One channel"),
    ("#match-summary", "Best buddies", "mutual nearest"),
    ("#match-summary", "Share", "smaller model"),
    ("#match-summary", "Threshold", "shuffled"),
    ("#match-summary", "False", "chance matches"),
    ("#match-summary", "Halves agree", "two separate halves"),
    ("#match-summary", "Weakest r", "weakest link"),
    ("#match-summary", "Null", "shuffled"),
    ("#plot-view", "Excess kurtosis", "bell curve"),
    ("#plot-view", "Rosetta Neurons", "every chosen backbone"),
    ("#compare-view", "pair", "belong together"),
    ("#compare-view", "Overlap", "both results"),
    ("#compare-view", "r of the scores", "How alike"),
]
RUNNING = [
    ("#match-job", "Rosetta Neurons", "every chosen backbone"),
    ("#match-job", "Pairs", "belong together"),
    ("#match-job", "weakest r", "weakest link"),
]
GALLERY = [
    ("#gallery-bar", "Rule", "Clique"),
    ("#gallery-bar", "K", "best partners"),
    ("#gallery-bar", "Score", "correlation"),
    ("#gallery-bar", "Maps", "every position"),
    ("#gallery-bar", "Weakest r", "weakest link"),
    ("#gallery-bar", "Above the null", "threshold"),
    ("#gallery-bar", "Grouping", "How unlike"),
    ("#gallery-bar", "Rosetta Neurons", "every chosen backbone"),
    ("#gallery-bar", "by chance", "shuffled"),
    ("#map-grid", "Neuron", "every chosen backbone"),
    ("#map-grid", "weakest r", "weakest link"),
    ("#large-view", "weakest r", "weakest link"),
    ("#large-view", "null", "shuffled"),
    ("#large-view", "threshold", "shuffled"),
    ("#large-view", "r", "correlation"),
    ("#large-view", "rank", "1 is first"),
    ("#large-view", "halves", "two separate halves"),
    ("#large-view", "unit", "One channel"),
    ("#large-view", "deviations", "standard deviations"),
    ("#large-view", "map", "every position"),
]

# Every dotted word that is seen, focused: [word, what its bubble says].
FOCUSED = """() => [...document.querySelectorAll(".r-term")]
  .filter((word) => word.checkVisibility())
  .map((word) => {
    word.focus();
    const said = document.getElementById("r-bubble")?.textContent ?? "";
    word.blur();
    return [word.textContent, said];
  })"""


def match_page(page: Page) -> Page:
    page.wait_for_selector("#match-summary .fact")
    expect(page.get_by_role("button", name="Run the match")).to_be_enabled()
    for panel in ("#plot-view", "#compare-view"):
        page.locator(panel).scroll_into_view_if_needed()
        page.wait_for_selector(f"{panel} [data-drawn]")
    return page


def marked_gallery(page: Page) -> Page:
    """The Gallery with a place marked and the units there listed."""
    page.wait_for_selector("#large-view canvas[data-unit]")
    page.wait_for_selector("#map-grid [data-painted-ms]")
    tile = page.locator("#large-view .r-tile").first
    box = tile.bounding_box()
    assert box
    tile.click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.3})
    expect(page.locator("#large-view .active .column")).to_have_count(5)
    return page


def running(page: Page) -> Page:
    """A match that has found something, and is still running."""
    button = page.get_by_role("button", name="Run the match")
    expect(button).to_be_enabled()
    button.click()
    expect(page.locator("#match-job [data-id=found]")).to_contain_text("after 32 images")
    return page


def word_of(page: Page, panel: str, words: str) -> Locator:
    found = page.locator(f"{panel} .r-term").get_by_text(words, exact=True)
    own = page.locator(f"{panel} .r-term", has_text=words)
    return found.first if found.count() else own.first


def explains(page: Page, anchor: Locator, focus: Locator, meaning: str) -> None:
    """Both ways to a bubble; each closes it behind itself."""
    bubble = page.get_by_role("tooltip")
    page.keyboard.press("Escape")
    anchor.hover()
    expect(bubble).to_contain_text(meaning)
    page.mouse.move(0, 0)
    expect(bubble).to_have_count(0)
    focus.focus()
    expect(bubble).to_contain_text(meaning)
    focus.blur()
    expect(bubble).to_have_count(0)


def explained(page: Page, terms: list[tuple[str, str, str]]) -> None:
    for panel, words, meaning in terms:
        word = word_of(page, panel, words)
        explains(page, word, word, meaning)
    found = page.evaluate(FOCUSED)
    assert len(found) >= len(terms)
    assert [word for word, said in found if len(said) < 20] == []


def test_every_term_of_match_is_explained(drawn_app: str, open_page: OpenPage) -> None:
    address = f"{drawn_app}/?tab=match&result=bundled&other=second&plot=selectivity"
    page = match_page(open_page(address))
    explained(page, MATCH)


def test_every_term_of_a_running_match_is_explained_while_it_goes_on(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = running(open_page(f"{drawn_app}/?tab=match"))
    explained(page, RUNNING)
    # The panel is asked for anew several times a second: the bubble under the pointer stays.
    page.locator("#match-job .r-term", has_text="Pairs").hover()
    before = page.locator("#match-job [data-id=done]").inner_text()
    expect(page.locator("#match-job [data-id=done]")).not_to_have_text(before)
    expect(page.get_by_role("tooltip")).to_contain_text("belong together")
    page.get_by_role("button", name="Stop").click()


def test_every_term_of_the_gallery_is_explained(drawn_app: str, open_page: OpenPage) -> None:
    page = marked_gallery(open_page(drawn_app))
    explained(page, GALLERY)
    bar, view = page.locator("#gallery-bar"), page.locator("#large-view")
    for name, meaning in (("centred", "position's mean"), ("pearson", "raw maps")):
        label = bar.locator(f"[data-explain={name}]")
        explains(page, label, label.locator("input"), meaning)
    concept = bar.get_by_label("Concept", exact=True)
    explains(page, concept, concept, "move together")
    scale = view.get_by_label("Colour scale")
    explains(page, scale, scale, "highest activation")
    pills = view.locator("[data-id=pills] button")
    explains(page, pills.nth(0), pills.nth(0), "chance matches reach")
    explains(page, pills.nth(1), pills.nth(1), "the medoid")
    assert pills.nth(1).get_attribute("aria-describedby") is None


def test_a_click_that_redraws_a_pill_leaves_no_bubble_behind(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = open_page(drawn_app)
    page.wait_for_selector("#map-grid [data-painted-ms]")
    page.locator("#large-view [data-id=pills] button.accent").click()
    page.wait_for_function("rosetta.get('state').concept !== ''")
    page.mouse.move(700, 5)
    expect(page.get_by_role("tooltip")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_a_running_match_and_a_marked_place_fit_and_are_photographed(
    drawn_app: str, open_page: OpenPage, artefacts: Path, width: int, theme: str
) -> None:
    page = running(open_page(f"{drawn_app}/?tab=match", width, 900, color_scheme=theme))
    job = page.locator("#match-job")
    job.scroll_into_view_if_needed()
    job.screenshot(path=artefacts / f"running-{width}-{theme}.png")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.get_by_role("button", name="Stop").click()
    page = marked_gallery(open_page(drawn_app, width, 900, color_scheme=theme))
    page.locator("#large-view .active button.unit:not(.matched)").first.click()
    expect(page.locator("#large-view .one canvas")).to_be_visible()
    page.wait_for_timeout(300)  # a smooth scroll to the large view may still run
    page.screenshot(path=artefacts / f"place-{width}-{theme}.png")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert serious_violations(page) == []
