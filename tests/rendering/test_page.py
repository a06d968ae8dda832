"""The gallery page and the film: complete, small, and nothing in them runs that came from names."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
from PIL import Image

from rosetta_ui.rendering.animation import frame, webp
from rosetta_ui.rendering.page import PageFacts, PageNeuron, gallery_page

HOSTILE = "</script><script>alert(1)</script><!-- ${alert(2)}"


def page(name: str = "hair", count: int = 2) -> str:
    neurons = [
        PageNeuron(f"gen/l:{i}", name, i, i == 0, i, [("a/b:1", 0.81234, None)])
        for i in range(count)
    ]
    maps = np.arange(count * 2 * 16 * 16, dtype=np.uint8).reshape(count, 2, 16, 16)
    pictures = {i: np.full((64, 64, 3), 40 * i, np.uint8) for i in range(count)}
    facts = PageFacts(f"Faces {name}", ["a line"], ["gen", "a"], 0.3)
    return gallery_page(facts, neurons, maps, pictures)


def data_of(text: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


def test_the_page_holds_maps_pictures_and_scores() -> None:
    data = data_of(page())
    maps = np.frombuffer(base64.b64decode(data["maps"]), np.uint8)
    assert maps.tolist() == (np.arange(1024) % 256).tolist()
    assert [n["unit"] for n in data["neurons"]] == ["gen/l:0", "gen/l:1"]
    assert data["neurons"][0]["partners"] == [["a/b:1", 0.81234, None]]
    assert set(data["pictures"]) == {"0", "1"}
    assert len(data["colours"]) == 768


def test_the_page_asks_nothing_of_a_network() -> None:
    text = page()
    assert not re.search(r"""(src|href)=["'](?!data:)|url\(|@import|https?://""", text)
    assert "default-src 'none'" in text


def test_hostile_names_stay_text() -> None:
    text = page(HOSTILE)
    assert text.count("<script") == page().count("<script")
    assert "<!-- ${" not in text
    assert data_of(text)["neurons"][0]["name"] == HOSTILE


def test_two_hundred_neurons_of_five_models_stay_below_two_megabytes() -> None:
    rng = np.random.default_rng(0)
    neurons = [PageNeuron(f"gen/l:{i}", "", 0, True, i % 48, []) for i in range(200)]
    maps = rng.integers(0, 255, (200, 5, 16, 16), np.uint8)
    pictures = {
        i: rng.integers(0, 255, (8, 8, 3), np.uint8).repeat(32, 0).repeat(32, 1) for i in range(48)
    }
    text = gallery_page(PageFacts("t", [], ["gen"], None), neurons, maps, pictures)
    assert len(text) < 2_000_000


def test_a_film_has_a_frame_an_image() -> None:
    maps = np.zeros((2, 16, 16), np.uint8)
    maps[:, 4:8, 4:8] = 255
    frames = [
        frame(np.full((64, 64, 3), 60 * i, np.uint8), maps, ["picture", "a", "b"]) for i in range(3)
    ]
    film = Image.open(io.BytesIO(webp(frames)))
    assert film.format == "WEBP"
    assert film.n_frames == 3
    assert film.size == (frames[0].shape[1], frames[0].shape[0])
    film.close()
