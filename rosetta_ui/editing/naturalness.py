"""Is a picture still one that the generator draws by itself? Percentiles among natural samples.

Two measures, each as the share of held-out natural samples that lie less far out: (a) the latent's
distance from natural latents, (b) the distance of the picture's pooled backbone features from the
nearest natural pictures. The larger of the two is reported, ranked among the same maximum of the
natural samples themselves, so that natural samples come out uniform.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from rosetta_ui.editing.latents import Prior
from rosetta_ui.types import Space

NEIGHBOURS = 5
BANK_SIZE = 512


def share_below(reference: Tensor, values: Tensor) -> Tensor:
    """Share of a sorted reference below each value: [n] in [0, 1].

    A value equal to some of the reference counts half of those, so that the reference's own
    members are spread evenly.
    """
    low = torch.searchsorted(reference, values, side="left")
    high = torch.searchsorted(reference, values, side="right")
    return (low + high).to(values.dtype) / (2 * len(reference))


def both_sides(share: Tensor) -> Tensor:
    """How far out a share lies when too small is as unnatural as too large: [n] in [0, 1]."""
    return (2 * share - 1).abs()


@dataclass(frozen=True)
class LatentYardstick:
    """How far out latents lie among natural ones.

    Attributes:
        space: of the latents that are measured; w+ is measured layer by layer.
        prior: of z, or of one w at the ψ in use.
        natural: [m] sorted mean squares of held-out natural latents.
    """

    space: Space
    prior: Prior
    natural: Tensor

    @classmethod
    def of(cls, space: Space, prior: Prior, held_out: Tensor) -> Self:
        """Measure held-out natural latents [m, d], at least 512 and none that fitted the prior."""
        return cls(space, prior, prior.mean_square(held_out).sort().values)

    def share(self, latents: Tensor) -> Tensor:
        """Share of natural latents that lie less far out: [n] in [0, 1].

        Args:
            latents: z or w [n, d]; w+ [n, layers, d].
        """
        if self.space == "z":
            return both_sides(share_below(self.natural, self.prior.mean_square(latents)))
        if self.space == "w":
            return share_below(self.natural, self.prior.mean_square(latents))
        distance = self.prior.mean_square(latents)
        worst = share_below(self.natural, distance.max(1).values)
        # Natural w+ has one w in every layer, spread 0. Two unrelated natural w lie about twice the
        # natural mean square apart: layers as unlike as that count as the median, 1/2.
        apart = self.prior.whiten(latents)
        spread = (apart - apart.mean(1, keepdim=True)).square().mean(-1).max(1).values
        return torch.maximum(worst, share_below(self.natural, spread))


@dataclass(frozen=True)
class PictureYardstick:
    """How far out pictures lie among natural ones, in a backbone's pooled features.

    Attributes:
        bank: [m, c] pooled features of natural pictures.
        natural: [m] sorted distances of each to its 5th nearest other one.
    """

    bank: Tensor
    natural: Tensor

    @classmethod
    def of(cls, bank: Tensor) -> Self:
        """Measure a bank of at least 512 natural pictures' pooled features [m, c]."""
        own = torch.cdist(bank, bank).kthvalue(NEIGHBOURS + 1, dim=1).values  # itself is nearest
        return cls(bank, own.sort().values)

    def share(self, features: Tensor) -> Tensor:
        """Share of natural pictures that lie less far out: [n] in [0, 1]."""
        distance = torch.cdist(features, self.bank).kthvalue(NEIGHBOURS, dim=1).values
        return share_below(self.natural, distance)


@dataclass(frozen=True)
class Realism:
    """The reported percentile: the larger of both measures, ranked among natural samples.

    Attributes:
        latent, picture: the two measures.
        natural: [k] sorted larger measures of natural samples that are in neither yardstick.
    """

    latent: LatentYardstick
    picture: PictureYardstick
    natural: Tensor

    @classmethod
    def calibrate(
        cls, latent: LatentYardstick, picture: PictureYardstick, latents: Tensor, features: Tensor
    ) -> Self:
        """Rank natural samples that neither measure has seen.

        Args:
            latent: the first measure.
            picture: the second.
            latents: [k, ...] of the samples, in the latent measure's space.
            features: [k, c], the same samples' pooled features.
        """
        larger = torch.maximum(latent.share(latents), picture.share(features))
        return cls(latent, picture, larger.sort().values)

    def percentile(self, latents: Tensor, features: Tensor) -> Tensor:
        """`realism_percentile`: [n] in [0, 100]; 95 lies further out than 95 % of natural ones."""
        larger = torch.maximum(self.latent.share(latents), self.picture.share(features))
        return 100 * share_below(self.natural, larger)

    def parts(self, latents: Tensor, features: Tensor) -> Sequence[Tensor]:
        """Both measures by themselves, [n] in [0, 1]: the latent's and the picture's."""
        return self.latent.share(latents), self.picture.share(features)
