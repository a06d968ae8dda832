"""Scenarios 12 to 16: the Edit tab of the real app, driven by mouse, touch, wheel and keys."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from driving import OpenPage
from edit_hands import (
    LONG,
    asked,
    drag,
    dragging,
    opened,
    pad,
    painted,
    picture,
    recipe,
    said,
    show,
    shown,
    steps,
    tab,
    wait_done,
    work,
)
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect

pytestmark = [
    pytest.mark.browser,
    pytest.mark.weights,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Saw = Callable[[str], None]


def pixels(page: Page) -> NDArray[np.float32]:
    """The shown picture, reduced to the generator's 64 px."""
    data = base64.b64decode(shown(page).split(",", 1)[1])
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BOX), np.float32)


@pytest.mark.parametrize("density", [1, 2])
def test_12_a_drag_shows_its_arrow_first_and_then_moves_the_picture(
    edit_app: str, open_page: OpenPage, saw: Saw, density: int
) -> None:
    page = opened(open_page, edit_app, device_scale_factor=density, height=620)
    page.evaluate("scrollTo(0, 60)")
    before = shown(page)
    assert painted(page) == 0
    drag(page, (0.5, 0.5), (0.6, 0.4), (0.75, 0.3), release=False)
    assert painted(page) > 1000
    expect(page.locator("#drag-pad [data-id=live]")).to_contain_text("right 25 %", timeout=LONG)
    assert shown(page) == before
    page.mouse.up()
    (edit,) = asked(page)
    assert edit["kind"] == "shift"
    assert abs(edit["dx"] - 0.25) <= 0.01
    assert abs(edit["dy"] + 0.2) <= 0.01
    wait_done(page, 1)
    assert shown(page) != before
    saw(
        f"edit, density {density}: first frame {work(page).get_attribute('data-first-ms')} ms"
        f" (goal 500), done {work(page).get_attribute('data-done-ms')} ms at 30 steps"
    )


def test_12_without_a_wish_a_drag_moves_early_maps_and_keeps_the_latent(
    edit_app: str, open_page: OpenPage
) -> None:
    page = tab(open_page, edit_app)
    show(page, 3)
    before = pixels(page)
    drag(page, (0.5, 0.5), (0.625, 0.5))
    wait_done(page, 1)
    after = pixels(page)
    found = recipe(page)
    (made,) = found["steps"]
    assert made["settings"]["early"] is True
    assert found["latents"]["values"] == found["start"]["values"]
    assert found["latents"]["moved"][0][2] == pytest.approx(-0.125, abs=0.01)
    # An eighth of the 64 px picture, away from what comes in and from the frame.
    asked_for, got = before[6:-6, 6:-14], after[6:-6, 14:-6]
    assert np.abs(got - asked_for).mean() < 0.3 * np.abs(got - before[6:-6, 14:-6]).mean()

    page.locator("#edit-panel summary").click()
    page.get_by_role("combobox", name="What moves").select_option(label="The latent alone")
    drag(page, (0.5, 0.5), (0.5, 0.4))
    wait_done(page, 2)
    found = recipe(page)
    assert found["steps"][1]["settings"]["early"] is False
    assert found["latents"]["values"] != found["start"]["values"]
    assert found["latents"]["moved"][0][2] == pytest.approx(-0.125, abs=0.01)


def test_12_touch_and_keys_ask_for_the_same(edit_app: str, open_page: OpenPage) -> None:
    page = opened(open_page, edit_app, has_touch=True)
    pad(page).evaluate(
        """(pad) => {
          const box = pad.getBoundingClientRect();
          const send = (kind, x, y) => pad.dispatchEvent(new PointerEvent(kind, {
            pointerId: 7, pointerType: "touch", isPrimary: true, bubbles: true,
            clientX: box.left + x * box.width, clientY: box.top + y * box.height }));
          send("pointerdown", 0.5, 0.5); send("pointermove", 0.7, 0.4);
          send("pointermove", 0.75, 0.3); send("pointerup", 0.75, 0.3);
        }"""
    )
    (edit,) = asked(page)
    assert abs(edit["dx"] - 0.25) <= 0.01
    assert abs(edit["dy"] + 0.2) <= 0.01
    wait_done(page, 1)
    pad(page).focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    assert painted(page) > 1000
    page.keyboard.press("Escape")
    assert painted(page) == 0
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    (edit,) = asked(page)
    assert abs(edit["dx"] + 0.1) <= 0.001
    wait_done(page, 2)


