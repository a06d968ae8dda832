"""Does an edit do what it says? Asked of a backbone that took no part in choosing the units.

`judge_cosine` compares the edited picture with the original's features moved in the same way;
`partner_corr` does so with the maps of held-out partner units.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rosetta_ui.editing.losses import correlation
from rosetta_ui.editing.targets import Affine, valid, warp
from rosetta_ui.errors import NotSpatialError
from rosetta_ui.models.backbone import Backbone


def patch_features(backbone: Backbone, images: Tensor) -> Tensor:
    """A backbone's final features by position.

    Args:
        backbone: one whose network has timm's `forward_features`.
        images: [n, 3, H, W], nominally in [-1, 1]; clamped, as a person would see them.

    Returns:
        [n, channels, h, w]; class and register tokens are dropped.

    Raises:
        NotSpatialError: its features have no positions.
    """
    network: Any = backbone.net
    features: Tensor = network.forward_features(backbone.prepare(images.clamp(-1, 1)))
    if features.ndim == 4:
        return features
    last = backbone.layers[-1]
    height, width = last.size
    if features.ndim != 3 or features.shape[1] != last.prefix_tokens + height * width:
        raise NotSpatialError(
            f"'{backbone.card.name}' ends in features of shape {tuple(features.shape)}.",
            "Choose a judge whose features have positions, such as dinov2-s.",
        )
    tokens = features[:, last.prefix_tokens :].transpose(1, 2)
    return tokens.reshape(len(features), -1, height, width)


def judge_cosine(original: Tensor, edited: Tensor, affine: Affine) -> Tensor:
    """Agreement of edited pictures with the originals moved as asked: [n] in [-1, 1].

    The original's mean feature over positions is removed from both, the original is moved
    bilinearly with 0 outside, and the cosine between features is averaged over the positions whose
    whole source lies inside the frame.

    Args:
        original: [n, channels, h, w] from `patch_features`.
        edited: likewise; pass the original again for the value before the edit.
        affine: of the edit.
    """
    mean = original.mean((-2, -1), keepdim=True)
    wanted, got = warp(original - mean, affine), edited - mean
    inside = valid((original.shape[-2], original.shape[-1]), affine).to(original.device)
    cosine = functional.cosine_similarity(wanted, got, dim=1)
    return (cosine * inside).sum((-2, -1)) / inside.sum()


def partner_corr(
    original: Mapping[str, Tensor], edited: Mapping[str, Tensor], affine: Affine
) -> Tensor:
    """Agreement of held-out partner units' maps with the originals' moved as asked: [n].

    Args:
        original: layer → [n, units, h, w], standardised over the data set.
        edited: likewise.
        affine: of the edit.
    """
    scores: list[Tensor] = []
    for name, maps in original.items():
        inside = valid((maps.shape[-2], maps.shape[-1]), affine).to(maps.device)
        scores.append(correlation(edited[name] * inside, warp(maps, affine) * inside))
    return torch.cat(scores, dim=1).mean(1)
