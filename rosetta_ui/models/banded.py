"""Filtered leaky ReLU, as StyleGAN3 has it, from small matrix products.

Up by zeros and a filter, leaky ReLU, clamp, down by a filter: the maps between are four or sixteen
times as large as what goes in and comes out. Two facts make it fast without a kernel of our own.
One axis of a resampling is a banded matrix whose blocks of rows are all alike, so it is one small
dense matrix over overlapping windows, which runs at the speed of a matrix product; and channels do
not mix, so a few of them at a time go through all steps while their large maps stay in the
processor's cache. For the backward pass the large maps are computed again rather than kept.

Measured on one thread (256, 36, 64 and 532-pixel layers): 4 to 8 times faster forwards than
zero-insertion and per-channel convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_SLOPE = 0.2


@dataclass(frozen=True)
class Step:
    """One axis: insert zeros, pad or crop, filter, drop.

    Attributes:
        taps: the filter, by position.
        up: growth by zeros.
        down: every how many results are kept.
        pad: zeros before the first cell on the grown grid; negative crops.
        size: cells that come out.
    """

    taps: tuple[float, ...]
    up: int
    down: int
    pad: int
    size: int

    def transposed(self, size: int) -> Step:
        """The adjoint operation, which leads back to `size` cells."""
        flipped = self.taps[::-1]
        return Step(flipped, self.down, self.up, len(self.taps) - 1 - self.pad, size)


class Windows:
    """A `Step` as one matrix over overlapping windows of its input.

    Args:
        step: the operation.
        start: index of the first cell to compute; may be negative.
        least: cells to compute at least.
        block: rows of the matrix; rounded up to what repeats.
        like: gives device and type.
    """

    def __init__(self, step: Step, start: int, least: int, block: int, like: Tensor) -> None:
        block = -(-block // step.up) * step.up
        low = start * step.down - step.pad
        self.first = -(-low // step.up)
        last = (low + (block - 1) * step.down + len(step.taps) - 1) // step.up
        self.width = last - self.first + 1
        self.stride = block * step.down // step.up
        self.blocks = -(-least // block)
        self.size = self.blocks * block
        self.block = block
        matrix = torch.zeros(block, self.width, dtype=torch.float64)
        for row in range(block):
            for k, tap in enumerate(step.taps):
                cell, rest = divmod(low + row * step.down + k, step.up)
                if rest == 0:
                    matrix[row, cell - self.first] = tap
        self.matrix = matrix.to(like)
        self.turned = matrix.t().to(like).contiguous()

    @property
    def need(self) -> int:
        """Cells of input that it reads, from `first` on."""
        return self.stride * (self.blocks - 1) + self.width

    def rows(self, maps: Tensor) -> Tensor:
        """Along the first axis: [at least need, n] → [size, n]."""
        made = maps.new_empty(self.size, maps.shape[1])
        for i in range(self.blocks):
            window = maps[i * self.stride : i * self.stride + self.width]
            torch.mm(self.matrix, window, out=made[i * self.block : (i + 1) * self.block])
        return made

    def columns(self, maps: Tensor, into: Tensor | None = None) -> Tensor:
        """Along the second axis: [n, at least need] → [n, size], or added to what is given."""
        made = maps.new_empty(maps.shape[0], self.size) if into is None else into
        for i in range(self.blocks):
            window = maps[:, i * self.stride : i * self.stride + self.width]
            place = made[:, i * self.block : (i + 1) * self.block]
            if into is None:
                torch.mm(window, self.turned, out=place)
            else:
                place.addmm_(window, self.turned)
        return made


@dataclass(frozen=True)
class Stage:
    """Both axes of an operation, as a sum of terms of one filter an axis.

    Attributes:
        terms: (along rows, along columns).
    """

    terms: tuple[tuple[Windows, Windows], ...]

    @property
    def windows(self) -> Windows:
        """Any of them: their geometry is the same."""
        return self.terms[0][0]

    def apply(self, maps: Tensor) -> Tensor:
        """[rows, k, columns] from this stage's first cell on → [size, k, size]."""
        rows, k, columns = maps.shape
        size = self.windows.size
        made: Tensor | None = None
        for along, across in self.terms:
            tall = along.rows(maps.view(rows, k * columns))
            made = across.columns(tall.view(size * k, columns), made)
        if made is None:
            raise ValueError("a stage needs at least one term")
        return made.view(size, k, size)