def test_13_the_wheel_zooms_within_limits_and_does_not_scroll(
    edit_app: str, open_page: OpenPage
) -> None:
    page = opened(open_page, edit_app, height=560)
    pad(page).scroll_into_view_if_needed()
    box = pad(page).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.4 * box["height"])
    scrolled = page.evaluate("scrollY")
    for _ in range(30):
        page.mouse.wheel(0, -120)
    assert page.evaluate("scrollY") == scrolled
    expect(pad(page)).to_have_attribute("data-asked", re.compile("zoom"), timeout=LONG)
    (edit,) = asked(page)
    assert edit["factor"] == 2
    assert abs(edit["x"] - 0.25) <= 0.01
    assert abs(edit["y"] - 0.4) <= 0.01
    wait_done(page, 1)


def test_14_of_eight_rapid_drags_the_last_wins(edit_app: str, open_page: OpenPage) -> None:
    page = opened(open_page, edit_app)
    for i in range(8):
        drag(page, (0.5, 0.5), (0.52 + 0.02 * i, 0.5))
    # The first drag may be done before the last is made: how many states there are is not known.
    states = page.locator("#edit-work [data-id=strip] button")
    expect(states.last).to_contain_text("Shift +16, +0 %", timeout=5 * LONG)
    expect(work(page)).to_have_attribute("data-busy", "no", timeout=LONG)
    assert states.count() <= 4  # the start, and one for each of at most three calls
    assert int(str(work(page).get_attribute("data-calls"))) <= 3


def test_15_undo_redo_reset_and_a_recipe_give_the_same_pixels(
    edit_app: str, open_page: OpenPage, tmp_path: Path
) -> None:
    page = opened(open_page, edit_app)
    first = shown(page)
    drag(page, (0.5, 0.5), (0.6, 0.5))
    wait_done(page, 1)
    second = shown(page)
    page.get_by_role("button", name="Swap left and right").click()
    wait_done(page, 2)
    third = shown(page)
    assert len({first, second, third}) == 3
    page.get_by_role("button", name="Undo").click()
    expect(picture(page)).to_have_attribute("src", second, timeout=LONG)
    page.get_by_role("button", name="Redo").click()
    expect(picture(page)).to_have_attribute("src", third, timeout=LONG)
    page.get_by_role("button", name="Reset").click()
    expect(picture(page)).to_have_attribute("src", first, timeout=LONG)
    page.get_by_role("button", name="State 2:").click()
    expect(picture(page)).to_have_attribute("src", third, timeout=LONG)
    kept = tmp_path / "recipe.json"
    kept.write_text(json.dumps(recipe(page)))
    assert len(json.loads(kept.read_text())["steps"]) == 2
    other = opened(open_page, edit_app, seed=8)
    other.get_by_label("Load a recipe").set_input_files(kept)
    expect(picture(other)).to_have_attribute("src", third, timeout=LONG)
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    other.get_by_label("Load a recipe").set_input_files(bad)
    expect(said(other)).to_contain_text("no recipe", timeout=LONG)
    expect(picture(other)).to_have_attribute("src", third, timeout=LONG)


def test_16_edits_answer_while_a_long_job_runs(
    edit_app: str, open_page: OpenPage, saw: Saw
) -> None:
    page = opened(open_page, edit_app)
    match = open_page(f"{edit_app}/?tab=match")
    match.get_by_role("spinbutton", name="Images").fill("256")
    match.get_by_role("button", name="Run the match").click()
    state = match.locator("#match-job [data-id=state]")
    expect(state).to_have_text("Running", timeout=LONG)
    begun = time.monotonic()
    drag(page, (0.5, 0.5), (0.6, 0.5))
    wait_done(page, 1, 300)
    saw(f"edit during a match: {time.monotonic() - begun:.1f} s")
    expect(state).to_have_text("Running", timeout=LONG)
    match.get_by_role("button", name="Stop").click()
    expect(state).to_have_text("Stopped", timeout=LONG)


def test_stop_keeps_the_picture(edit_app: str, open_page: OpenPage, saw: Saw) -> None:
    page = opened(open_page, edit_app)
    before = shown(page)
    steps(page, 5000)
    drag(page, (0.5, 0.5), (0.6, 0.5))
    expect(said(page)).to_contain_text("Step ", timeout=LONG)
    begun = time.monotonic()
    page.get_by_role("button", name="Stop").click()
    expect(said(page)).to_contain_text("Stopped", timeout=LONG)
    saw(f"edit: stopped after {time.monotonic() - begun:.2f} s (goal 1)")
    expect(picture(page)).to_have_attribute("src", before, timeout=LONG)


