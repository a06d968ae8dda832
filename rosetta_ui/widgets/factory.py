"""How every widget is made: three files of one name, and the calls that its script may make.

`NAME.html` is static markup, `NAME.css` is scoped to the widget by gradio, `NAME.js` is the body of
a function that gets `element` and `server` and does all work in the page. Nothing is interpolated
into markup: a value that looks like a template would run. Factories rather than subclasses, because
gradio writes a stub file beside the source of every subclass.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rosetta_ui.errors import BadRequestError, RosettaError

HERE = Path(__file__).resolve().parent
CLIENT = (
    *("core.js", "maps.js", "terms.js", "keep.js", "neurons.js"),
    *("dictionary_file.js", "export_menu.js", "layer_filter.js", "concepts.js"),
    *("figures.js", "one_unit.js", "active_units.js", "expressing.js"),
    *("grid_row.js", "picture.js", "plots.js", "shell.js"),
    *("before.js", "crop.js", "intake.js", "sketch.js", "curves.js"),
)

Asked = Mapping[str, Any]
Call = Callable[[Asked], Any]
"""Answers a question of the page: JSON values in, JSON values out; may raise `RosettaError`."""


def widget(
    name: str,
    calls: Mapping[str, Call] | None = None,
    *,
    label: str,
    value: Any = None,
    elem_id: str = "",
) -> gr.HTML:
    """Make the widget of this name.

    Args:
        name: of its files; also its element's id, with dashes.
        calls: what its script may ask, as `server.NAME(payload)`; a `RosettaError` becomes
            `{"error": sentence, "hint": next step}`.
        label: for people who use a screen reader or the API.
        value: JSON values that its script reads as `props.value`.
        elem_id: another id, where one kind of widget stands in several tabs.
    """
    return gr.HTML(
        value=value,
        label=label,
        html_template=(HERE / f"{name}.html").read_text("utf-8"),
        css_template=(HERE / f"{name}.css").read_text("utf-8"),
        js_on_load=(HERE / f"{name}.js").read_text("utf-8"),
        apply_default_css=False,
        elem_id=elem_id or name.replace("_", "-"),
        server_functions=[_guarded(key, call) for key, call in (calls or {}).items()],
    )


def _guarded(name: str, call: Call) -> Callable[[Any], Any]:
    """A plain function, which is what gradio can mark as callable from the page."""

    def answer(asked: Any) -> Any:
        try:
            if not isinstance(asked, dict):
                raise BadRequestError("The page asked for something that is no object.")
            return call(asked)
        except RosettaError as error:
            return {"error": error.message, "hint": error.hint}

    answer.__name__ = name
    return answer


def page_script(colours: str) -> str:
    """The script that all widgets share; it must run before any of them.

    Args:
        colours: the colour table of heatmaps, a JSON list of 768 numbers.
    """
    shared = [(HERE / "client" / name).read_text("utf-8") for name in CLIENT]
    return "\n".join([f"window.rosettaColours = {colours};", *shared])


def page_style() -> str:
    """The style sheet that all widgets share."""
    return (HERE / "client" / "base.css").read_text("utf-8")


def picture_uri(picture: NDArray[np.uint8], side: int, quality: int = 84) -> str:
    """A picture as a data address that an `img` shows.

    Args:
        picture: HWC uint8.
        side: the longer side is reduced to this many pixels; smaller pictures stay as they are.
        quality: of WebP, to 100.
    """
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def png_uri(picture: NDArray[np.uint8]) -> str:
    """A picture as a data address, every pixel as it is.

    Args:
        picture: HWC uint8.
    """
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=4)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def packed(array: NDArray[Any]) -> str:
    """The raw numbers of an array in C order, little-endian, as base64."""
    ordered = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return base64.b64encode(ordered.tobytes()).decode("ascii")