class Plan:
    """The filtered leaky ReLU of one layer, forwards and backwards, on one device.

    Args:
        side: of the square maps that go in.
        up: one axis upwards.
        down: terms downwards, (along rows, along columns).
        clamp: largest magnitude between, or None.
        like: gives device and type.
    """

    def __init__(
        self,
        side: int,
        up: Step,
        down: Sequence[tuple[Step, Step]],
        clamp: float | None,
        like: Tensor,
    ) -> None:
        self.side, self.size, self.clamp = side, down[0][0].size, clamp
        # 32 rows keep the zeros between the bands few; a GPU wants larger products than a core.
        block = 128 if like.is_cuda else 32
        half = max(block // down[0][0].down, 8)

        def stage(steps: Sequence[tuple[Step, Step]], start: int, least: int, rows: int) -> Stage:
            return Stage(
                tuple(
                    (Windows(a, start, least, rows, like), Windows(b, start, least, rows, like))
                    for a, b in steps
                )
            )

        self.down = stage(down, 0, self.size, half)
        self.up = stage([(up, up)], 0, max(up.size, self.down.windows.need), block)
        back = up.transposed(side)
        turned = [(a.transposed(up.size), b.transposed(up.size)) for a, b in down]
        self.up_back = stage([(back, back)], 0, side, half)
        start = self.up_back.windows.first
        need = self.up_back.windows.need
        self.down_back = stage(turned, start, need, block)
        self.again = stage([(up, up)], start, self.down_back.windows.size, block)
        self.large = max(self.up.windows.size, self.again.windows.size) ** 2

    def channels(self, maps: Tensor) -> int:
        """How many channels go through together."""
        # 1 MB of float32 a thread stays in a core's second-level cache with what is made of it.
        budget = 64 << 20 if maps.is_cuda else (1 << 18) * torch.get_num_threads()
        return max(4, min(256 if not maps.is_cuda else 1 << 14, budget // self.large))

    def placed(self, maps: Tensor, windows: Windows) -> Tensor:
        """Channels [k, h, w] as [need, k, need], zeros where the windows reach outside."""
        k, height, width = maps.shape
        made = maps.new_zeros(windows.need, k, windows.need)
        low = max(windows.first, 0)
        at = low - windows.first
        rows, columns = min(height - low, windows.need - at), min(width - low, windows.need - at)
        part = maps[:, low : low + rows, low : low + columns]
        made[at : at + rows, :, at : at + columns] = part.transpose(0, 1)
        return made

    def forward(self, maps: Tensor) -> Tensor:
        """[n, c, side, side] → [n, c, size, size]."""
        n, c = maps.shape[:2]
        flat = maps.reshape(n * c, self.side, self.side)
        made = flat.new_empty(n * c, self.size, self.size)
        count = self.channels(maps)
        for i in range(0, n * c, count):
            large = self.up.apply(self.placed(flat[i : i + count], self.up.windows))
            torch.nn.functional.leaky_relu_(large, _SLOPE)
            if self.clamp is not None:
                large.clamp_(-self.clamp, self.clamp)
            small = self.down.apply(large)[: self.size, :, : self.size]
            made[i : i + count] = small.transpose(0, 1)
        return made.view(n, c, self.size, self.size)

    def backward(self, maps: Tensor, gradient: Tensor) -> Tensor:
        """The gradient [n, c, side, side] at the input, given the one at the output."""
        n, c = maps.shape[:2]
        flat = maps.reshape(n * c, self.side, self.side)
        given = gradient.reshape(n * c, self.size, self.size)
        made = torch.empty_like(flat)
        count = self.channels(maps)
        for i in range(0, n * c, count):
            large = self.again.apply(self.placed(flat[i : i + count], self.again.windows))
            slopes = self.down_back.apply(self.placed(given[i : i + count], self.down_back.windows))
            rows = slopes.shape[0]
            slopes = self._through(large[:rows, :, :rows], slopes)
            small = self.up_back.apply(slopes)[: self.side, :, : self.side]
            made[i : i + count] = small.transpose(0, 1)
        return made.view_as(maps)

    def _through(self, large: Tensor, gradient: Tensor) -> Tensor:
        """The gradient before leaky ReLU and clamp, given what went into them."""
        gradient = torch.ops.aten.leaky_relu_backward(gradient, large, _SLOPE, False)
        if self.clamp is not None:
            low, high = large.aminmax()
            # Clamps of 256 are never reached by sane maps; looking costs a fourth of masking.
            if high > self.clamp or low < -self.clamp / _SLOPE:
                beyond = (large > self.clamp) | (large < -self.clamp / _SLOPE)
                gradient.masked_fill_(beyond, 0.0)
        return gradient


class _FilteredLeakyRelu(torch.autograd.Function):
    """Differentiable once."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, plan: Plan) -> Tensor:
        ctx.plan = plan
        ctx.save_for_backward(maps)
        return plan.forward(maps)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator hides a name
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        (maps,) = ctx.saved_tensors
        return ctx.plan.backward(maps, gradients[0]), None


def filtered_leaky_relu(maps: Tensor, plan: Plan) -> Tensor:
    """Up, leaky ReLU 0.2, clamp, down, as the plan says.

    Args:
        maps: [n, c, side, side].
        plan: made for this side, device and type.

    Returns:
        [n, c, size, size].
    """
    return _FilteredLeakyRelu.apply(maps, plan)


def separable_terms(
    taps: Tensor, *, tolerance: float = 5e-7
) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """A filter as a sum of products of one-axis filters.

    Args:
        taps: [t] for both axes, or a symmetric [t, t]. StyleGAN3's radial filters have two to five
            terms above the tolerance.
        tolerance: terms below this share of the largest are dropped.

    Returns:
        (along rows, along columns) of each term.
    """
    if taps.ndim == 1:
        line = tuple(taps.double().tolist())
        return [(line, line)]
    left, sizes, right = torch.linalg.svd(taps.double().cpu())
    kept = [i for i, size in enumerate(sizes.tolist()) if size > tolerance * float(sizes[0])]
    return [(tuple((left[:, i] * sizes[i]).tolist()), tuple(right[i].tolist())) for i in kept]
