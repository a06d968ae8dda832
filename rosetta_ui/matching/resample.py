"""Bilinear upsampling as a matrix, and its transpose on the larger map of a pair.

Conventions: U is [n_out, n_in], half-pixel centres (align_corners False), no antialiasing; each row
sums to 1 and has at most two entries. For maps g [h, w] and d [s, t] with h ≥ s and w ≥ t,
⟨g, U d Uᵀ⟩ = ⟨Uᵀ g U, d⟩: the larger map is reduced once instead of enlarging the smaller one for
every pair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_ui.matching.products import multiply

# Fewer outputs a window make the small matrix products too thin: 4 rows ran at half the speed of 7.
_MIN_WINDOW_OUTPUTS = 4


def bilinear_matrix(n_in: int, n_out: int) -> Tensor:
    """U [n_out, n_in] in float64: how `n_out` positions are interpolated from `n_in`.

    Args:
        n_in: side of the smaller map.
        n_out: side of the larger one.

    Raises:
        ValueError: a side is not positive, or the map would shrink (this is no downsampling).
    """
    if not 1 <= n_in <= n_out:
        raise ValueError(f"cannot upsample {n_in} positions to {n_out}")
    at = torch.arange(n_out)
    source = ((at + 0.5).double() * (n_in / n_out) - 0.5).clamp(min=0)
    low = source.floor().long()
    high = (low + 1).clamp(max=n_in - 1)
    weight = source - low
    matrix = torch.zeros(n_out, n_in, dtype=torch.float64)
    matrix[at, low] += 1 - weight
    matrix[at, high] += weight
    return matrix


@dataclass(frozen=True)
class _Windows:
    """Uᵀ [small, large] as overlapping windows of equal stride: it is banded.

    Window p covers the positions p·stride - lead .. p·stride - lead + width of the larger side and
    yields `small / count` outputs; weights outside the map are 0.
    """

    stride: int
    lead: int
    weights: Tensor  # [count, outputs, width]

    @classmethod
    def of(cls, matrix: Tensor) -> _Windows:
        small, large = matrix.shape
        common = math.gcd(small, large)
        fitting = [c for c in range(1, common + 1) if common % c == 0]
        count = max(c for c in fitting if c == 1 or small // c >= _MIN_WINDOW_OUTPUTS)
        stride, outputs = large // count, small // count
        spans = [
            matrix[p * outputs : (p + 1) * outputs].abs().sum(0).nonzero().flatten()
            for p in range(count)
        ]
        lead = max(p * stride - int(span[0]) for p, span in enumerate(spans))
        tail = max(int(span[-1]) + 1 - (p + 1) * stride for p, span in enumerate(spans))
        width = lead + stride + tail
        padded = torch.nn.functional.pad(matrix, (max(lead, 0), max(tail, 0)))
        start = max(lead, 0) - lead
        weights = [
            padded[p * outputs : (p + 1) * outputs, start + p * stride :][:, :width]
            for p in range(count)
        ]
        return cls(stride, lead, torch.stack(weights))

    @property
    def width(self) -> int:
        return self.weights.shape[-1]


class Reducer:
    """Uᵀ g U for maps of one size: what the larger map of a pair is reduced to.

    Args:
        size: (height, width) of the maps.
        target: (height, width) to reduce to; at most the size.
        dtype, device: of the maps.
    """

    def __init__(
        self,
        size: tuple[int, int],
        target: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.size, self.target = size, target
        rows = bilinear_matrix(target[0], size[0]).T
        self._windows = _Windows.of(rows)
        self._rows = self._windows.weights.to(device, dtype)
        self._cols = bilinear_matrix(target[1], size[1]).T.to(device, dtype).contiguous()
        self._repeated = self._rows

    @property
    def guard(self) -> int:
        """Finite values that must lie before and after the maps in memory: windows overlap them."""
        return (self._windows.width + abs(self._windows.lead)) * self.size[1]

    def reduce(self, maps: Tensor) -> Tensor:
        """Reduce both axes.

        Args:
            maps: [m, h, w], contiguous, with `guard` finite values around them in their storage.

        Returns:
            [m, target h, target w], contiguous.
        """
        m = maps.shape[0]
        rows = maps if self.target[0] == self.size[0] else self._reduce_rows(maps)
        if self.target[1] == self.size[1]:
            return rows
        flat = multiply(rows.reshape(m * self.target[0], self.size[1]), self._cols)
        return flat.view(m, *self.target)

    def _reduce_rows(self, maps: Tensor) -> Tensor:
        m, _, width = maps.shape
        windows = self._windows
        count = windows.weights.shape[0]
        # Windows of consecutive maps lie at one stride as count · stride = h, so that all of them
        # are one batch of small products; 5 times fewer operations than the dense matrix.
        overlapping = maps.as_strided(
            (m * count, windows.width, width),
            (windows.stride * width, width, 1),
            maps.storage_offset() - windows.lead * width,
        )
        return torch.bmm(self._weights(m), overlapping).view(m, self.target[0], width)

    def _weights(self, m: int) -> Tensor:
        count = self._rows.shape[0]
        if self._repeated.shape[0] < m * count:
            self._repeated = self._rows.repeat(m, 1, 1)
        return self._repeated[: m * count]


# Offsets (rows, columns) of the pairs of neighbours that UᵀU, being tridiagonal, couples.
_LAGS = ((0, 0), (0, 1), (1, -1), (1, 0), (1, 1))


def _gram(n_in: int, n_out: int) -> Tensor:
    matrix = bilinear_matrix(n_in, n_out)
    return matrix.T @ matrix


class SecondMoments:
    """Σ over the common grid of the squared upsampled map, without upsampling: ⟨d, A d B⟩.

    Args:
        size: (height, width) of the maps.
        grids: (height, width) of the common grids, each at least the size.
        dtype, device: of the maps.
    """

    def __init__(
        self,
        size: tuple[int, int],
        grids: tuple[tuple[int, int], ...],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.size, self.grids = size, grids
        per_lag = [torch.stack([_lag_weights(size, g, lag) for g in grids], 1) for lag in _LAGS]
        kept = [(lag, w) for lag, w in zip(_LAGS, per_lag, strict=True) if bool(w.any())]
        self._shifts = [dy * size[1] + dx for (dy, dx), _ in kept]
        self._weights = [w.to(device, dtype) for _, w in kept]
        self._native_only = grids == (size,)

    def of(self, maps: Tensor, scratch: Tensor) -> Tensor:
        """Second moments of every map.

        Args:
            maps: [m, h, w], contiguous and finite.
            scratch: flat, at least as long as the maps, same dtype; overwritten.

        Returns:
            [m, grids], float64.
        """
        m = maps.shape[0]
        if self._native_only:
            return self._native(maps)[:, None]
        flat, n = maps.reshape(-1), maps.numel()
        product = scratch[:n]
        total: Tensor | None = None
        for shift, weights in zip(self._shifts, self._weights, strict=True):
            torch.mul(flat[: n - shift], flat[shift:], out=product[: n - shift])
            product[n - shift :].zero_()
            part = product.view(m, -1) @ weights
            total = part if total is None else total.add_(part)
        if total is None:
            raise ValueError("there is no common grid to take moments on")
        return total.double()

    def _native(self, maps: Tensor) -> Tensor:
        # Norms of short rows, then float64: one float32 norm over 65k values is off by 2e-5, and
        # sums that convert to float64 on the way are 15 times slower.
        m, height, width = maps.shape
        shape = (m, height, width) if height * width > 4096 else (m, 1, height * width)
        norms = torch.linalg.vector_norm(maps.view(shape), dim=-1)
        return norms.double().square_().sum(1)


def _lag_weights(size: tuple[int, int], grid: tuple[int, int], lag: tuple[int, int]) -> Tensor:
    """Weights [h·w] of the products of every position with its neighbour at `lag`."""
    rows = torch.diagonal(_gram(size[0], grid[0]), lag[0])
    cols = torch.diagonal(_gram(size[1], grid[1]), lag[1])
    weights = torch.zeros(size, dtype=torch.float64)
    left = max(0, -lag[1])
    # Each pair of different positions occurs twice in the quadratic form.
    factor = 1.0 if lag == (0, 0) else 2.0
    weights[: rows.numel(), left : left + cols.numel()] = factor * rows[:, None] * cols[None, :]
    return weights.flatten()


def position_weights(size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """What every position of a map weighs in the sum over the common grid: [h, w], float64."""
    rows = bilinear_matrix(size[0], grid[0]).sum(0)
    cols = bilinear_matrix(size[1], grid[1]).sum(0)
    return rows[:, None] * cols[None, :]
