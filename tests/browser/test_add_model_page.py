"""The Match tab's two ways in from a person's own disk: a model file and a folder of photos."""

from __future__ import annotations

from pathlib import Path

import pytest
from driving import OpenPage

pytestmark = pytest.mark.browser


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