def test_19_two_people_edit_at_once_and_nothing_crosses_over(
    edit_app: str, open_page: OpenPage
) -> None:
    one, two = opened(open_page, edit_app, seed=3), opened(open_page, edit_app, seed=8)
    first, second = shown(one), shown(two)
    drag(one, (0.5, 0.5), (0.6, 0.5))
    two.get_by_role("button", name="Swap left and right").click()
    wait_done(one, 1)
    wait_done(two, 1)
    expect(picture(one)).to_have_attribute("alt", "The picture: Shift +10, +0 %", timeout=LONG)
    expect(picture(two)).to_have_attribute("alt", "The picture: Mirror", timeout=LONG)
    one.get_by_role("button", name="Reset").click()
    expect(picture(one)).to_have_attribute("src", first, timeout=LONG)
    expect(pad(two)).to_have_attribute("data-at", "1")
    two.get_by_role("button", name="Reset").click()
    expect(picture(two)).to_have_attribute("src", second, timeout=LONG)
    assert first != second


def test_several_strengths_are_shown_and_one_is_taken(
    edit_app: str, open_page: OpenPage, tmp_path: Path
) -> None:
    page = opened(open_page, edit_app)
    first = shown(page)
    drag(page, (0.5, 0.5), (0.62, 0.5))
    wait_done(page, 1)
    expect(page.locator("#edit-strengths [data-id=panel]")).to_be_hidden()
    page.get_by_role("button", name="Several strengths").click()
    strengths = page.locator("#edit-strengths [data-id=rungs] button")
    expect(strengths).to_have_count(5, timeout=LONG)
    expect(pad(page)).to_have_attribute("data-at", "0")
    expect(picture(page)).to_have_attribute("src", first)
    strengths.nth(1).click()
    expect(pad(page)).to_have_attribute("data-at", "1", timeout=LONG)
    expect(picture(page)).to_have_attribute("alt", "The picture: Shift +6, +0 %")
    assert shown(page) != first
    expect(page.locator("#edit-work [data-id=numbers]")).to_contain_text("Its partners moved")
    page.locator("#edit-strengths circle").last.click()
    expect(picture(page)).to_have_attribute("alt", "The picture: Shift +15, +0 %", timeout=LONG)
    expect(pad(page)).to_have_attribute("data-at", "1")
    kept = recipe(page)
    assert kept["steps"][0]["rung"] == 4
    assert kept["numbers"][0]["partner_corr"] > 0


def test_another_picture_is_blended_towards_and_copied_from(
    edit_app: str, open_page: OpenPage, tmp_path: Path
) -> None:
    page = opened(open_page, edit_app, seed=8)
    other = shown(page)
    page.get_by_role("button", name="Use as source").click()
    expect(page.locator("#edit-panel [data-id=kept-name]")).to_have_text("Seed 8", timeout=LONG)
    show(page, 3)
    slider = page.get_by_role("slider", name="Blend towards the other picture")
    slider.fill("100")
    expect(pad(page)).to_have_attribute("data-at", "1", timeout=LONG)
    expect(picture(page)).to_have_attribute("src", other, timeout=LONG)
    page.get_by_role("button", name="Undo").click()
    expect(pad(page)).to_have_attribute("data-at", "0", timeout=LONG)
    dragging(page, "Box")
    drag(page, (0.2, 0.3), (0.5, 0.6))
    drag(page, (0.3, 0.4), (0.5, 0.4))
    wait_done(page, 1)
    kept = recipe(page)
    assert kept["steps"][0]["source"]["seed"] == 8
    with page.expect_download(timeout=LONG) as film:
        page.get_by_role("button", name="Film", exact=True).click()
    assert film.value.suggested_filename == "dcgan-digiface-seed3.webp"
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"not looked at")
    page.get_by_label("Recipe of the other picture").set_input_files(photo)
    expect(page.locator("#edit-panel [data-id=source-wrong]")).to_contain_text("Invert tab")


def test_before_and_after_are_compared_and_the_picture_is_kept_as_it_is(
    edit_app: str, open_page: OpenPage
) -> None:
    page = opened(open_page, edit_app)
    first = shown(page)
    drag(page, (0.5, 0.5), (0.6, 0.5))
    wait_done(page, 1)
    before = page.locator("#drag-pad [data-id=before]")
    expect(before).to_be_hidden()
    page.get_by_role("slider", name="Share of the picture before the edits").fill("40")
    expect(before).to_be_visible()
    expect(before).to_have_attribute("src", first)
    assert before.evaluate("(image) => image.style.clipPath") == "inset(0px 60% 0px 0px)"
    with page.expect_download(timeout=LONG) as download:
        page.get_by_role("button", name="Picture", exact=True).click()
    assert download.value.suggested_filename == "dcgan-digiface-seed3.png"
    kept = base64.b64encode(download.value.path().read_bytes()).decode()
    assert shown(page) == f"data:image/png;base64,{kept}"
