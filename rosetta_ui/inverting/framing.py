"""Where in a picture there is what a generator draws: the square that looks most like its own.

No face is detected: squares of the picture are compared with the generator's natural samples by a
backbone's features, which finds the framing of any generator, whatever it draws. Knows the bank of
samples and the backbone; knows no page and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rosetta_ui.inversions import Crop
from rosetta_ui.inverting.features import FeatureDistance
from rosetta_ui.inverting.metrics import as_images
from rosetta_ui.inverting.starts import Bank, pooled

SHARES = (1.0, 0.8, 0.64, 0.5, 0.4, 0.32, 0.25)
"""Sides of the squares, of the picture's shorter side."""

STEP = 0.3
"""From one square to the next, in sides."""

MOST_SQUARES = 600
"""A picture of 3 × 2 has 459; of a long strip fewer are taken."""

WORK_SIDE = 256
"""The picture's shorter side while it is searched: its smallest squares then have 64 px."""

LARGEST_FED = 128
"""Side in px of what the backbone is fed; one that needs more would take a minute."""

SAMPLES = 512
NEIGHBOURS = 8
USUAL = 0.05
"""A square counts as found where it is as near to the samples as 19 of 20 samples are to each
other. Of heads pasted into 24 photographs 96 % to 100 % are found so, their squares overlapping the
true ones by more than half (the guess: 31 %); cups, engines and towers are not taken for faces."""

BATCH = 32
REFINED = 3  # squares that are looked at more closely
ROUNDS = 2


def framing(
    picture: NDArray[np.uint8],
    guess: Crop,
    bank: Bank,
    distance: FeatureDistance,
    check: Callable[[], None] = lambda: None,
) -> Crop | None:
    """The square of a picture that looks most like a generator's own pictures.

    Args:
        picture: HWC uint8.
        guess: the square that is taken otherwise.
        bank: natural samples of the generator.
        distance: whose features the bank has.
        check: called now and then; may raise.

    Returns:
        None where the guess looks like the generator's pictures already, or nothing does.
    """
    if max(distance.size) > LARGEST_FED or len(bank) <= NEIGHBOURS:
        return None
    search = _Search(picture, bank, distance, check)
    usual = search.usual()
    if float(search.likeness([guess])[0]) >= usual:
        return None
    height, width = picture.shape[:2]
    squares = _squares(width, height)
    order = search.likeness(squares).argsort(descending=True)[:REFINED].tolist()
    best = max((search.refined(squares[i]) for i in order), key=lambda found: found[0])
    return best[1] if best[0] >= usual else None


class _Search:
    """Squares of one picture against one bank."""

    def __init__(
        self,
        picture: NDArray[np.uint8],
        bank: Bank,
        distance: FeatureDistance,
        check: Callable[[], None],
    ) -> None:
        image = as_images(picture, distance.backbone.device)
        scale = min(1.0, WORK_SIDE / min(picture.shape[:2]))
        size = [max(round(side * scale), 1) for side in picture.shape[:2]]
        self._image = functional.interpolate(
            image, size=size, mode="bilinear", align_corners=False, antialias=True
        )
        self._distance = distance
        self._check = check
        own = torch.from_numpy(bank.features[:SAMPLES].astype(np.float32))
        self._own = own.to(self._image.device)

    def usual(self) -> float:
        """The likeness that all but a few samples have to the others."""
        alike = self._own @ self._own.T
        alike.fill_diagonal_(-1)
        return float(alike.topk(NEIGHBOURS).values.mean(1).quantile(USUAL))

    def likeness(self, squares: Sequence[Crop]) -> Tensor:
        """Mean cosine [n] of each square's features with those of its nearest samples."""
        found: list[Tensor] = []
        for first in range(0, len(squares), BATCH):
            self._check()
            cut = torch.cat([self._cut(square) for square in squares[first : first + BATCH]])
            alike = pooled(self._distance, cut) @ self._own.T
            found.append(alike.topk(NEIGHBOURS).values.mean(1))
        return torch.cat(found)

    def refined(self, square: Crop) -> tuple[float, Crop]:
        """The best of a square's neighbours in place and size, and how like it is."""
        likeness, step, zoom = -1.0, 0.12, 1.12
        for _ in range(ROUNDS):
            near = [
                self._moved(square, dx * step, dy * step, zoom**dz)
                for dz in (-1, 0, 1)
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
            ]
            each = self.likeness(near)
            likeness, square = float(each.max()), near[int(each.argmax())]
            step, zoom = step / 2, zoom**0.5
        return likeness, square

    def _cut(self, square: Crop) -> Tensor:
        height, width = self._image.shape[-2:]
        left, top, side = square.box(width, height)
        part = self._image[..., top : top + side, left : left + side]
        return functional.interpolate(
            part, size=self._distance.size, mode="bilinear", align_corners=False, antialias=True
        )

    def _moved(self, square: Crop, dx: float, dy: float, zoom: float) -> Crop:
        """Another square near one, by shares of its side."""
        height, width = self._image.shape[-2:]
        side = min(square.side * zoom, 1.0)
        pixels = square.side * min(width, height)
        return _inside(
            square.x + dx * pixels / width, square.y + dy * pixels / height, side, width, height
        )


def _squares(width: int, height: int) -> list[Crop]:
    """Squares of several sizes all over a picture, the largest first."""
    step = STEP
    while len(found := _laid(width, height, step)) > MOST_SQUARES:
        step *= 1.25
    return found


def _laid(width: int, height: int, step: float) -> list[Crop]:
    found: list[Crop] = []
    for share in SHARES:
        side = share * min(width, height)
        columns, rows = (int(np.ceil((s - side) / (step * side))) + 1 for s in (width, height))
        for y in np.linspace(side / 2, height - side / 2, rows):
            for x in np.linspace(side / 2, width - side / 2, columns):
                found.append(_inside(float(x) / width, float(y) / height, share, width, height))
    return found


def _inside(x: float, y: float, share: float, width: int, height: int) -> Crop:
    """A square moved so that none of it sticks out of the picture."""
    across, down = (share * min(width, height) / s / 2 for s in (width, height))
    return Crop(min(max(x, across), 1 - across), min(max(y, down), 1 - down), min(share, 1.0))
