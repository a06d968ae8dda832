"""Yardsticks of a generator: natural latents and natural pictures to compare an edit with.

Made once a generator, ψ, class and judge, picture by picture so that it can be interrupted; plain
arrays, so that a cache can keep them.
"""

from __future__ import annotations

from collections.abc import Generator as Generator_

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.editing.judge import patch_features
from rosetta_ui.editing.latents import PRIOR_SEED, Prior, natural_z
from rosetta_ui.editing.naturalness import (
    BANK_SIZE,
    LatentYardstick,
    PictureYardstick,
    Realism,
)
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.generator import Generator
from rosetta_ui.types import Space

CALIBRATION = 128
"""Natural pictures in neither yardstick that rank the larger of the two; steps of 0.8 %."""

NATURAL_PICTURES = BANK_SIZE + CALIBRATION

BANK_SEED = PRIOR_SEED - 3
HELD_OUT_SEED = PRIOR_SEED - 4


def pooled(backbone: Backbone, images: Tensor) -> Tensor:
    """Mean of a backbone's final features over positions: [n, c]."""
    return patch_features(backbone, images).mean((-2, -1))


def natural_features(
    generator: Generator,
    backbone: Backbone,
    psi: float,
    class_index: int | None,
) -> Generator_[int, None, NDArray[np.float32]]:
    """Pooled features of natural pictures: the bank, then those that calibrate.

    Args:
        generator: draws.
        backbone: looks.
        psi: truncation.
        class_index: for class-conditional generators.

    Yields:
        How many pictures are done, between batches: a good place to let others use the device.

    Returns:
        [640, c].
    """
    # Small batches: whoever waits for the device waits for one of them.
    batch = 4 if max(generator.card.image_size) <= 128 else 1
    rows: list[Tensor] = []
    for first in range(0, NATURAL_PICTURES, batch):
        yield first
        z = natural_z(generator, range(first, first + batch), BANK_SEED)
        with torch.inference_mode():
            images = generator.synthesise_from(z, "z", class_index=class_index, psi=psi)
            rows.append(pooled(backbone, images).float().cpu())
    return torch.cat(rows).numpy()


def realism(
    generator: Generator,
    prior: Prior,
    features: NDArray[np.float32],
    space: Space,
    psi: float,
    class_index: int | None,
) -> Realism:
    """The yardstick of a space out of natural features.

    Args:
        generator: its natural latents are drawn again, which takes no picture.
        prior: of z, or of w at this ψ.
        features: from `natural_features`.
        space: of the latents that will be measured.
        psi: truncation.
        class_index: for class-conditional generators.
    """
    held_out = _latents(generator, range(2048), HELD_OUT_SEED, space, psi, class_index)
    calibrating = range(BANK_SIZE, BANK_SIZE + CALIBRATION)
    own = _latents(generator, calibrating, BANK_SEED, space, psi, class_index)
    if space == "w+":
        own = own[:, None].expand(-1, generator.n_ws, -1)
    rows = torch.from_numpy(np.array(features)).to(generator.device)
    return Realism.calibrate(
        LatentYardstick.of(space, prior, held_out),
        PictureYardstick.of(rows[:BANK_SIZE]),
        own,
        rows[BANK_SIZE:],
    )


def _latents(
    generator: Generator,
    indices: range,
    seed: int,
    space: Space,
    psi: float,
    class_index: int | None,
) -> Tensor:
    """Natural z, or one natural w each: [n, d]."""
    z = natural_z(generator, indices, seed)
    if space == "z":
        return z
    with torch.no_grad():
        return generator.to_w(z, class_index=class_index, psi=psi)[:, 0].clone()
