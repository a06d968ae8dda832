"""The activation of a StyleGAN3 layer between its two filters: up, leaky ReLU, clamp, down.

The maps between are four or sixteen times as large as what goes in and comes out; at 1024 px one
layer's would take 2.8 GB. Channels do not mix, so some of them at a time go through all steps while
their large maps stay in the cache, and for the backward pass maps above 64 MB are computed again
rather than kept. Each filter is one convolution a channel over both axes: zeros are never stored.

Tried and slower: each axis as a banded matrix, in small products over overlapping windows, is 1.2
times slower forwards and 1.4 to 2 times backwards, and more where a filter is radial.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_SLOPE = 0.2
# Cells of the large maps that are worked on together, a thread: 4 MB of float32. A convolution
# a channel is cut into sixteens of channels inside.
_CELLS, _CELLS_CUDA, _SIXTEEN = 1 << 20, 1 << 28, 16
# Large maps up to 64 MB of float32 are kept after all: a third less time backwards.
_KEPT = 1 << 24


@dataclass(frozen=True)
class Geometry:
    """How the maps of one layer grow and shrink.

    Attributes:
        up: growth before the activation.
        down: shrinkage after it.
        before: cells cut from (negative: added to) the grown maps in front.
        large: side of the maps between the filters.
        taps: lengths of the filters.
        clamp: largest magnitude, or None.
    """

    up: int
    down: int
    before: int
    large: int
    taps: tuple[int, int]
    clamp: float | None

    def grow(self, maps: Tensor, square: Tensor) -> Tensor:
        """[1, k, side, side] → [1, k, large, large]: zeros, padding and filter in one."""
        k = maps.shape[1]
        filters = square.expand(k, 1, -1, -1)
        grown = functional.conv_transpose2d(maps, filters, stride=self.up, groups=k)
        after = self.large + self.before - grown.shape[-1]
        if self.before == after == 0:
            return grown
        return functional.pad(grown, (-self.before, after) * 2)  # negative numbers cut

    def grow_back(self, gradient: Tensor, square: Tensor, side: int) -> Tensor:
        """The adjoint of `grow`."""
        k = gradient.shape[1]
        whole = (side - 1) * self.up + self.taps[0]
        after = self.large + self.before - whole
        if self.before or after:
            gradient = functional.pad(gradient, (self.before, -after) * 2)
        return functional.conv2d(gradient, square.expand(k, 1, -1, -1), stride=self.up, groups=k)

    def shrink(self, maps: Tensor, square: Tensor) -> Tensor:
        """[1, k, large, large] → [1, k, size, size]."""
        k = maps.shape[1]
        return functional.conv2d(maps, square.expand(k, 1, -1, -1), stride=self.down, groups=k)

    def shrink_back(self, gradient: Tensor, square: Tensor) -> Tensor:
        """The adjoint of `shrink`."""
        k = gradient.shape[1]
        return functional.conv_transpose2d(
            gradient,
            square.expand(k, 1, -1, -1),
            stride=self.down,
            groups=k,
            output_padding=(self.large - self.taps[1]) % self.down,
        )

    def activate_(self, large: Tensor) -> Tensor:
        """Leaky ReLU and clamp, in place."""
        functional.leaky_relu_(large, _SLOPE)
        return large if self.clamp is None else large.clamp_(-self.clamp, self.clamp)

    def activate_back(self, activated: Tensor, gradient: Tensor) -> Tensor:
        """The adjoint of `activate_` at what came out of it."""
        gradient = torch.ops.aten.leaky_relu_backward(gradient, activated, _SLOPE, True)
        if self.clamp is not None:
            low, high = activated.aminmax()
            # Clamps of 256 are never reached by sane maps; looking costs a fourth of masking.
            if high >= self.clamp or low <= -self.clamp:
                gradient.masked_fill_(activated.abs() >= self.clamp, 0.0)
        return gradient

    def channels(self, maps: Tensor) -> int:
        """How many channels go through together."""
        cells = _CELLS_CUDA if maps.is_cuda else _CELLS * torch.get_num_threads()
        return max(cells // self.large**2 // _SIXTEEN, 1) * _SIXTEEN


class _FilteredLeakyRelu(torch.autograd.Function):
    """Differentiable once, with respect to the maps."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, up: Tensor, down: Tensor, shape: Geometry) -> Tensor:
        n, c, side, _ = maps.shape
        flat = maps.reshape(1, n * c, side, side)
        count = shape.channels(maps)
        keeps = ctx.needs_input_grad[0] and n * c * shape.large**2 <= _KEPT
        kept: list[Tensor] = []
        parts: list[Tensor] = []
        for i in range(0, n * c, count):
            large = shape.activate_(shape.grow(flat[:, i : i + count], up))
            parts.append(shape.shrink(large, down))
            if keeps:
                kept.append(large)
        ctx.shape = shape
        ctx.save_for_backward(maps, up, down, *kept)
        made = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return made.view(n, c, *made.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator hides a name
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, None, None, None]:
        maps, up, down, *kept = ctx.saved_tensors
        shape: Geometry = ctx.shape
        n, c, side, _ = maps.shape
        flat = maps.reshape(1, n * c, side, side)
        given = gradients[0].reshape(1, n * c, *gradients[0].shape[2:])
        count = shape.channels(maps)
        parts: list[Tensor] = []
        for k, i in enumerate(range(0, n * c, count)):
            again = not kept
            large = shape.activate_(shape.grow(flat[:, i : i + count], up)) if again else kept[k]
            slopes = shape.shrink_back(given[:, i : i + count], down)
            parts.append(shape.grow_back(shape.activate_back(large, slopes), up, side))
        return torch.cat(parts, 1).view(maps.shape), None, None, None


class FilteredActivation(nn.Module):
    """Up, leaky ReLU, clamp, down.

    Args:
        side: of the square maps that come in.
        factors: growth before the activation and shrinkage after it.
        taps: lengths of the filters.
        radial: the filter downwards is one of two axes.
        pad: cells added before and after on the grown grid; negative crops.
        clamp: largest magnitude, or None.
    """

    up_filter: Tensor
    down_filter: Tensor

    def __init__(
        self,
        side: int,
        factors: tuple[int, int],
        taps: tuple[int, int],
        *,
        radial: bool,
        pad: tuple[int, int],
        clamp: float | None,
    ) -> None:
        super().__init__()
        up, down = factors
        self.pad = pad
        large = side * up + sum(pad) - taps[0] + 1
        self.shape = Geometry(up, down, taps[0] - 1 - pad[0], large, taps, clamp)
        self.register_buffer("up_filter", torch.empty(taps[0]))
        self.register_buffer("down_filter", torch.empty(*(taps[1],) * (2 if radial else 1)))

    def forward(self, maps: Tensor) -> Tensor:
        """[n, c, side, side] → [n, c, size, size]."""
        up = _square(self.up_filter).flip(0, 1) * self.shape.up**2
        return _FilteredLeakyRelu.apply(maps, up, _square(self.down_filter), self.shape)


def _square(taps: Tensor) -> Tensor:
    """A filter of both axes: itself, or the product of a one-axis filter with itself."""
    return torch.outer(taps, taps) if taps.ndim == 1 else taps
