"""Forward passes in half precision, and how far their maps are from full ones.

Only the networks run in half precision; maps are counted in the accumulators' own type.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_FEWEST = 1e-6
"""Deviation below which a unit counts as constant, as a share of its layer's largest."""


def half_forwards(device: torch.device, on: bool) -> torch.autocast:
    """A context in which networks run in half precision, or one that changes nothing.

    float16 on CUDA; bfloat16 elsewhere, where float16 has no fast kernels.

    Args:
        device: where the networks are.
        on: whether to change anything.
    """
    dtype = torch.float16 if device.type == "cuda" else torch.bfloat16
    # Without the cache, weights are cast once a layer; with it, copies of them stay until the end
    # of the block, and each block runs every layer once.
    return torch.autocast(device.type, dtype=dtype, enabled=on, cache_enabled=False)


def relative_error(half: Mapping[str, Tensor], full: Mapping[str, Tensor]) -> tuple[float, float]:
    """How far maps in half precision are from full ones, in deviations of each unit.

    Args:
        half: layer → [n, channels, h, w].
        full: the same of the same images in full precision.

    Returns:
        Median and largest over the units that vary: root mean squared difference over images and
        positions, divided by the unit's deviation.
    """
    errors: list[Tensor] = []
    for layer, right in full.items():
        right = right.double()
        difference = (half[layer].double() - right).square().mean((0, 2, 3)).sqrt()
        deviation = right.std((0, 2, 3), correction=0)
        varies = deviation > _FEWEST * deviation.max()
        errors.append((difference / deviation)[varies])
    every = torch.cat(errors)
    if not every.numel():
        return 0.0, 0.0
    return float(every.median()), float(every.max())
