"""Latents as a generator's own samples have them: whitened coordinates and distances.

A `Prior` is the distribution of a generator's natural latents (z, or w at some ψ). Whitened
coordinates measure steps in natural deviations, so that one learning rate and one pull fit every
direction: along the weakest directions of w a step of Adam would otherwise leave the natural set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from rosetta_ui.models.generator import Generator, draw_z
from rosetta_ui.types import Space

PRIOR_SAMPLES = 16384
"""A 512 × 512 covariance needs some 32 samples a dimension for distances within a few per cent."""

PRIOR_SEED = 2**31 - 1
"""Set apart from the seeds that people use, so that no picture judges itself."""


@dataclass(frozen=True)
class Prior:
    """Mean and covariance of natural latents, as an eigenbasis.

    Attributes:
        mean: [d].
        basis: [d, d], columns are directions.
        deviation: [d], along the directions, ascending; all above 0.
    """

    mean: Tensor
    basis: Tensor
    deviation: Tensor

    @classmethod
    def fit(cls, samples: Tensor, floor: float = 1e-3) -> Self:
        """Estimate from samples [n, d], n well above d.

        Args:
            samples: natural latents.
            floor: least deviation kept, as a share of the largest: directions in which nothing
                varies would make every distance infinite.
        """
        data = samples.double()
        mean = data.mean(0)
        centred = data - mean
        values, vectors = torch.linalg.eigh(centred.T @ centred / (len(data) - 1))
        deviation = values.clamp_min(0).sqrt()
        deviation = deviation.clamp_min(floor * float(deviation.max()))
        return cls(mean.float(), vectors.float(), deviation.float())

    @classmethod
    def standard(cls, size: int) -> Self:
        """Independent standard normal entries, the distribution of z."""
        return cls(torch.zeros(size), torch.eye(size), torch.ones(size))

    def to(self, device: torch.device) -> Prior:
        """The same on another device."""
        return Prior(self.mean.to(device), self.basis.to(device), self.deviation.to(device))

    def whiten(self, values: Tensor) -> Tensor:
        """[..., d] latents → coordinates with zero mean and unit covariance."""
        return (values - self.mean) @ self.basis / self.deviation

    def colour(self, coordinates: Tensor) -> Tensor:
        """Undo `whiten`."""
        return (coordinates * self.deviation) @ self.basis.T + self.mean

    def mean_square(self, values: Tensor) -> Tensor:
        """Squared Mahalanobis distance per dimension, [..., d] → [...]; natural: 1."""
        return self.whiten(values).square().mean(-1)


def natural_w(
    generator: Generator, n: int, seed: int, psi: float, class_index: int | None
) -> Tensor:
    """Natural w: [n, w_size], the first row of each sample's w+ (all rows are equal before mixing).

    Args:
        generator: one with a w space.
        n: how many.
        seed: of the set.
        psi: truncation that is applied.
        class_index: for class-conditional generators.
    """
    rows: list[Tensor] = []
    for first in range(0, n, 1024):
        z = natural_z(generator, range(first, min(n, first + 1024)), seed)
        with torch.inference_mode():
            rows.append(generator.to_w(z, class_index=class_index, psi=psi)[:, 0])
    return torch.cat(rows).clone()


def natural_z(generator: Generator, indices: range, seed: int) -> Tensor:
    """Natural z of some images of a seed: [n, latent_size], on the generator's device."""
    card = generator.card
    draws = [
        torch.from_numpy(draw_z(seed, i, card.latent_size, card.latent_distribution))
        for i in indices
    ]
    return torch.stack(draws).to(generator.device)


def fit_prior(
    generator: Generator,
    space: Space,
    *,
    psi: float,
    class_index: int | None = None,
    n: int = PRIOR_SAMPLES,
) -> Prior:
    """The prior of a generator's latents in a space; for w+ it is that of one layer's w."""
    if space == "z":
        return Prior.standard(generator.card.latent_size).to(generator.device)
    return Prior.fit(natural_w(generator, n, PRIOR_SEED, psi, class_index))
