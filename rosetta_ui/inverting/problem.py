"""An inversion as a problem for `optimise.descend`: loss terms over a batch of restarts.

Knows what a target looks like to each term; knows no page, no file and no schedule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from rosetta_ui.editing.drawer import Drawer
from rosetta_ui.editing.edit import Coordinates
from rosetta_ui.inversions import Guidance
from rosetta_ui.inverting.features import FeatureDistance, Features
from rosetta_ui.inverting.neurons import Agreement

BAND = 3.0
"""How far the mean square of z may lie from 1, in natural deviations: 0.3 % of natural z lie
further out."""


class PlainCoordinates(Coordinates):
    """Latents as published: every entry moves freely."""

    def origin(self) -> Tensor:
        """Coordinates of the start."""
        return self.start.clone()

    def latents(self, at: Tensor) -> Tensor:
        """Coordinates are the latents."""
        return at


@dataclass(frozen=True)
class Target:
    """What each term wants; made once, for every start and class.

    Attributes:
        image: [1, 3, S, S] in [-1, 1], at the size that pictures are compared in.
        guidance: weights of the terms.
        agreement: the neurons' term; None where it has no weight.
        distance: the perceptual one, and the target's features; None where it has no weight.
    """

    image: Tensor
    guidance: Guidance
    agreement: Agreement | None = None
    distance: tuple[FeatureDistance, Features] | None = None

    def terms(self, images: Tensor | None, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Name → weighted loss [n].

        Args:
            images: [n, 3, S, S], or None where no term looks at pictures.
            maps: layer → [n, channels, h, w] of the generator.
        """
        found: dict[str, Tensor] = {}
        if self.agreement is not None:
            found["neurons"] = -self.guidance.neurons * self.agreement(maps)
        if images is not None and self.guidance.pixels:
            error = (images - self.image).square().flatten(1).mean(1)
            found["pixels"] = self.guidance.pixels * error
        if images is not None and self.distance is not None:
            distance, wanted = self.distance
            apart = distance.distance(distance.features(images), wanted)
            found["perceptual"] = self.guidance.perceptual * apart
        return found


class InversionProblem:
    """Loss terms of an inversion, for `descend`.

    Args:
        target: what is wanted.
        drawer: draws.
        coordinates: what is optimised.
        pull: weight of the pull to natural latents.
    """

    def __init__(
        self,
        target: Target,
        drawer: Drawer,
        coordinates: Coordinates,
        *,
        pull: float = 0.0,
    ) -> None:
        self.coordinates = coordinates
        self._target = target
        self._drawer = drawer
        self._pull = pull

    def __call__(self, at: Tensor, step: int) -> dict[str, Tensor]:
        """Name → loss term [n] at some coordinates."""
        del step
        latents = self.coordinates.latents(at)
        images, maps = self._drawer.draw(latents, self.coordinates.space)
        terms = self._target.terms(images, maps)
        if self._pull:
            terms["pull"] = self._pull * unnatural(self.coordinates, at, latents)
        return terms


def unnatural(where: Coordinates, at: Tensor, latents: Tensor) -> Tensor:
    """How far latents lie from natural ones: [n], about 1 for natural w, 0 for natural z.

    z: squared distance of the mean square from 1. w: mean square in natural deviations. w+: that
    of the rows' mean, and the rows' mean squared distance from it.
    """
    if where.space == "z":
        return (latents.square().mean(1) - 1).square()
    if where.prior is None:
        return at.square().flatten(1).mean(1)
    white = where.prior.whiten(latents)
    if where.space == "w":
        return white.square().mean(1)
    middle = white.mean(1, keepdim=True)
    return middle.square().mean((1, 2)) + (white - middle).square().mean((1, 2))


def reduced(image: Tensor, side: int) -> Tensor:
    """A square picture [1, 3, H, W] at another size; averaged when made smaller."""
    if image.shape[-1] == side:
        return image
    if image.shape[-1] > side:
        return functional.interpolate(
            image, size=(side, side), mode="bilinear", align_corners=False, antialias=True
        )
    return functional.interpolate(image, size=(side, side), mode="bicubic", align_corners=False)
