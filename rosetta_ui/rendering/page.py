"""The Gallery as one HTML file: opens without a server, asks nothing of the network.

Maps are raw bytes that the page paints itself, pictures are shared between neurons, and every word
reaches the page as a text node: names of models and people's names for neurons are only text.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rosetta_ui.rendering.colormap import css_gradient, table

MOST_NEURONS = 200
"""Neurons of a page: with five models their maps are 0.35 MB as text."""

SIDE = 160

_TEMPLATE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class PageNeuron:
    """One line of the page.

    Attributes:
        unit: the anchor, spelled.
        name: what a person calls it, or empty.
        concept: number of its concept, -1 for none.
        above_null: its weakest score is above what shuffled images give.
        image: number of the picture it is shown on.
        partners: (unit, score, null or None) of every other model.
    """

    unit: str
    name: str
    concept: int
    above_null: bool
    image: int
    partners: Sequence[tuple[str, float, float | None]]


@dataclass(frozen=True)
class PageFacts:
    """What stands above the list.

    Attributes:
        title: of the result.
        lines: sentences about it, such as how many neurons there are and the models' terms.
        models: names of the columns, the anchor's first.
        threshold: of the null, or None.
    """

    title: str
    lines: Sequence[str]
    models: Sequence[str]
    threshold: float | None


def gallery_page(
    facts: PageFacts,
    neurons: Sequence[PageNeuron],
    maps: NDArray[np.uint8],
    pictures: Mapping[int, NDArray[np.uint8]],
) -> str:
    """The page as text.

    Args:
        facts: what stands above the list.
        neurons: lines, best first.
        maps: uint8 [neurons, models, h, w].
        pictures: image number → HWC uint8, of every image that a line is shown on.
    """
    data: dict[str, Any] = {
        "models": list(facts.models),
        "lines": list(facts.lines),
        "threshold": facts.threshold,
        "side": int(maps.shape[-1]),
        "colours": table().ravel().tolist(),
        "maps": base64.b64encode(np.ascontiguousarray(maps).tobytes()).decode("ascii"),
        "pictures": {str(at): _picture(picture) for at, picture in pictures.items()},
        "neurons": [
            {
                "unit": n.unit,
                "name": n.name,
                "concept": n.concept,
                "above": n.above_null,
                "image": n.image,
                "partners": [list(partner) for partner in n.partners],
            }
            for n in neurons
        ],
    }
    # A closing tag or a comment inside the data would end the script that holds it.
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
    page = _TEMPLATE.read_text("utf-8")
    page = page.replace("<!--TITLE-->", html.escape(facts.title))
    page = page.replace("/*GRADIENT*/none", css_gradient())
    return page.replace("/*DATA*/", text)


def _picture(picture: NDArray[np.uint8]) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=82)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
