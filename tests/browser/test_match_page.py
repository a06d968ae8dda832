"""Scenarios of the Match tab, in Chromium over the drawn engine."""

from __future__ import annotations

import re

import pytest
from driving import OpenPage
from playwright.sync_api import Page, Request, Route, expect

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def ready(page: Page) -> Page:
    expect(page.get_by_role("button", name="Run the match")).to_be_enabled()
    return page


def test_what_is_typed_while_the_models_are_still_listed_is_kept(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = open_page("about:blank")
    held: list[Route] = []

    def asks_for_models(request: Request) -> bool:
        return '"catalogue"' in (request.post_data or "")

    page.route(
        re.compile("component_server"),
        lambda route: held.append(route) if asks_for_models(route.request) else route.continue_(),
    )
    with page.expect_request(asks_for_models):
        page.goto(f"{drawn_app}/?tab=match")
    images = page.get_by_label("Images", exact=True)
    expect(images).to_be_visible()
    expect(images).to_be_disabled()
    held[0].continue_()
    images.fill("256")
    expect(page.locator("#match-form [data-id=cost]")).to_contain_text("256 images")
    expect(images).to_have_value("256")


def test_the_form_says_what_the_match_costs_and_what_is_wrong(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(f"{drawn_app}/?tab=match"))
    cost = page.locator("#match-form [data-id=cost]")
    expect(cost).to_contain_text(re.compile(r"128 images, about .* of memory, .* on disk"))
    page.get_by_label("Images", exact=True).fill("1")
    expect(cost).to_contain_text("1 images are too few. Give at least 2.")
    expect(page.get_by_role("button", name="Run the match")).to_be_disabled()
    page.get_by_label("Images", exact=True).fill("64")
    expect(cost).to_contain_text("64 images")
    for box in page.locator("#match-form [data-id=backbones] input").all():
        box.uncheck()
    expect(cost).to_contain_text("at least one backbone")


def test_a_class_is_asked_for_only_where_there_are_classes(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(f"{drawn_app}/?tab=match"))
    field = page.locator("#match-form [data-id=class-field]")
    expect(field).to_be_hidden()
    page.get_by_role("combobox", name="Generator").select_option("biggan")
    expect(field).to_be_visible()
    expect(field).to_contain_text("0 to 999")
    expect(page.locator("#match-form .about code")).to_have_text(
        "python -m rosetta_ui zoo fetch biggan"
    )


def test_a_preset_fills_the_form(drawn_app: str, open_page: OpenPage) -> None:
    page = ready(open_page(f"{drawn_app}/?tab=match"))
    page.get_by_role("button", name="Faces, best").click()
    expect(page.get_by_role("combobox", name="Generator")).to_have_value("mobilestylegan")
    expect(page.get_by_label("Images", exact=True)).to_have_value("256")
    terms = page.locator("#match-form .terms")
    expect(terms).to_contain_text("non-commercial")


def test_09_a_match_advances_survives_a_reload_stops_and_resumes(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(f"{drawn_app}/?tab=match"))
    page.get_by_role("button", name="Run the match").click()
    done = page.locator("#match-job [data-id=done]")
    bar = page.get_by_role("progressbar", name="Progress")
    expect(done).to_have_text(re.compile(r"^[1-9]\d* of 128 images$"))
    expect(page.locator("#match-job [data-id=rate]")).to_contain_text("images/s")
    expect(page.locator("#match-job [data-id=left]")).to_contain_text("left")
    before = int(bar.get_attribute("aria-valuenow") or 0)
    page.reload()
    expect(done).to_be_visible()
    page.wait_for_function(
        "(n) => +document.querySelector('#match-job [role=progressbar]').ariaValueNow > n",
        arg=before,
    )
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#match-job [data-id=state]")).to_have_text("Stopped")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#match-job [data-id=state]")).to_have_text("Running")
    expect(page.locator("#match-job [data-id=state]")).to_have_text("Done", timeout=120_000)
    expect(page.locator("#match-summary")).to_contain_text("Rosetta Neurons")
    page.locator("#match-job").get_by_role("button", name="Open in the Gallery").click()
    expect(page.locator("#map-grid")).to_be_visible()


def test_a_row_of_the_table_opens_the_neuron_in_the_gallery(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(f"{drawn_app}/?tab=match&result=bundled"))
    link = page.locator("#match-summary button.link").nth(4)
    unit = link.inner_text()
    link.click()
    expect(page.locator("#large-view [data-id=name]")).to_have_text(f"mobilestylegan/{unit}")
    expect(page.get_by_role("tab", name="Rosetta Gallery")).to_have_attribute(
        "aria-selected", "true"
    )


def test_results_are_renamed_kept_and_deleted_after_a_second_press(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(f"{drawn_app}/?tab=match"))
    history = page.locator("#match-history")
    hostile = history.locator("button.open").nth(1)
    expect(hostile).to_have_text("<img src=x onerror=alert(1)> ${alert(2)} {{value}}")
    history.get_by_role("button", name=re.compile("^Keep")).click()
    expect(history.locator(".r-pill.good")).to_have_text("Kept")
    history.get_by_role("button", name=re.compile("^Rename")).click()
    page.get_by_label("New title").fill("${alert(3)}")
    page.keyboard.press("Enter")
    expect(history.locator("button.open").nth(1)).to_have_text("${alert(3)}")
    page.get_by_role("tab", name="Rosetta Gallery").click()
    choices = page.locator("#gallery-bar [data-id=result] option").all_inner_texts()
    assert "${alert(3)}" in choices
    page.get_by_role("tab", name="Match").click()
    history.get_by_role("button", name=re.compile("^Delete")).click()
    expect(history.locator("button.open")).to_have_count(2)


def test_a_job_of_an_earlier_start_is_said_and_can_be_closed(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = ready(open_page(f"{drawn_app}/?tab=match&job=gone"))
    panel = page.locator("#match-job")
    expect(panel).to_contain_text("There is no job 'gone'.")
    panel.get_by_role("button", name="Close").click()
    expect(page.locator("#match-job section")).to_be_hidden()
