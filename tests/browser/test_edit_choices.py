"""What the Edit tab lets a person choose: gestures, neurons, classes, other pictures, goodbye."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from driving import PATIENCE, OpenPage
from edit_hands import (
    LONG,
    asked,
    drag,
    dragging,
    live,
    moved,
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
from playwright.sync_api import Locator, Page, expect

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Saw = Callable[[str], None]
HERE = Path(__file__).resolve().parent
PHOTO = HERE.parents[1] / "assets" / "photos" / "astronaut.webp"


# The drawn app: what a person asks for with hands and keys


def fingers(page: Page, *moves: tuple[str, int, float, float]) -> None:
    """Touches: (pointerdown, pointermove, pointerup or pointercancel, finger, x, y)."""
    pad(page).evaluate(
        """(pad, moves) => {
          const box = pad.getBoundingClientRect();
          for (const [kind, pointerId, x, y] of moves) pad.dispatchEvent(new PointerEvent(kind, {
            pointerId, pointerType: "touch", bubbles: true, isPrimary: pointerId === 1,
            clientX: box.left + x * box.width, clientY: box.top + y * box.height }));
        }""",
        [list(move) for move in moves],
    )


DOWN = (("pointerdown", 1, 0.4, 0.5), ("pointerdown", 2, 0.6, 0.5))
UP = (("pointerup", 1, 0.4, 0.5), ("pointerup", 2, 0.6, 0.5))


def test_two_fingers_zoom_about_the_point_between_them(drawn_app: str, open_page: OpenPage) -> None:
    page = tab(open_page, drawn_app, has_touch=True)
    fingers(page, *DOWN, ("pointermove", 1, 0.35, 0.5), ("pointermove", 2, 0.65, 0.5))
    expect(live(page)).to_contain_text("zoom ×1.50")
    assert painted(page) > 1000
    fingers(page, *UP)
    (edit,) = asked(page)
    assert edit["kind"] == "zoom"
    assert [edit[k] for k in ("factor", "x", "y")] == pytest.approx([1.5, 0.5, 0.5], abs=0.01)
    fingers(page, *DOWN, ("pointermove", 1, 0.0, 0.5), ("pointermove", 2, 1.0, 0.5), *UP)
    assert asked(page)[0]["factor"] == 2  # as far as can be asked
    before = pad(page).get_attribute("data-asked")
    fingers(page, *DOWN, ("pointermove", 1, 0.3, 0.5), ("pointercancel", 1, 0, 0))
    fingers(page, ("pointercancel", 2, 0, 0))
    expect(pad(page)).to_have_attribute("data-overlay", "no")
    assert pad(page).get_attribute("data-asked") == before


def test_keys_and_buttons_zoom_and_turn(drawn_app: str, open_page: OpenPage) -> None:
    page = tab(open_page, drawn_app)
    pad(page).focus()
    for key in ("+", "+", "-", "Shift+ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    shift, zoom = asked(page)
    assert (shift["dx"], shift["dy"]) == (pytest.approx(0.1), pytest.approx(0.02))
    assert zoom == {"kind": "zoom", "factor": pytest.approx(1.1), "x": 0.5, "y": 0.5}
    box = pad(page).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    page.keyboard.press("-")
    page.keyboard.press("Enter")
    assert (asked(page)[0]["x"], asked(page)[0]["factor"]) == pytest.approx(
        (0.25, 1 / 1.1), abs=0.01
    )
    for name, wanted in (
        ("Zoom in by a quarter", {"kind": "zoom", "factor": 1.25, "x": 0.5, "y": 0.5}),
        ("Zoom out by a fifth", {"kind": "zoom", "factor": 0.8, "x": 0.5, "y": 0.5}),
        ("Turn 10° to the left", {"kind": "rotate", "degrees": -10, "x": 0.5, "y": 0.5}),
        ("Turn 10° to the right", {"kind": "rotate", "degrees": 10, "x": 0.5, "y": 0.5}),
        ("Swap left and right", {"kind": "mirror"}),
    ):
        page.get_by_role("button", name=name).click()
        assert asked(page) == [wanted]


def test_a_lasso_is_a_region_for_strength_and_for_copies(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = tab(open_page, drawn_app)
    dragging(page, "Lasso")
    triangle = ((0.2, 0.2), (0.5, 0.25), (0.35, 0.5), (0.2, 0.2))
    drag(page, *triangle)
    expect(live(page)).to_contain_text("region chosen")
    region = page.locator("#edit-panel [data-id=region-said]")
    expect(region).to_have_text("Inside the region that is drawn.")
    drag(page, (0.35, 0.3), (0.6, 0.4), release=False)
    expect(pad(page)).to_have_attribute("data-overlay", "yes")
    page.mouse.up()
    (edit,) = asked(page)
    assert edit["kind"] == "paste"
    assert len(edit["region"]) > 6
    assert (edit["x"], edit["y"]) == (pytest.approx(0.45, abs=0.02), pytest.approx(0.3, abs=0.02))
    expect(region).to_contain_text("Everywhere")
    drag(page, *triangle)
    page.get_by_role("slider", name="Strength, 0 removes").fill("3")
    page.get_by_role("button", name="Change strength").click()
    (edit,) = page.evaluate("rosetta.get('edit-ask').edits")
    assert (edit["kind"], edit["factor"]) == ("scale", 3)
    assert len(edit["region"]) > 6
    drag(page, *triangle)
    pad(page).focus()
    page.keyboard.press("Escape")
    expect(region).to_contain_text("Everywhere")


def test_small_previews_say_how_far_off_they_are(drawn_app: str, open_page: OpenPage) -> None:
    page = tab(open_page, drawn_app)
    sketch = page.locator("#edit-work [data-id=sketch]")
    expect(sketch).to_be_hidden()
    page.get_by_role("button", name="Swap left and right").click()
    expect(sketch).to_contain_text("colours are typically 4.1 % off")
    wait_done(page, 1)
    expect(sketch).to_be_visible()  # it holds for the next edit too


def test_an_edit_that_fell_short_or_went_too_far_says_so(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = tab(open_page, drawn_app)
    verdict = page.locator("#edit-work [data-id=verdict]")
    drag(page, (0.5, 0.5), (0.6, 0.5))
    wait_done(page, 1)
    expect(verdict).to_contain_text("Further out than 95 %")
    expect(verdict).not_to_contain_text("Little of what was asked")
    page.get_by_role("button", name="Swap left and right").click()
    wait_done(page, 2)
    expect(verdict).to_contain_text("Little of what was asked was done")
    expect(verdict.get_by_role("button")).to_have_text("Find the strongest that stays natural")


def test_layers_of_w_plus_may_move_early_ones_first(drawn_app: str, open_page: OpenPage) -> None:
    page = tab(open_page, drawn_app)
    page.locator("#edit-panel summary").click()
    layers = page.get_by_role("combobox", name="Layers")
    wanted = "rosetta.get('edit-form').settings?.coarse_first ?? null"
    assert page.evaluate(wanted) is None
    for label, value in (("Early first", True), ("All at once", False), ("Usual", None)):
        layers.select_option(label=label)
        assert page.evaluate(wanted) is value
    page.get_by_role("combobox", name="Latent").select_option("w")
    assert page.evaluate("rosetta.get('edit-form').settings.space") == "w"


def test_what_moves_may_be_early_maps_or_the_latent_alone(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = tab(open_page, drawn_app)
    page.locator("#edit-panel summary").click()
    moves = page.get_by_role("combobox", name="What moves")
    wanted = "rosetta.get('edit-form').settings?.early ?? null"
    assert page.evaluate(wanted) is None
    for label, value in (("Early maps", True), ("The latent alone", False), ("Usual", None)):
        moves.select_option(label=label)
        assert page.evaluate(wanted) is value


# The real app


def units(page: Page) -> Locator:
    return page.locator("#edit-panel [data-id=units] label")


@pytest.mark.weights
def test_neurons_under_the_pointer_are_listed_chosen_and_removed(
    edit_app: str, open_page: OpenPage
) -> None:
    page = opened(open_page, edit_app)
    before = shown(page)
    moved(page, "active")
    drag(page, (0.4, 0.45), (0.4, 0.45))  # a click
    expect(units(page)).to_have_count(24, timeout=LONG)
    expect(units(page).locator("canvas")).to_have_count(24)
    units(page).nth(3).locator("input").uncheck()
    expect(page.locator("#edit-panel [value=units]")).to_be_checked()
    page.get_by_role("button", name="Remove").click()
    wait_done(page, 1)
    assert shown(page) != before
    (step,) = recipe(page)["steps"]
    assert sum(map(len, step["units"].values())) == 23
    assert step["edits"] == [{"kind": "scale", "factor": 0.0}]

    # A region of one pixel is one cell of every map, and an edit like any other.
    dragging(page, "Box")
    drag(page, (0.5, 0.7), (0.5, 0.7))
    expect(live(page)).to_contain_text("region chosen")
    page.get_by_role("button", name="Change strength").click()
    wait_done(page, 2)
    assert len(recipe(page)["steps"][1]["edits"][0]["region"]) == 4

    # Without a neuron nothing is asked for, and the picture stays.
    before = shown(page)
    for box in units(page).locator("input").all():
        box.uncheck()
    dragging(page, "Shift")
    drag(page, (0.5, 0.5), (0.6, 0.5))
    expect(said(page)).to_have_text("No neuron is chosen. Tick at least one.", timeout=LONG)
    assert shown(page) == before
    expect(work(page)).to_have_attribute("data-busy", "no")


@pytest.mark.weights
def test_matched_neurons_and_concepts_are_listed_and_need_a_result_of_this_generator(
    edit_app: str, open_page: OpenPage
) -> None:
    page = opened(open_page, edit_app)
    heard = page.locator("#edit-panel [data-id=units-said]")
    for kind in ("matched", "concept"):
        moved(page, kind)
        expect(heard).to_contain_text("as they see this picture", timeout=LONG)
        expect(units(page).locator("canvas").first).to_be_visible()
    drag(page, (0.5, 0.5), (0.6, 0.5))
    wait_done(page, 1)
    (step,) = recipe(page)["steps"]
    assert sum(map(len, step["units"].values())) >= units(page).count()

    page.locator("#edit-panel [data-id=generator]").select_option("tiny-gan")
    for kind in ("matched", "concept"):
        box = page.locator(f"[name=edit-choice][value={kind}]")
        expect(box).to_be_disabled()
        expect(page.locator("#edit-panel .choice", has=box)).to_contain_text("run a match first")
    expect(page.locator("#edit-panel [name=edit-choice][value=usual]")).to_be_checked()


@pytest.mark.weights
def test_a_class_is_picked_where_there_are_some_and_a_wrong_one_is_said(
    edit_app: str, open_page: OpenPage
) -> None:
    page = opened(open_page, edit_app)
    field = page.get_by_role("spinbutton", name="Class", exact=True)
    expect(field).to_be_hidden()
    generator = page.locator("#edit-panel [data-id=generator]")
    generator.select_option("tiny-class-gan")
    expect(field).to_be_visible()
    expect(picture(page)).to_have_js_property("naturalWidth", 32, timeout=LONG)
    first = shown(page)
    field.fill("2")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(picture(page)).not_to_have_attribute("src", first, timeout=LONG)
    second = shown(page)
    drag(page, (0.5, 0.5), (0.6, 0.5))
    wait_done(page, 1)
    assert recipe(page)["class"] == 2
    page.get_by_role("button", name="Undo").click()
    expect(picture(page)).to_have_attribute("src", second, timeout=LONG)
    field.fill("7")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(said(page)).to_contain_text("Give a class from 0 to 2.", timeout=LONG)
    assert shown(page) == second


@pytest.mark.weights
def test_a_latent_too_far_out_is_said_and_the_last_good_picture_stays(
    edit_app: str, open_page: OpenPage, tmp_path: Path
) -> None:
    page = opened(open_page, edit_app)
    before, kept = shown(page), recipe(page)
    values = np.frombuffer(base64.b64decode(kept["latents"]["values"]), "<f4")
    for times, sentence in ((30, "as far out as natural ones"), (float("nan"), "not finite")):
        far = {**kept["latents"], "values": base64.b64encode((times * values).tobytes()).decode()}
        file = tmp_path / "far.json"
        file.write_text(json.dumps({**kept, "latents": far}))
        page.get_by_label("Load a recipe").set_input_files(file)
        expect(said(page)).to_contain_text(sentence, timeout=LONG)
        assert shown(page) == before


@pytest.mark.weights
def test_17_a_photo_that_was_inverted_is_copied_from_and_blended_towards(
    edit_app: str, open_page: OpenPage
) -> None:
    page = open_page(f"{edit_app}/?tab=invert")
    chip = page.locator("#header [data-id=chip]")
    expect(chip).to_have_attribute("data-stage", "ready", timeout=60_000 * PATIENCE)
    page.get_by_role("tab", name="Invert").click()
    expect(page.locator("#invert-form [data-filled=yes]")).to_be_visible(timeout=LONG)
    page.get_by_label("Choose a picture").set_input_files(PHOTO)
    expect(page.locator("#invert-source [data-id=said]")).to_contain_text("astronaut", timeout=LONG)
    page.locator("#invert-form summary").click()
    for name, value in (("Steps", "30"), ("Restarts", "2")):
        page.locator("#invert-form").get_by_role("spinbutton", name=name, exact=True).fill(value)
    page.get_by_role("button", name="Invert", exact=True).click()
    inverting = page.locator("#invert-work [data-busy]")
    expect(inverting).to_have_attribute("data-state", "done", timeout=60_000 * PATIENCE)
    page.get_by_role("button", name="Open in Edit").click()
    expect(picture(page)).to_have_attribute("alt", "The picture: Inverted picture", timeout=LONG)
    inverted = shown(page)
    page.get_by_role("button", name="Use as source").click()
    name = page.locator("#edit-panel [data-id=kept-name]")
    expect(name).to_have_text("Inverted picture", timeout=LONG)

    show(page, 3)
    first = shown(page)
    page.locator("#edit-panel summary").click()
    steps(page, 30)
    dragging(page, "Box")
    drag(page, (0.25, 0.2), (0.75, 0.7))
    drag(page, (0.5, 0.5), (0.55, 0.5))
    wait_done(page, 1)
    assert shown(page) not in (first, inverted)
    kept = recipe(page)["steps"][0]
    assert kept["edits"][0]["kind"] == "paste"
    assert kept["edits"][0]["x"] == pytest.approx(0.3, abs=0.02)
    assert kept["source"]["seed"] == -1  # no seed gives it: its latent was found
    page.get_by_role("button", name="Undo").click()
    expect(picture(page)).to_have_attribute("src", first, timeout=LONG)
    page.get_by_role("slider", name="Blend towards the other picture").fill("100")
    wait_done(page, 1)
    expect(picture(page)).to_have_attribute("src", inverted, timeout=LONG)


@pytest.mark.weights
def test_closing_one_of_two_tabs_frees_all_that_it_had_and_nothing_else(
    watched_app: tuple[str, Path], open_page: OpenPage, saw: Saw
) -> None:
    address, note = watched_app[0], watched_app[1].with_suffix(".json")

    def until(pages: int, edits: int) -> float:
        """Seconds until so many pages are known, and at most so many edits run or wait."""
        begun = time.monotonic()
        while True:
            now = json.loads(note.read_text())
            if now["pages"] == pages and now["edits"] <= edits:
                return time.monotonic() - begun
            assert time.monotonic() - begun < 60 * PATIENCE, now
            time.sleep(0.1)

    stays, goes = (opened(open_page, address, seed=seed) for seed in (3, 8))
    until(2, 2)
    for page in (stays, goes):
        steps(page, 5000)
        drag(page, (0.5, 0.5), (0.6, 0.5))
        expect(said(page)).to_contain_text("Step ", timeout=LONG)
    goes.context.close()
    saw(f"edit: engine free {until(1, 1):.1f} s after one of two tabs was closed")
    steps(stays, 30)
    drag(stays, (0.5, 0.5), (0.7, 0.5))
    expect(picture(stays)).to_have_attribute("alt", "The picture: Shift +20, +0 %", timeout=LONG)
    stays.goto("about:blank")
    saw(f"edit: engine free {until(0, 0):.1f} s after the other tab was left")
