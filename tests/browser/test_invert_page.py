"""Scenarios 16 to 18: the Invert tab of the real app, and its parts over the drawn one."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import PATIENCE, OpenPage, free_port, running, serious_violations
from fake_engine import draw
from PIL import Image
from playwright.sync_api import FilePayload, Locator, Page, expect

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Saw = Callable[[str], None]
LONG = 12_000 * PATIENCE  # ms
HERE = Path(__file__).resolve().parent
PHOTO = HERE.parents[1] / "assets" / "photos" / "astronaut.webp"


@pytest.fixture(scope="module")
def invert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the app of this module may write: its cache and its temporary files."""
    folder = tmp_path_factory.mktemp("invert-app")
    for name in ("cache", "temporary"):
        (folder / name).mkdir()
    return folder


@pytest.fixture(scope="module")
def invert_app(zoo: Any, invert_folder: Path) -> Iterator[str]:
    """`python app.py` on the fetched weights and an otherwise empty cache."""
    cache, temporary = invert_folder / "cache", invert_folder / "temporary"
    (cache / "zoo").symlink_to(zoo.root / "zoo", target_is_directory=True)
    port = free_port()
    command = [sys.executable, "app.py", "--port", str(port), "--cache-dir", str(cache)]
    command += ["--device", "cpu", "--no-fetch"]
    with running(command, port, 30 * PATIENCE, {"TMPDIR": str(temporary)}) as address:
        yield address


def opened(open_page: OpenPage, address: str, **options: Any) -> Page:
    """The Invert tab with its form filled."""
    page = open_page(f"{address}/?tab=invert", **options)
    chip = page.locator("#header [data-id=chip]")
    expect(chip).to_have_attribute("data-stage", "ready", timeout=60_000 * PATIENCE)
    page.get_by_role("tab", name="Invert").click()  # a busy machine may miss the link's tab
    expect(page.locator("#invert-form [data-filled=yes]")).to_be_visible(timeout=LONG)
    return page


def file_of(image: Image.Image, name: str, **options: Any) -> FilePayload:
    """A picture as the browser's file chooser would give it."""
    kind = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "webp": "WEBP"}[name.rpartition(".")[2]]
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return {"name": name, "mimeType": f"image/{kind.lower()}", "buffer": buffer.getvalue()}


def face(seed: int = 3, side: int = 240) -> Image.Image:
    return Image.fromarray(draw(seed, side))


def give(page: Page, file: FilePayload | Path) -> None:
    """Choose a file, as the dialog does."""
    another = page.get_by_role("button", name="Another picture")
    if another.is_visible():
        another.click()
    page.get_by_label("Choose a picture").set_input_files(file)


def said(page: Page) -> Locator:
    return page.locator("#invert-source [data-id=said]")


def work(page: Page) -> Locator:
    return page.locator("#invert-work [data-busy]")


def run(page: Page, **numbers: int) -> None:
    """Start an inversion with other numbers than the preset's."""
    if not page.get_by_role("spinbutton", name="Steps", exact=True).is_visible():
        page.locator("#invert-form summary").click()
    for name, value in numbers.items():
        page.get_by_role("spinbutton", name=name.capitalize(), exact=True).fill(str(value))
    page.get_by_role("button", name="Invert", exact=True).click()


def wait_state(page: Page, state: str, seconds: float = 60 * PATIENCE) -> None:
    expect(work(page)).to_have_attribute("data-state", state, timeout=seconds * 1000)
    expect(work(page)).to_have_attribute("data-busy", "no", timeout=seconds * 1000)


def wait_frames(page: Page, count: int) -> None:
    page.wait_for_function(
        "(n) => Number(document.querySelector('#invert-work [data-frames]')?.dataset.frames) >= n",
        arg=count,
        timeout=LONG * 2,
    )


def middle(page: Page, x: float = 0.5, y: float = 0.5) -> list[int]:
    """The colour of a place in the preview of what is asked for."""
    return page.locator("#invert-source [data-id=preview]").evaluate(
        "(c, [x, y]) => [...c.getContext('2d').getImageData("
        "Math.floor(x * c.width), Math.floor(y * c.height), 1, 1).data].slice(0, 3)",
        [x, y],
    )


def near(found: list[int], wanted: tuple[int, int, int], by: int = 12) -> bool:
    return max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= by


# The real app


