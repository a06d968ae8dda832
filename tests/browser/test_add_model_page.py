"""The Match tab's two ways in from a person's own disk: a model file and a folder of photos."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import PATIENCE, PROJECT, OpenPage, free_port, running
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

OFFICIAL = PROJECT / "tests" / "vectors" / "stylegan3_r_a" / "official.pkl"


@pytest.fixture
def empty_app(tmp_path: Path) -> Iterator[str]:
    """`python app.py` on an empty cache, fetching nothing."""
    port = free_port()
    command = [sys.executable, "app.py", "--port", str(port), "--no-fetch"]
    command += ["--cache-dir", str(tmp_path / "cache")]
    with running(command, port, 30 * PATIENCE) as address:
        yield address


@pytest.mark.slow
def test_an_official_stylegan3_file_is_added_and_matched_from_the_page(
    empty_app: str, open_page: OpenPage
) -> None:
    page = open_page(f"{empty_app}/?tab=match")
    page.locator("#match-form .pick input").first.wait_for(state="visible", timeout=60_000)
    panel = page.locator("#add-model")
    panel.locator("summary").click()
    panel.locator('[data-id="name"]').fill("stylegan3-afhq")
    panel.locator('[data-id="file"]').fill(str(OFFICIAL))
    panel.locator('[data-id="add"]').click()
    state = page.locator("#match-job [data-id=state]")
    expect(state).to_have_text(re.compile("Done|Failed"), timeout=120_000 * PATIENCE)
    expect(state).to_have_text("Done")

    form = page.locator("#match-form")
    generator = form.locator('[data-id="generator"]')
    expect(generator.locator('optgroup[label="Ready"]')).to_contain_text("StyleGAN3")
    generator.select_option("stylegan3-afhq")
    expect(form.locator('[data-id="about"]')).to_contain_text("64 × 64 px")
    ticked = form.locator(".pick input:checked")
    while ticked.count():
        ticked.first.uncheck()
    form.locator('[data-id="more"] summary').click()
    form.locator('[data-id="timm"]').fill("resnet50.random")
    form.locator('[data-id="images"]').fill("4")
    expect(form.locator('[data-id="run"]')).to_be_enabled(timeout=30_000 * PATIENCE)
    before = page.evaluate("new URLSearchParams(location.search).get('job')")
    form.locator('[data-id="run"]').click()
    page.wait_for_function("new URLSearchParams(location.search).get('job') !== " + repr(before))
    expect(state).to_have_text(re.compile("Done|Failed"), timeout=120_000 * PATIENCE)
    expect(state).to_have_text("Done")
    expect(page.locator("#match-summary")).to_contain_text("resnet50.random")


def test_a_model_file_is_added_from_the_page(
    drawn_app: str, open_page: OpenPage, artefacts: Path
) -> None:
    page = open_page(f"{drawn_app}/?tab=match")
    panel = page.locator("#add-model")
    panel.locator("summary").click()
    panel.locator('[data-id="name"]').fill("stylegan3-afhq")
    panel.locator('[data-id="file"]').fill("/models/afhq.pkl")
    panel.scroll_into_view_if_needed()
    page.screenshot(path=artefacts / "add-model.png")
    panel.locator('[data-id="add"]').click()
    page.wait_for_function("new URLSearchParams(location.search).get('job')")
    page.locator("#match-job .r-progress").wait_for(state="visible")


def test_photos_take_the_generators_place(
    drawn_app: str, open_page: OpenPage, artefacts: Path
) -> None:
    page = open_page(f"{drawn_app}/?tab=match")
    form = page.locator("#match-form")
    form.locator(".pick input").first.wait_for(state="visible")
    form.locator('[data-id="source"]').select_option("photos")
    assert form.locator('[data-id="generator"]').is_hidden()
    form.get_by_text("Name a folder of photos.").wait_for(state="visible")
    assert form.locator('[data-id="run"]').is_disabled()
    # Models that become ready meanwhile are listed anew; what was chosen stays.
    with page.expect_response(lambda r: '"catalogue"' in (r.request.post_data or "")):
        page.evaluate("rosetta.put('models-changed', 'test')")
    page.wait_for_function("document.querySelector('#match-form .pick input')")
    page.wait_for_timeout(200)
    assert form.locator('[data-id="source"]').input_value() == "photos"
    assert form.locator('[data-id="generator"]').is_hidden()
    form.locator('[data-id="photos"]').fill("/pictures")
    page.wait_for_function(
        "!document.querySelector('#match-form [data-id=run]').disabled", timeout=15_000
    )
    page.screenshot(path=artefacts / "match-photos.png")
    form.locator('[data-id="source"]').select_option("")
    assert form.locator('[data-id="generator"]').is_visible()


def test_any_timm_model_is_a_backbone_by_its_name(drawn_app: str, open_page: OpenPage) -> None:
    page = open_page(f"{drawn_app}/?tab=match")
    form = page.locator("#match-form")
    form.locator(".pick input").first.wait_for(state="visible")
    form.locator('[data-id="more"] summary').click()
    form.locator('[data-id="timm"]').fill("resnet50.random, convnext_atto")
    form.get_by_text("6 chosen").wait_for(state="visible")
