"""Widgets: their files are static and safe, and their calls turn errors into sentences."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rosetta_ui.errors import BadRequestError
from rosetta_ui.widgets import factory

HERE = Path(factory.__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.html"))
SCRIPTS = sorted([*HERE.glob("*.js"), *HERE.glob("client/*.js")])


def test_there_are_widgets_and_each_has_its_three_files() -> None:
    assert len(NAMES) >= 8
    for name in NAMES:
        for kind in ("html", "css", "js"):
            assert (HERE / f"{name}.{kind}").is_file(), f"{name}.{kind}"


@pytest.mark.parametrize("name", NAMES)
def test_markup_and_style_interpolate_nothing(name: str) -> None:
    # gradio runs both as template strings: a dollar-brace or a backtick would be executed.
    for kind in ("html", "css"):
        text = (HERE / f"{name}.{kind}").read_text("utf-8")
        assert not re.search(r"\$\{|\{\{|`|\\", text), f"{name}.{kind}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_scripts_never_turn_text_into_markup_or_code(path: Path) -> None:
    text = path.read_text("utf-8")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in text
    assert not re.search(r"new Function|setTimeout\(\s*['\"`]", text)


@pytest.mark.parametrize("path", [*SCRIPTS, *HERE.glob("**/*.css"), *HERE.glob("*.html")])
def test_files_name_no_address_outside_the_page(path: Path) -> None:
    found = set(re.findall(r"https?://[^\s\"'()]+", path.read_text("utf-8")))
    assert found <= {"http://www.w3.org/2000/svg"}


def test_a_widget_reads_its_files_and_offers_its_calls() -> None:
    html = factory.widget("header", {"readiness": lambda asked: {"stage": "ready"}}, label="Top")
    assert html.elem_id == "header"
    assert "data-id" in html.html_template
    assert html.readiness({}) == {"stage": "ready"}


def test_an_error_reaches_the_page_as_sentence_and_hint() -> None:
    def refuse(asked: factory.Asked) -> None:
        raise BadRequestError("No such thing.", "Take another.")

    html = factory.widget("header", {"readiness": refuse}, label="Top")
    assert html.readiness({}) == {"error": "No such thing.", "hint": "Take another."}


@pytest.mark.parametrize("asked", [None, 3, "text", [1, 2]])
def test_a_call_with_anything_but_an_object_is_refused(asked: object) -> None:
    html = factory.widget("header", {"readiness": lambda a: {"ok": True}}, label="Top")
    assert "error" in html.readiness(asked)


def test_a_mistake_of_ours_is_not_hidden() -> None:
    def broken(asked: factory.Asked) -> None:
        raise ZeroDivisionError

    html = factory.widget("header", {"readiness": broken}, label="Top")
    with pytest.raises(ZeroDivisionError):
        html.readiness({})


def test_a_picture_becomes_a_small_webp_of_the_same_shape() -> None:
    picture = np.full((60, 90, 3), 120, np.uint8)
    head, _, body = factory.picture_uri(picture, 45).partition(",")
    assert head == "data:image/webp;base64"
    image = Image.open(io.BytesIO(base64.b64decode(body)))
    assert image.size == (45, 30)


def test_packed_numbers_come_back_little_endian_and_in_order() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert (
        np.frombuffer(base64.b64decode(factory.packed(values.T)), "<f4") == values.T.ravel()
    ).all()
    big = values.astype(">f4")
    assert (np.frombuffer(base64.b64decode(factory.packed(big)), "<f4") == values.ravel()).all()


def test_the_shared_script_starts_with_the_colour_table() -> None:
    script = factory.page_script("[1,2,3]")
    assert script.startswith("window.rosettaColours = [1,2,3];")
    assert script.index("window.rosetta = ") < script.index("Object.assign(window.rosetta")