@pytest.mark.weights
def test_17_a_photo_is_inverted_step_by_step_and_goes_on_in_edit(
    invert_app: str, open_page: OpenPage, saw: Saw, artefacts: Path
) -> None:
    page = opened(open_page, invert_app)
    give(page, PHOTO)
    expect(said(page)).to_contain_text("astronaut.webp", timeout=LONG)
    page.evaluate(
        """() => {
          const image = document.querySelector("#invert-work [data-id=picture]");
          window.frames17 = new Set();
          new MutationObserver(() => image.src && window.frames17.add(image.src))
            .observe(image, { attributeFilter: ["src"] });
        }"""
    )
    begun = time.monotonic()
    run(page, steps=120, restarts=2)
    wait_frames(page, 1)
    saw(f"invert: first frame after {time.monotonic() - begun:.1f} s (first time)")
    wait_state(page, "done")
    saw(f"invert: 120 steps, 2 starts: {time.monotonic() - begun:.1f} s")
    assert page.evaluate("window.frames17.size") >= 5
    losses = page.locator("#invert-work [data-id=curves]")
    first, last = (float(str(losses.get_attribute(f"data-{end}"))) for end in ("first", "last"))
    assert last < first
    expect(page.locator("#invert-result [data-id=numbers]")).to_contain_text("dB", timeout=LONG)
    picture = str(page.locator("#invert-work [data-id=picture]").get_attribute("src"))
    page.screenshot(path=artefacts / "invert-real-photo.png", full_page=True)

    page.get_by_role("button", name="Open in Edit").click()
    edited = page.locator("#drag-pad [data-id=picture]")
    expect(edited).to_have_attribute("alt", "The picture: Inverted picture", timeout=LONG)
    assert edited.get_attribute("src") == picture  # the very pixels: the latent came along
    page.get_by_role("button", name="Swap left and right").click()
    pad = page.locator("#drag-pad [data-id=pad]")
    expect(pad).to_have_attribute("data-at", "1", timeout=60_000 * PATIENCE)
    assert edited.get_attribute("src") != picture
    page.screenshot(path=artefacts / "invert-then-edited.png")


@pytest.mark.weights
def test_17_stop_keeps_the_best_and_continue_goes_on_from_it(
    invert_app: str, open_page: OpenPage, saw: Saw
) -> None:
    page = opened(open_page, invert_app)
    give(page, file_of(face(), "face.png"))
    run(page, steps=5000, restarts=1)
    wait_frames(page, 2)
    begun = time.monotonic()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#invert-work [data-id=said]")).to_contain_text("Stopped after")
    saw(f"invert: stopped {time.monotonic() - begun:.2f} s after Stop (goal 1)")
    wait_state(page, "stopped")
    card = page.locator("#invert-work .run")
    expect(card).to_have_count(1)
    expect(card).to_contain_text("stopped")
    points = page.locator("#invert-work [data-id=curves]")
    before = int(str(points.get_attribute("data-points")))
    page.get_by_role("spinbutton", name="More steps").fill("15")
    page.get_by_role("button", name="Continue").click()
    wait_state(page, "done")
    expect(card).to_have_count(1)
    assert int(str(points.get_attribute("data-points"))) >= min(before, 240)


@pytest.mark.weights
def test_17_closing_the_tab_frees_the_engine(
    watched_app: tuple[str, Path], open_page: OpenPage, saw: Saw
) -> None:
    address, note = watched_app

    def until(word: str) -> float:
        begun = time.monotonic()
        while note.read_text() != word and time.monotonic() - begun < 20 * PATIENCE:
            time.sleep(0.05)
        assert note.read_text() == word
        return time.monotonic() - begun

    for how in ("closed", "left"):
        page = opened(open_page, address)
        give(page, file_of(face(), "face.png"))
        run(page, steps=5000, restarts=4)
        wait_frames(page, 1)
        until("inverting")
        if how == "closed":
            page.context.close()
        else:
            page.goto("about:blank")
        saw(f"invert: engine free {until('idle'):.1f} s after the tab was {how}")


