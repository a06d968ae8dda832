"""Where a picture has what a generator draws: found by likeness, left alone where nothing is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.errors import Cancelled
from rosetta_ui.inversions import Crop, default_crop
from rosetta_ui.inverting.framing import MOST_SQUARES, framing
from rosetta_ui.inverting.framing import _squares as squares_of  # pyright: ignore
from rosetta_ui.inverting.starts import Bank, pooled

Picture = NDArray[np.uint8]


class Colours:
    """Stands for a backbone: what it sees is how much each colour differs from the middle grey."""

    def __init__(self, side: int = 64) -> None:
        self.size = (side, side)
        self.backbone = SimpleNamespace(device=torch.device("cpu"))

    def features(self, images: Tensor) -> list[Tensor]:
        return [torch.nn.functional.adaptive_avg_pool2d(images, 8)]


def target(seed: int, side: int = 64) -> Picture:
    """What the generator draws: a red disc over blue in a dark frame, never twice the same."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    picture = np.empty((side, side, 3))
    picture[:] = rng.uniform(100, 130, 3)
    picture[y > rng.uniform(0.5, 0.7)] = (20, 30, 220)
    across, down = rng.uniform(0.42, 0.58), rng.uniform(0.26, 0.38)
    picture[np.hypot(x - across, y - down) < rng.uniform(0.18, 0.28)] = (230, 20, 20)
    picture[np.maximum(abs(x - 0.5), abs(y - 0.5)) > 0.38] = 10
    return np.clip(picture + rng.normal(0, 8, picture.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def bank() -> Bank:
    pictures = np.stack([target(seed) for seed in range(40)])
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    features = pooled(Colours(), images)  # pyright: ignore
    return Bank(pictures[:, ::2, ::2].transpose(0, 3, 1, 2), features.numpy().astype(np.float16))


def canvas(width: int, height: int, seed: int = 5) -> Picture:
    """A picture of something else: green patches."""
    rng = np.random.default_rng(seed)
    small = rng.integers(60, 200, (-(-height // 40), -(-width // 40), 3), np.uint8)
    small[..., 1] |= 128
    return np.ascontiguousarray(small.repeat(40, 0).repeat(40, 1)[:height, :width])


def with_target(width: int, height: int, left: int, top: int, side: int) -> Picture:
    picture = canvas(width, height)
    picture[top : top + side, left : left + side] = target(99, side)
    return picture


def overlap(crop: Crop, picture: Picture, left: int, top: int, side: int) -> float:
    """Intersection over union of the found square and the true one."""
    x, y, s = crop.box(picture.shape[1], picture.shape[0])
    across = min(x + s, left + side) - max(x, left)
    down = min(y + s, top + side) - max(y, top)
    both = max(across, 0) * max(down, 0)
    return both / (s * s + side * side - both)


def find(picture: Picture, bank: Bank, by: Any = None, **more: Any) -> Crop | None:
    guess = default_crop(picture.shape[1], picture.shape[0], "portrait")
    return framing(picture, guess, bank, by or Colours(), **more)


@pytest.mark.parametrize(
    ("size", "place"),
    [
        ((600, 400), (380, 40, 160)),
        ((400, 600), (30, 400, 140)),
        ((900, 300), (650, 20, 250)),
        ((300, 300), (10, 150, 130)),
        ((1600, 1200), (100, 700, 400)),
    ],
)
def test_the_square_that_looks_like_the_generators_pictures_is_found(
    bank: Bank, size: tuple[int, int], place: tuple[int, int, int]
) -> None:
    picture = with_target(*size, *place)
    found = find(picture, bank)
    assert found is not None
    assert overlap(found, picture, *place) > 0.6
    guess = default_crop(*size, "portrait")
    assert overlap(guess, picture, *place) < 0.3


def test_a_picture_that_is_framed_so_already_is_left_alone(bank: Bank) -> None:
    assert find(target(123, 200), bank) is None


def test_where_nothing_is_like_it_the_guess_stays(bank: Bank) -> None:
    for seed in range(4):
        assert find(canvas(600, 400, seed), bank) is None
    assert find(np.full((50, 70, 3), 128, np.uint8), bank) is None


def test_a_square_lies_inside_and_a_strip_has_no_more_of_them(bank: Bank) -> None:
    for size in ((600, 400), (8, 8), (4000, 40), (30, 5000)):
        squares = squares_of(*size)
        assert len(squares) <= MOST_SQUARES
        for square in squares:
            across, down = (square.side * min(size) / s / 2 for s in size)
            assert across - 1e-9 <= square.x <= 1 - across + 1e-9
            assert down - 1e-9 <= square.y <= 1 - down + 1e-9
    assert find(canvas(4000, 40), bank) is None
    assert find(canvas(8, 8), bank) is None


def test_a_search_can_be_stopped(bank: Bank) -> None:
    calls = iter(range(100))

    def check() -> None:
        if next(calls) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        find(canvas(600, 400), bank, check=check)


def test_a_network_that_needs_large_pictures_is_not_asked(bank: Bank) -> None:
    guess = Crop()
    slow = Colours(224)
    assert framing(canvas(600, 400), guess, bank, slow) is None  # pyright: ignore


@pytest.mark.weights
@pytest.mark.parametrize("name", ["dcgan-digiface", "dcgan-aligned"])
def test_heads_in_photographs_are_found_by_the_real_models(zoo: Any, name: str) -> None:
    """A drawn head in a photograph; and photographs in which there is none."""
    from skimage import data

    from rosetta_ui.editing.drawer import Drawer
    from rosetta_ui.editing.latents import natural_z
    from rosetta_ui.inverting.features import FeatureDistance
    from rosetta_ui.inverting.run import LOOP_SIDE
    from rosetta_ui.inverting.starts import fill
    from rosetta_ui.models.loading import load_backbone, load_generator
    from rosetta_ui.models.registry import build_registry

    registry, cpu = build_registry(), torch.device("cpu")
    generator = load_generator(registry, name, zoo, cpu)
    distance = FeatureDistance.of(
        load_backbone(registry, "efficientnet-lite0", zoo, cpu), LOOP_SIDE
    )
    drawer = Drawer(generator, (), True)
    bank = _given(fill(drawer, distance, 128))
    z = natural_z(generator, range(3), 777)
    with torch.no_grad():
        drawn, _ = drawer.draw(z, "z")
    assert drawn is not None
    coffee = data.coffee()
    assert find(coffee, bank, distance) is None
    for i, head in enumerate(drawn):
        side, left, top = 110 + 60 * i, 120 * i, 290 - 80 * i
        picture = coffee.copy()
        size = (side, side)
        large = torch.nn.functional.interpolate(head[None].clamp(-1, 1), size, mode="bilinear")
        pixels = ((large[0] + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
        picture[top : top + side, left : left + side] = pixels
        found = find(picture, bank, distance)
        assert found is not None
        assert overlap(found, picture, left, top, side) > 0.4


def _given(making: Any) -> Bank:
    while True:
        try:
            next(making)
        except StopIteration as done:
            return done.value
