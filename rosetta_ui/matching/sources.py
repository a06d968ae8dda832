"""Where a match's images come from: a generator, whose maps come with them, or a folder of photos.

A source knows how image i is made, whatever the batch; it knows nothing of scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rosetta_ui.matching.photos import PhotoSet, centre_crop, read_photo
from rosetta_ui.models.backbone import resize
from rosetta_ui.models.generator import Generator
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import LayerSpec

PREVIEW_SIDE = 256
"""Longer side of the pictures that are kept, at most."""

Check = Callable[[], None]
"""Called often during long work; raises `Cancelled` to end it."""

Maps = dict[str, dict[str, Tensor]]
"""Model → layer → [n, channels, h, w]."""


class Images:
    """One batch of images, resized once for each size that is asked for.

    Args:
        images: [n, 3, H, W], nominally in [-1, 1], of one size.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self._resized: dict[tuple[tuple[int, int], str], Tensor] = {}

    def resized(self, size: tuple[int, int], interpolation: str) -> Tensor:
        """The images at (height, width); backbones that want the same size share one tensor."""
        key = ((size[0], size[1]), interpolation)
        if key not in self._resized:
            self._resized[key] = resize(self.images, size, interpolation)
        return self._resized[key]

    def pictures(self, side: int = PREVIEW_SIDE) -> list[NDArray[np.uint8]]:
        """HWC uint8 pictures, the longer side at most `side`; clamped, for people only."""
        height, width = self.images.shape[-2:]
        scale = min(side / max(height, width), 1)
        size = (max(round(height * scale), 1), max(round(width * scale), 1))
        small = resize(self.images.float(), size, "bilinear").clamp(-1, 1)
        values = ((small + 1) * 127.5).round().to(torch.uint8)
        return list(values.permute(0, 2, 3, 1).cpu().numpy())


class ImageSource(Protocol):
    """Makes the images of a run."""

    @property
    def layers(self) -> Mapping[str, Sequence[LayerSpec]]:
        """Models whose maps come with the images: the generator, or none for photos."""
        ...

    def draw(self, indices: Sequence[int], check: Check) -> tuple[Images, Maps]:
        """Make the images with these numbers and the maps that come with them."""
        ...


class GeneratedImages:
    """Images that a generator draws; image i of a seed is the same whatever the batch.

    Args:
        generator: draws them.
        seed: of the set.
        class_index: for class-conditional generators.
        psi: truncation; None takes the card's.
    """

    def __init__(
        self,
        generator: Generator,
        seed: int,
        class_index: int | None = None,
        psi: float | None = None,
    ) -> None:
        self._generator = generator
        self._seed = seed
        self._class = class_index
        self._psi = psi

    @property
    def layers(self) -> Mapping[str, Sequence[LayerSpec]]:
        """The generator's layers."""
        return {self._generator.card.name: self._generator.layers}

    def draw(self, indices: Sequence[int], check: Check) -> tuple[Images, Maps]:
        """Sample, synthesise under taps; the taps are gone when this returns or raises."""
        generator = self._generator
        latents = generator.sample(indices, self._seed, self._class, self._psi)
        with tap(generator.net, generator.layers, on_output=lambda _: check()) as maps:
            images = generator.synthesise(latents)
        return Images(images), {generator.card.name: dict(maps)}


class PhotoImages:
    """A chosen set of photos, cropped to one aspect and reduced to one size.

    Args:
        photos: in visiting order.
        size: (height, width) that all are brought to; the largest that a backbone is fed.
        device: where the images go.
    """

    def __init__(
        self, photos: PhotoSet, size: tuple[int, int], device: torch.device | str = "cpu"
    ) -> None:
        self._photos = photos
        self._size = size
        self._device = device

    @property
    def layers(self) -> Mapping[str, Sequence[LayerSpec]]:
        """None: photos bring no maps."""
        return {}

    def draw(self, indices: Sequence[int], check: Check) -> tuple[Images, Maps]:
        """Decode, crop and reduce.

        Raises:
            BadRequestError: a file is gone or was changed since the run began.
        """
        images: list[Tensor] = []
        for index in indices:
            check()
            picture = centre_crop(read_photo(self._photos.photos[index]), self._size)
            values = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
            images.append(resize(values.float() / 127.5 - 1, self._size, "bilinear"))
        return Images(torch.cat(images).to(self._device)), {}


def small_maps(maps: Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
    """Maps averaged to (height, width), for `activations.ActivationWriter`."""
    if tuple(maps.shape[-2:]) != size:
        maps = functional.adaptive_avg_pool2d(maps, size)
    return maps.float().cpu().numpy()
