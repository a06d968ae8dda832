"""Between two pictures: latents on the way from one to the other. Knows a generator, no page."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rosetta_ui.affine import between
from rosetta_ui.editing.course import in_space
from rosetta_ui.edits import PictureState
from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.generator import Generator
from rosetta_ui.types import Latents, Space

SHARE_RANGE = (0.0, 1.0)


def blended(generator: Generator, one: PictureState, other: PictureState, share: float) -> Latents:
    """A latent between two pictures of a generator.

    z goes along the sphere, its norm in proportion, so that every picture on the way is as natural
    as the ends; generators with a w go straight in w, or in w+ where one end is there.

    Args:
        generator: of both.
        one: where it begins.
        other: where it ends.
        share: 0 is `one`, 1 the other.

    Raises:
        BadRequestError: another generator's picture, another class without a w, or a share
            outside 0 to 1.
    """
    low, high = SHARE_RANGE
    if not low <= share <= high:
        raise BadRequestError(f"A share of {share:g} is out of range.", "Give 0 to 1.")
    if one.generator != other.generator:
        raise BadRequestError(
            f"'{other.generator}' drew the other picture, and '{one.generator}' this one.",
            "Choose two pictures of one generator.",
        )
    if one.class_index != other.class_index and not generator.n_ws:
        raise BadRequestError(
            f"The pictures are of class {one.class_index} and {other.class_index}.",
            "Choose two pictures of one class: z means another thing in each.",
        )
    space = _common(generator, one, other)
    first, second = (in_space(generator, state.latents, space) for state in (one, other))
    mixed = slerp(first, second, share) if space == "z" else first + share * (second - first)
    values = mixed.cpu().numpy().astype(np.float32)
    moved = between(one.latents.moved, other.latents.moved, share)
    return Latents(space, values, one.class_index, one.psi, moved)


def slerp(one: Tensor, other: Tensor, share: float) -> Tensor:
    """Go along the great circle between two directions, the norm in proportion: [n, d]."""
    norms = one.norm(dim=-1, keepdim=True), other.norm(dim=-1, keepdim=True)
    a, b = (v / n.clamp_min(1e-12) for v, n in zip((one, other), norms, strict=True))
    angle = (a * b).sum(-1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    # Almost the same or opposite directions: no circle is defined, and the chord is as good.
    straight = (1 - share) * a + share * b
    turned = (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / sine.clamp_min(1e-6)
    direction = torch.where(sine < 1e-4, straight, turned)
    return direction * ((1 - share) * norms[0] + share * norms[1])


def _common(generator: Generator, one: PictureState, other: PictureState) -> Space:
    spaces = {one.latents.space, other.latents.space}
    if not generator.n_ws:
        return "z"
    return "w+" if "w+" in spaces else "w"
