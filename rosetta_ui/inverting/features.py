"""A perceptual distance from a backbone's features.

It is no LPIPS: nothing in it was fitted to people's judgements. It is named after its backbone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rosetta_ui.models.backbone import Backbone, resize
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import LayerSpec

SHARED = 5
"""Layers that are compared: the earlier ones, whose maps still have positions."""

LEAST_CELLS = 2
"""Side of the coarsest maps that are compared."""

Features = list[Tensor]
"""A layer's features each, [n, channels, h, w], of length 1 at every position."""


def feature_name(backbone: str) -> str:
    """What the distance is called."""
    return f"{backbone} feature distance"


@dataclass(frozen=True)
class FeatureDistance:
    """Mean over layers and positions of 1 − cosine between two pictures' features.

    Attributes:
        backbone: looks.
        layers: that are compared.
        size: (height, width) that it is fed.
    """

    backbone: Backbone
    layers: tuple[LayerSpec, ...]
    size: tuple[int, int]

    @classmethod
    def of(cls, backbone: Backbone, side: int = 0) -> FeatureDistance:
        """The distance of a backbone.

        Args:
            backbone: looks.
            side: of smaller pictures to feed it, a multiple of 32: a convolutional network costs
                twelve times less at 64 px than at 224. 0 and networks of tokens take the card's.
        """
        full = backbone.card.image_size
        specs = backbone.layers
        fixed = any(spec.kind == "tokens" for spec in specs)
        size = full if fixed or not side or side >= min(full) else (side, side)
        if size != full:
            specs = tuple(replace(s, size=_scaled(s.size, size, full)) for s in specs)
        fine = [spec for spec in specs if min(spec.size) >= LEAST_CELLS]
        return cls(backbone, tuple(fine[:SHARED]) if not fixed else _spread(fine), size)

    @property
    def name(self) -> str:
        """What it is called."""
        return feature_name(self.backbone.card.name)

    def features(self, images: Tensor, check: Callable[[], None] = lambda: None) -> Features:
        """A picture's features, differentiably.

        Args:
            images: [n, 3, H, W] in [-1, 1].
            check: called after each layer; may raise.
        """
        prepared = self.backbone.normalise(
            resize(images, self.size, self.backbone.card.interpolation)
        )
        with tap(self.backbone.net, self.layers, stop=True, on_output=lambda _: check()) as maps:
            self.backbone.forward(prepared)
        return [_unit_length(maps[spec.name]) for spec in self.layers]

    def distance(self, ours: Features, theirs: Features) -> Tensor:
        """[n] in [0, 2], 0 for equal pictures.

        Args:
            ours: of n pictures.
            theirs: of n pictures, or of one.
        """
        each = [1 - (a * b).sum(1).flatten(1).mean(1) for a, b in zip(ours, theirs, strict=True)]
        return torch.stack(each).mean(0)


def _scaled(size: tuple[int, int], fed: tuple[int, int], full: tuple[int, int]) -> tuple[int, int]:
    height, width = (-(-s * f // w) for s, f, w in zip(size, fed, full, strict=True))
    return height, width


def _spread(layers: list[LayerSpec]) -> tuple[LayerSpec, ...]:
    """Some of many layers, evenly; all of a token network have positions."""
    last = len(layers) - 1
    places = sorted({round(i * last / (SHARED - 1)) for i in range(SHARED)})
    return tuple(layers[i] for i in places)


def _unit_length(maps: Tensor) -> Tensor:
    values = maps.float()
    return values / values.square().sum(1, keepdim=True).clamp_min(1e-10).sqrt()
