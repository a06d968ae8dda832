"""Does an edit do what it says? Asked of a backbone that took no part in choosing the units.

`judge_cosine` compares the edited picture with the original's features changed in the same way;
`partners.partner_corr` does so with the maps of held-out partner units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rosetta_ui.affine import STILL, Affine, then
from rosetta_ui.editing.targets import affine_of, mask_of, paste, placed, valid, warp
from rosetta_ui.edits import Blend, Edit, Paste, Scale
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


def asked(
    maps: Tensor, edits: Sequence[Edit], source: Tensor | None = None
) -> tuple[Tensor, Tensor] | None:
    """Maps or features as an edit asks for them, and the cells that count.

    Several moves are made as one, by their product, so that nothing is blurred twice. Cells that
    count are those whose whole bilinear source lies inside the frame.

    Args:
        maps: [n, channels, h, w] of the picture before, with 0 for what is not known.
        edits: in the order they are applied.
        source: [n, channels, h, w] of the picture that a `Paste` copies from.

    Returns:
        [n, channels, h, w] and float [h, w]; None where an edit moves nothing (strength, blend).
    """
    if any(isinstance(edit, Scale | Blend) for edit in edits):
        return None
    size = (maps.shape[-2], maps.shape[-1])
    inside = torch.ones(1, *size, dtype=maps.dtype, device=maps.device)
    for affine in _moves(edits):
        if isinstance(affine, Paste):
            copied = maps if source is None else source
            maps = torch.stack([paste(a, b, affine) for a, b in zip(maps, copied, strict=True)])
            fits = valid(size, affine_of(affine)).to(inside)[None]
            inside = torch.where(mask_of(placed(affine), size).to(maps.device), fits, inside)
        else:
            maps, inside = warp(maps, affine), warp(inside, affine)
    return maps, (inside[0] >= 1 - 1e-4).to(maps.dtype)


def _moves(edits: Sequence[Edit]) -> list[Affine | Paste]:
    """Copies as they are, and each run of moves between them as one affine map."""
    found: list[Affine | Paste] = []
    total = STILL
    for edit in (*edits, None):
        if edit is not None and not isinstance(edit, Paste):
            total = then(total, affine_of(edit))
            continue
        if total != STILL:
            found.append(total)
            total = STILL
        if edit is not None:
            found.append(edit)
    return found


def judge_cosine(
    original: Tensor, edited: Tensor, edits: Sequence[Edit], source: Tensor | None = None
) -> Tensor:
    """Agreement of edited pictures with the originals changed as asked: [n] in [-1, 1].

    The original's mean feature over positions is removed from both, the original is changed
    bilinearly with 0 outside, and the cosine between features is averaged over the positions whose
    whole source lies inside the frame.

    Args:
        original: [n, channels, h, w] from `patch_features`.
        edited: likewise; pass the original again for the value before the edit.
        edits: what was asked.
        source: features of the picture that a `Paste` copies from.

    Returns:
        NaN where the edit moves nothing or no position is left.
    """
    mean = original.mean((-2, -1), keepdim=True)
    found = asked(original - mean, edits, None if source is None else source - mean)
    if found is None:
        return torch.full((len(original),), math.nan)
    wanted, inside = found
    cosine = functional.cosine_similarity(wanted, edited - mean, dim=1)
    return (cosine * inside).sum((-2, -1)) / inside.sum()
