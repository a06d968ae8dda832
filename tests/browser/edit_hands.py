"""What a person's hands do in the Edit tab; shared by its browser tests."""

from __future__ import annotations

import json
from typing import Any

from driving import PATIENCE, OpenPage
from playwright.sync_api import Locator, Page, expect

LONG = 12_000 * PATIENCE  # ms


def opened(open_page: OpenPage, address: str, seed: int = 3, **options: Any) -> Page:
    """The Edit tab with a picture of the fast generator."""
    page = tab(open_page, address, **options)
    show(page, seed)
    page.locator("#edit-panel summary").click()
    steps(page, 30)
    return page


def tab(open_page: OpenPage, address: str, **options: Any) -> Page:
    """The Edit tab with its first picture."""
    page = open_page(f"{address}/?tab=edit", **options)
    chip = page.locator("#header [data-id=chip]")
    expect(chip).to_have_attribute("data-stage", "ready", timeout=60_000 * PATIENCE)
    page.get_by_role("tab", name="Edit").click()  # a busy machine may miss the link's tab
    expect(picture(page)).to_be_visible(timeout=LONG)
    return page


def show(page: Page, seed: int) -> None:
    """Open the picture of a seed."""
    page.get_by_role("spinbutton", name="Seed", exact=True).fill(str(seed))
    page.get_by_role("button", name="Show", exact=True).click()
    expect(picture(page)).to_have_attribute("alt", f"The picture: Seed {seed}", timeout=LONG)


def steps(page: Page, number: int) -> None:
    """How many steps an edit takes at most."""
    page.get_by_role("spinbutton", name="Steps", exact=True).fill(str(number))


def pad(page: Page) -> Locator:
    return page.locator("#drag-pad [data-id=pad]")


def picture(page: Page) -> Locator:
    return page.locator("#drag-pad [data-id=picture]")


def live(page: Page) -> Locator:
    return page.locator("#drag-pad [data-id=live]")


def work(page: Page) -> Locator:
    return page.locator("#edit-work [data-busy]")


def said(page: Page) -> Locator:
    return page.locator("#edit-work [data-id=said]")


def shown(page: Page) -> str:
    return str(picture(page).get_attribute("src"))


def drag(page: Page, *places: tuple[float, float], release: bool = True) -> None:
    """Press at the first place (fractions of the pad), move over the others, let go."""
    pad(page).scroll_into_view_if_needed()
    box = pad(page).bounding_box()
    assert box is not None
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=3)
    if release:
        page.mouse.up()


def dragging(page: Page, what: str) -> None:
    """Choose what dragging does: Shift, Box or Lasso."""
    page.locator("#drag-pad").get_by_text(what, exact=True).click()


def moved(page: Page, which: str) -> None:
    """Choose what is moved."""
    page.locator(f"#edit-panel [name=edit-choice][value={which}]").check(force=True)


def asked(page: Page) -> list[dict[str, Any]]:
    """The edits that the pad asked for last."""
    return json.loads(str(pad(page).get_attribute("data-asked")))


def wait_done(page: Page, at: int, seconds: float = 60 * PATIENCE) -> None:
    """Until the history stands at a state and nothing runs."""
    expect(pad(page)).to_have_attribute("data-at", str(at), timeout=seconds * 1000)
    expect(work(page)).to_have_attribute("data-busy", "no", timeout=seconds * 1000)


def recipe(page: Page) -> dict[str, Any]:
    """The recipe of the picture, as a person would download it."""
    with page.expect_download(timeout=LONG) as download:
        page.get_by_role("button", name="Recipe", exact=True).click()
    return json.loads(download.value.path().read_text())


def painted(page: Page) -> int:
    """Pixels of the overlay that are not transparent."""
    return int(
        page.locator("#drag-pad [data-id=overlay]").evaluate(
            "(c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
            ".filter((v, i) => i % 4 === 3 && v > 0).length"
        )
    )