@pytest.mark.weights
def test_16_edits_answer_while_an_inversion_runs(
    invert_app: str, open_page: OpenPage, saw: Saw
) -> None:
    page = opened(open_page, invert_app)
    give(page, file_of(face(), "face.png"))
    run(page, steps=5000, restarts=2)
    wait_frames(page, 1)
    edit = open_page(f"{invert_app}/?tab=edit")
    pad = edit.locator("#drag-pad [data-id=pad]")
    edit.get_by_role("tab", name="Edit").click()
    expect(edit.locator("#drag-pad [data-id=picture]")).to_be_visible(timeout=LONG * 2)
    edit.locator("#edit-panel summary").first.click()
    edit.get_by_role("spinbutton", name="Steps", exact=True).fill("20")
    begun = time.monotonic()
    edit.get_by_role("button", name="Swap left and right").click()
    expect(pad).to_have_attribute("data-at", "1", timeout=60_000 * PATIENCE)
    saw(f"edit during an inversion: {time.monotonic() - begun:.1f} s")
    expect(work(page)).to_have_attribute("data-state", "running")
    page.get_by_role("button", name="Stop", exact=True).click()
    wait_state(page, "stopped")


def bomb(side: int) -> bytes:
    """A white PNG of side × side pixels that takes little room as a file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    header = side.to_bytes(4, "big") * 2 + bytes((1, 0, 0, 0, 0))  # 1 bit a pixel, grey
    squeezer = zlib.compressobj(1)
    line = b"\x00" + b"\xff" * (side // 8)
    body = b"".join(squeezer.compress(line * 500) for _ in range(side // 500)) + squeezer.flush()
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.weights
def test_18_bad_pictures_are_refused_in_a_sentence(invert_app: str, open_page: OpenPage) -> None:
    page = opened(open_page, invert_app)
    whole = file_of(face(), "whole.jpg")["buffer"]
    bad: list[tuple[str, bytes, str]] = [
        ("large.png", bytes(11_000_000), "at most 10 MB"),
        ("text.png", b"This is a text, whatever it is called.", "no picture"),
        ("bomb.png", bomb(30_000), "far too many pixels"),
        ("wide.png", bomb(8_000), "8000×8000 pixels"),
        ("dot.png", file_of(Image.new("RGB", (1, 1)), "dot.png")["buffer"], "1×1"),
        ("empty.png", b"", "empty"),
        ("cut.jpg", whole[: len(whole) // 2], "cannot be read"),
    ]
    for name, data, sentence in bad:
        give(page, {"name": name, "mimeType": "image/png", "buffer": data})
        expect(said(page)).to_contain_text(sentence, timeout=LONG)
        expect(said(page)).to_have_class(re.compile("wrong"))
        expect(said(page)).not_to_contain_text(re.compile("Traceback|Error|Exception"))
        expect(page.get_by_role("button", name="Invert", exact=True)).to_be_disabled()


@pytest.mark.weights
def test_18_odd_pictures_come_out_right(invert_app: str, open_page: OpenPage) -> None:
    page = opened(open_page, invert_app)
    orange, blue = (230, 120, 30), (30, 60, 200)

    cmyk = Image.new("RGB", (90, 90), orange).convert("CMYK")
    give(page, file_of(cmyk, "cmyk.jpg", quality=95))
    expect(said(page)).to_contain_text("cmyk.jpg, 90 × 90 px", timeout=LONG)
    expect(said(page)).to_contain_text("CMYK")
    assert near(middle(page), orange, 30)

    deep = Image.fromarray(np.full((80, 80), 65535 * 3 // 5, np.uint16))
    give(page, file_of(deep, "sixteen.png"))
    expect(said(page)).to_contain_text("sixteen.png", timeout=LONG)
    assert near(middle(page), (153, 153, 153))

    frames = [Image.new("RGB", (64, 64), colour) for colour in (orange, blue)]
    moving = file_of(frames[0], "moving.gif", save_all=True, append_images=frames[1:])
    give(page, moving)
    expect(said(page)).to_contain_text("the first is used", timeout=LONG)
    assert near(middle(page), orange)

    lying = Image.new("RGB", (120, 80), blue)
    lying.paste(Image.new("RGB", (60, 80), orange), (0, 0))  # its left half, which is its top
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate 90° clockwise to see it upright
    give(page, file_of(lying, "turned.jpg", exif=exif, quality=95))
    expect(said(page)).to_contain_text("turned.jpg, 80 × 120 px", timeout=LONG)
    expect(said(page)).to_contain_text("upright")
    assert near(middle(page, 0.5, 0.1), orange, 30)
    assert near(middle(page, 0.5, 0.9), blue, 30)

    clear = Image.new("RGBA", (70, 70), (0, 0, 0, 0))
    give(page, file_of(clear, "clear.png"))
    expect(said(page)).to_contain_text("transparent parts are white", timeout=LONG)
    assert near(middle(page), (255, 255, 255))
    expect(page.get_by_role("button", name="Invert", exact=True)).to_be_enabled()


@pytest.mark.weights
def test_nothing_of_an_upload_is_on_the_disk_in_the_log_or_in_an_address(
    invert_app: str, invert_folder: Path, open_page: OpenPage
) -> None:
    page = opened(open_page, invert_app)
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    pixels = np.random.default_rng(9).integers(0, 256, (96, 96, 3), np.uint8)
    upload = file_of(Image.fromarray(pixels), "my-secret-name.png")
    give(page, upload)
    expect(said(page)).to_contain_text("my-secret-name.png", timeout=LONG)
    run(page, steps=20, restarts=1)
    wait_state(page, "done", 120 * PATIENCE)
    expect(page.locator("#invert-result [data-id=numbers]")).to_contain_text("dB", timeout=LONG)
    page.close()

    needles = [upload["buffer"][60:108], pixels[20].tobytes()[:48], pixels.tobytes()[-48:]]
    needles += [base64.b64encode(upload["buffer"][60:108]), b"my-secret-name"]
    written = [path for path in invert_folder.rglob("*") if path.is_file()]
    assert any(path.is_relative_to(invert_folder / "cache") for path in written)
    for path in written:
        content = path.read_bytes()
        assert not any(needle in content for needle in needles), path
    port = invert_app.rpartition(":")[2]
    log = (HERE.parent / "artefacts" / f"server-{port}.log").read_text()
    # What the page shows is in the memory of the browser: data and blob addresses are no requests.
    asked = [each for each in addresses if not each.startswith(("data:", "blob:"))]
    assert asked
    assert all(len(each) < 2000 for each in asked)
    assert not any("secret" in place for place in (log, *asked))


# The drawn app: what a person does with hands and keys


def crop(page: Page) -> dict[str, float]:
    return json.loads(str(page.locator("#invert-source [data-crop]").get_attribute("data-crop")))


def box(page: Page) -> Locator:
    return page.locator("#invert-source [data-id=box]")


def test_the_square_is_moved_and_resized_by_mouse_touch_wheel_and_keys(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = opened(open_page, drawn_app)
    give(page, file_of(face().resize((240, 160)), "face.png"))
    expect(said(page)).to_contain_text("240 × 160", timeout=LONG)
    assert crop(page) == {"x": 0.5, "y": 0.5, "side": 1}
    box(page).focus()
    for _ in range(5):
        page.keyboard.press("-")
    small = crop(page)
    assert 0.6 < small["side"] < 0.75
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    moved = crop(page)
    assert moved["x"] < small["x"]
    assert moved["y"] < small["y"]
    page.keyboard.press("Home")
    assert crop(page) == {"x": 0.5, "y": 0.5, "side": 1}

    frame = page.locator("#invert-source [data-id=stage]").bounding_box()
    assert frame is not None
    page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    page.mouse.wheel(0, -300)
    page.wait_for_function(
        "JSON.parse(document.querySelector('#invert-source [data-crop]').dataset.crop).side < 0.8"
    )
    side = crop(page)["side"]
    page.mouse.down()
    page.mouse.move(frame["x"], frame["y"], steps=4)
    page.mouse.up()
    found = crop(page)
    assert found["side"] == pytest.approx(side)
    assert found["x"] * 240 == pytest.approx(side * 80, abs=0.5)  # against the left edge
    corner = page.locator("#invert-source [data-corner=se]").bounding_box()
    assert corner is not None
    page.mouse.move(corner["x"] + 13, corner["y"] + 13)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"], frame["y"] + frame["height"], steps=4)
    page.mouse.up()
    assert crop(page)["side"] == pytest.approx(1)
    page.locator("#invert-source [data-id=stage]").evaluate(
        """(stage) => {
          const at = stage.getBoundingClientRect();
          const send = (kind, id, x) => stage.dispatchEvent(new PointerEvent(kind, {
            pointerId: id, pointerType: "touch", bubbles: true,
            clientX: at.left + x * at.width, clientY: at.top + at.height / 2 }));
          send("pointerdown", 7, 0.2); send("pointerdown", 8, 0.8);
          send("pointermove", 8, 0.5); send("pointerup", 7, 0.2); send("pointerup", 8, 0.5);
        }"""
    )
    assert crop(page)["side"] == pytest.approx(0.5, abs=0.02)


def looked(page: Page) -> None:
    expect(page.locator("#invert-work [data-looked]")).to_have_attribute(
        "data-looked", "yes", timeout=LONG
    )


def test_the_square_goes_to_what_the_generator_draws_until_a_person_moves_it(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = opened(open_page, drawn_app)
    strip = file_of(face().resize((360, 100)), "strip.png")
    give(page, strip)
    expect(said(page)).to_contain_text("360 × 100", timeout=LONG)
    looked(page)
    assert crop(page) == pytest.approx({"x": 0.75, "y": 0.5, "side": 0.8})
    expect(said(page)).to_contain_text("cut to what looks most like")

    give(page, strip)
    expect(said(page)).to_contain_text("360 × 100", timeout=LONG)
    box(page).focus()
    page.keyboard.press("ArrowLeft")
    own = crop(page)
    looked(page)
    assert crop(page) == own
    page.keyboard.press("Home")
    assert crop(page) == pytest.approx({"x": 0.75, "y": 0.5, "side": 0.8})

    give(page, file_of(face(), "face.png"))
    expect(said(page)).to_contain_text("240 × 240", timeout=LONG)
    looked(page)
    assert crop(page) == {"x": 0.5, "y": 0.5, "side": 1}, "nothing was found: the guess stays"


GIVEN = """([kind, text]) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "carried.png", { type: "image/png" }));
  const area = document.querySelector("#invert-source section");
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })
    : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
  (kind === "paste" ? document.body : area).dispatchEvent(event);
}"""


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_picture_is_pasted_and_dropped(drawn_app: str, open_page: OpenPage, kind: str) -> None:
    page = opened(open_page, drawn_app)
    text = base64.b64encode(file_of(face(side=90), "a.png")["buffer"]).decode()
    page.evaluate(GIVEN, [kind, text])
    expect(said(page)).to_contain_text("90 × 90 px", timeout=LONG)


def test_the_camera_takes_one_picture_and_is_switched_off(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = opened(open_page, drawn_app, permissions=["camera"])
    page.get_by_role("button", name="Camera").click()
    expect(said(page)).to_contain_text("camera is on", timeout=LONG)
    page.evaluate("window.eye = document.querySelector('#invert-source video').srcObject")
    page.wait_for_function("document.querySelector('#invert-source video').videoWidth > 0")
    page.get_by_role("button", name="Take the picture").click()
    expect(said(page)).to_contain_text("Camera picture", timeout=LONG)
    assert page.evaluate("window.eye.getTracks().every((track) => track.readyState === 'ended')")


def test_a_refused_camera_says_what_to_do(drawn_app: str, open_page: OpenPage) -> None:
    page = opened(open_page, drawn_app)
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () =>"
        " Promise.reject(new DOMException('no', 'NotAllowedError')); }"
    )
    page.get_by_role("button", name="Camera").click()
    expect(said(page)).to_contain_text("Allow it beside the address")
    expect(page.get_by_label("Choose a picture")).to_be_attached()


def test_examples_and_a_sketch_of_a_picture(drawn_app: str, open_page: OpenPage) -> None:
    page = opened(open_page, drawn_app)
    page.get_by_role("button", name="Its own, seed 11").click()
    expect(said(page)).to_contain_text("256 × 256 px", timeout=LONG)
    page.get_by_role("button", name="As a sketch").click()
    expect(said(page)).to_contain_text("as a sketch, 256 × 256 px", timeout=LONG)
    grey = middle(page, 0.1, 0.1)
    assert len(set(grey)) == 1
    expect(page.get_by_role("button", name="Invert", exact=True)).to_be_enabled()


def finished(open_page: OpenPage, address: str, **options: Any) -> Page:
    """A page on which one inversion has run."""
    page = opened(open_page, address, **options)
    give(page, file_of(face(), "face.png"))
    page.get_by_role("button", name="Invert", exact=True).click()
    wait_state(page, "done")
    expect(page.locator("#invert-result table")).to_be_visible(timeout=LONG)
    return page


def test_results_stand_side_by_side_with_numbers_and_maps(
    drawn_app: str, open_page: OpenPage, tmp_path: Path
) -> None:
    page = finished(open_page, drawn_app)
    numbers = page.locator("#invert-result [data-id=numbers]")
    expect(numbers).to_contain_text("31.4 dB")
    expect(numbers).to_contain_text("features of dinov2-s")
    page.get_by_role("button", name=re.compile("^PSNR:")).focus()
    expect(page.get_by_role("tooltip")).to_contain_text("decibels")
    painted = page.locator("#invert-result canvas").evaluate_all(
        "(all) => all.filter((c) => c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data.some((v, i) => i % 4 === 3 && v)).length"
    )
    assert painted == page.locator("#invert-result canvas").count() > 20

    page.get_by_role("radio", name="Sketch or cartoon").check()
    page.get_by_role("button", name="Invert", exact=True).click()
    expect(page.locator("#invert-work .run")).to_have_count(2, timeout=LONG)
    wait_state(page, "done")
    pressed = page.locator("#invert-work .pick[aria-pressed=true]")
    expect(pressed).to_have_count(1)
    expect(pressed).to_contain_text("neurons 1")
    page.locator("#invert-work .pick").first.click()
    expect(pressed).to_contain_text("pixels 1")
    with page.expect_download() as download:
        page.locator("#invert-result").get_by_role("button", name="Recipe", exact=True).click()
    download.value.save_as(tmp_path / "recipe.json")
    assert json.loads((tmp_path / "recipe.json").read_text())["kind"] == "rosetta-inversion"
    with page.expect_download() as download:
        page.locator("#invert-result").get_by_role("button", name="Picture", exact=True).click()
    download.value.save_as(tmp_path / "picture.png")
    assert Image.open(tmp_path / "picture.png").size == (128, 128)
    page.get_by_role("button", name=re.compile("^Remove")).first.click()
    expect(page.locator("#invert-work .run")).to_have_count(1)
    page.get_by_role("button", name=re.compile("^Remove")).click()
    expect(page.locator("#invert-work .run")).to_have_count(0)
    expect(page.locator("#invert-result section")).to_be_hidden()
    expect(page.locator("#invert-work .card").first).to_be_visible()


def test_before_and_after_are_compared_by_pointer_and_keys(
    drawn_app: str, open_page: OpenPage
) -> None:
    page = finished(open_page, drawn_app)
    slider = page.get_by_role("slider", name="Share of the picture that was asked for")
    over = page.locator("#invert-work [data-id=over]")
    expect(over).to_be_hidden()
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    expect(over).to_be_visible()
    assert over.evaluate("(image) => image.style.clipPath").startswith("inset(0")
    frame = slider.bounding_box()
    assert frame is not None
    page.mouse.click(frame["x"] + 0.7 * frame["width"], frame["y"] + 0.5 * frame["height"])
    assert 60 <= int(slider.input_value()) <= 80


def test_the_form_says_why_it_cannot_start(drawn_app: str, open_page: OpenPage) -> None:
    page = opened(open_page, drawn_app)
    ready = page.locator("#invert-form [data-id=ready]")
    expect(ready).to_have_text("Choose a picture first.")
    give(page, file_of(face(), "face.png"))
    expect(ready).to_contain_text("steps in z", timeout=LONG)
    page.locator("#invert-form summary").click()
    for box_ in page.locator("#invert-form .backbones input").all():
        box_.uncheck()
    expect(ready).to_contain_text("Tick a backbone")
    for name in ("Weight of the neurons", "Weight of the pixels", "Weight of the features"):
        page.get_by_role("spinbutton", name=name).fill("0")
    expect(ready).to_contain_text("a weight")
    expect(page.get_by_role("button", name="Invert", exact=True)).to_be_disabled()
    page.get_by_role("spinbutton", name="Weight of the pixels").fill("1")
    page.get_by_role("spinbutton", name="Steps", exact=True).fill("100000")
    page.get_by_role("button", name="Invert", exact=True).click()
    expect(page.locator("#invert-work [data-id=said]")).to_contain_text("Give 1 to 5000 steps")
    expect(page.get_by_role("button", name="Invert", exact=True)).to_be_enabled()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440, 3840])
def test_a_result_fits_its_width_and_is_photographed(
    drawn_app: str, open_page: OpenPage, artefacts: Path, width: int, theme: str
) -> None:
    height = {390: 844, 1440: 900, 3840: 2160}[width]
    options: dict[str, Any] = {"width": width, "height": height, "color_scheme": theme}
    page = finished(open_page, drawn_app, **options)
    over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    name = f"invert-result-{width}-{theme}.png"
    page.screenshot(path=artefacts / name, full_page=width != 3840)
    assert over <= 0
    if width == 3840:
        return
    assert serious_violations(page) == []
