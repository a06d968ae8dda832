"""Where an inversion begins: the natural samples whose pictures are nearest to the target.

The bank is made once a generator, ψ and class, from samples of its own only; plain arrays, so that
a cache can keep them. Nothing of a target goes into it.
"""

from __future__ import annotations

from collections.abc import Generator as Generator_
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.editing.drawer import Drawer
from rosetta_ui.editing.latents import PRIOR_SEED, natural_z
from rosetta_ui.inverting.features import FeatureDistance
from rosetta_ui.inverting.problem import reduced
from rosetta_ui.models.generator import Generator, draw_z
from rosetta_ui.types import Space

BANK_SEED = PRIOR_SEED - 5
BANK_SIDE = 32
"""Side of the pictures that are kept: 3 KB each."""

BATCH = 16


def bank_size(generator: Generator) -> int:
    """Natural samples that are kept; each of a 64 px generator takes 4 ms, of a large one 20."""
    return 4096 if max(generator.card.image_size) <= 128 else 1024


@dataclass(frozen=True)
class Bank:
    """Natural samples of a generator.

    Attributes:
        pictures: uint8 [n, 3, 32, 32].
        features: float16 [n, c], pooled, each of length 1.
    """

    pictures: NDArray[np.uint8]
    features: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.pictures)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As numpy arrays for a cache."""
        return {"pictures": self.pictures, "features": self.features}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Bank:
        """Undo `arrays`."""
        return cls(np.asarray(arrays["pictures"]), np.asarray(arrays["features"]))

    def nearest(
        self, image: Tensor, distance: FeatureDistance, n: int, *, colours: bool
    ) -> list[int]:
        """The samples nearest to a target, nearest first.

        Distances in pixels and in features count alike: each is divided by its mean over the bank.

        Args:
            image: [1, 3, S, S] in [-1, 1].
            distance: whose features the bank has.
            n: how many.
            colours: whether pixels count too; not for sketches.
        """
        own = pooled(distance, image)[0].cpu().numpy()
        apart = 1 - self.features.astype(np.float32) @ own
        score = apart / max(float(apart.mean()), 1e-12)
        if colours:
            small = reduced(image, BANK_SIDE)[0].cpu().numpy()
            known = self.pictures.astype(np.float32) / 127.5 - 1
            error = np.square(known - small).mean((1, 2, 3))
            score = score + error / max(float(error.mean()), 1e-12)
        return [int(i) for i in np.argsort(score, kind="stable")[:n]]


def pooled(distance: FeatureDistance, images: Tensor) -> Tensor:
    """One vector of length 1 a picture: means and 2×2 means of the deepest compared features."""
    with torch.no_grad():
        deepest = distance.features(images)[-1]
        cells = torch.nn.functional.adaptive_avg_pool2d(deepest, 2).flatten(1)
    return cells / cells.norm(dim=1, keepdim=True).clamp_min(1e-12)


def fill(drawer: Drawer, distance: FeatureDistance, size: int = 0) -> Generator_[int, None, Bank]:
    """Draw the bank.

    Args:
        drawer: of pictures; small ones of a large generator.
        distance: whose features are kept.
        size: how many; 0 takes what suits the generator.

    Yields:
        How many samples are done.

    Returns:
        The bank.
    """
    pictures: list[NDArray[np.uint8]] = []
    features: list[NDArray[np.float16]] = []
    for first in range(0, size or bank_size(drawer.generator), BATCH):
        yield first
        z = natural_z(drawer.generator, range(first, first + BATCH), BANK_SEED)
        with torch.no_grad():
            images, _ = drawer.draw(z, "z")
            if images is None:
                raise ValueError("the bank needs a drawer of pictures")
            images = images.clamp(-1, 1)
            small = ((reduced(images, BANK_SIDE) + 1) * 127.5).round().clamp(0, 255)
        pictures.append(small.to(torch.uint8).cpu().numpy())
        features.append(pooled(distance, images).cpu().numpy().astype(np.float16))
    return Bank(np.concatenate(pictures), np.concatenate(features))


def bank_latents(
    generator: Generator, indices: list[int], space: Space, psi: float, class_index: int | None
) -> Tensor:
    """Latents of some samples of the bank: z [n, d], w [n, d] or w+ [n, rows, d]."""
    z = torch.cat([natural_z(generator, range(i, i + 1), BANK_SEED) for i in indices])
    return from_z(generator, z, space, psi, class_index)


def random_latents(
    generator: Generator, n: int, seed: int, space: Space, psi: float, class_index: int | None
) -> Tensor:
    """Latents of a person's seed, as published: z from a normal cut at 1 deviation."""
    card = generator.card
    z = np.stack([draw_z(seed, i, card.latent_size, "truncated") for i in range(n)])
    return from_z(generator, torch.from_numpy(z).to(generator.device), space, psi, class_index)


def average_latents(generator: Generator, mean_w: Tensor, n: int, space: Space) -> Tensor:
    """The middle of the latent space, n times.

    Args:
        generator: draws.
        mean_w: [d], the mean of natural w; unused for z.
        n: how many.
        space: of the latents.
    """
    if space == "z":
        return torch.zeros(n, generator.card.latent_size, device=generator.device)
    middle = mean_w.expand(n, -1).clone()
    return middle[:, None].expand(-1, generator.n_ws, -1).clone() if space == "w+" else middle


def from_z(
    generator: Generator, z: Tensor, space: Space, psi: float, class_index: int | None
) -> Tensor:
    """Natural z in another space of its generator."""
    if space == "z":
        return z
    with torch.no_grad():
        rows = generator.to_w(z, class_index=class_index, psi=psi)
    return (rows if space == "w+" else rows[:, 0]).clone()
