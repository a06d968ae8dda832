"""Resampling with finite filters, as the StyleGANs do it: insert zeros, pad or crop, filter, drop.

Plain PyTorch only. `resample` is the operation itself, written for any factors; the networks call
it through modules that keep the filter.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def resample(
    maps: Tensor, taps: Tensor, *, up: int, down: int, pad: tuple[int, int], gain: float = 1.0
) -> Tensor:
    """Resample both axes alike.

    Args:
        maps: [n, c, h, w].
        taps: one axis's filter [t], applied to both, or a filter of both [t, t]; symmetric.
        up: zeros are inserted so that each axis grows by this factor.
        down: every how many results are kept.
        pad: cells added (negative: removed) before and after, on the grown grid.
        gain: factor on the result.

    Returns:
        [n, c, h', w'] with h' = (h·up + pad before + pad after - t) // down + 1.
    """
    n, c, height, width = maps.shape
    if up > 1:
        grown = maps.new_zeros(n, c, height, up, width, up)
        grown[:, :, :, 0, :, 0] = maps
        maps = grown.view(n, c, height * up, width * up)
    maps = functional.pad(maps, (*pad, *pad))
    if taps.ndim == 1:
        line = (taps * gain**0.5).to(maps.dtype).expand(c, 1, -1)
        maps = functional.conv2d(maps, line.unsqueeze(3), stride=(down, 1), groups=c)
        return functional.conv2d(maps, line.unsqueeze(2), stride=(1, down), groups=c)
    square = (taps * gain).to(maps.dtype).expand(c, 1, -1, -1)
    return functional.conv2d(maps, square, stride=down, groups=c)


def one_axis(square: Tensor) -> Tensor | None:
    """The filter [t] whose outer product with itself, summing to one, is `square` [t, t], if any.

    The published files store the filters of StyleGAN2 as squares, some with a gain.
    """
    total = square.sum()
    line = square.sum(0) / total
    same = torch.allclose(torch.outer(line, line) * total, square, rtol=1e-4, atol=1e-7)
    return line if same else None
