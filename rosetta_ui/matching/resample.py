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

# Windows pay where the map becomes much smaller; products with up to 16 columns cost the same.
_MIN_RATIO, _MAX_COLUMNS = 2, 16
# Batches of thinner products than this lose more than the operations that they save.
_MIN_ROWS_WIDTH = 16


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
class _Axis:
    """Uᵀ [small, large] of one axis, cut into windows.

    Uᵀ is banded and repeats itself: with `count` dividing both sides, each window of `width` input
    positions reaches its own `outputs` output positions and one more on either side, with the same
    weights in every window. What the windows share is added by `fold`.

    Attributes:
        count: windows; 1 keeps the dense matrix.
        weights: [outputs + 2, width], or the whole [small, large].
        fold: [small, count · (outputs + 2)] adds shared outputs up; what falls off either end
            belongs to the last position there, as bilinear sampling repeats the border.
    """

    count: int
    weights: Tensor
    fold: Tensor | None

    @classmethod
    def of_rows(cls, small: int, large: int, like: Tensor) -> _Axis:
        """The axis along which a batch of small products runs."""
        fitting = [c for c in _divisors(small, large) if large // c >= _MIN_ROWS_WIDTH]
        return cls.of(small, large, max(fitting, default=1), like)

    @classmethod
    def of_cols(cls, small: int, large: int, like: Tensor) -> _Axis:
        """The axis along which one tall product runs."""
        fitting = [c for c in _divisors(small, large) if small // c + 2 <= _MAX_COLUMNS]
        pays = small > _MAX_COLUMNS and large > _MIN_RATIO * small
        return cls.of(small, large, min(fitting, default=1) if pays else 1, like)

    @classmethod
    def of(cls, small: int, large: int, count: int, like: Tensor) -> _Axis:
        """The axis in so many windows; `like` says dtype and device."""
        dtype, device = like.dtype, like.device
        matrix = bilinear_matrix(small, large).T
        if count == 1:
            return cls(1, matrix.to(device, dtype).contiguous(), None)
        outputs, width = small // count, large // count
        position = ((torch.arange(width) + 0.5).double() * (small / large)) - 0.5
        output = torch.arange(-1, outputs + 1).double()
        weights = (1 - (position[None, :] - output[:, None]).abs()).clamp(min=0)
        fold = torch.zeros(small, count, outputs + 2, dtype=torch.float64)
        for window in range(count):
            for i in range(outputs + 2):
                fold[min(max(window * outputs + i - 1, 0), small - 1), window, i] = 1
        return cls(count, weights.to(device, dtype), fold.flatten(1).to(device, dtype))

    @property
    def outputs(self) -> int:
        """Of all windows, before folding."""
        return self.count * self.weights.shape[0]


def _divisors(a: int, b: int) -> list[int]:
    """Divisors of both."""
    common = math.gcd(a, b)
    return [c for c in range(1, common + 1) if common % c == 0]


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
        like = torch.empty(0, dtype=dtype, device=device)
        self._rows = self._cols = None
        if target[0] != size[0]:
            self._rows = _Axis.of_rows(target[0], size[0], like)
        if target[1] != size[1]:
            self._cols = _Axis.of_cols(target[1], size[1], like)

    def reduce(self, maps: Tensor) -> Tensor:
        """Reduce both axes.

        Args:
            maps: [m, h, w], contiguous.

        Returns:
            [m, target h, target w], contiguous; the maps themselves where nothing is to do.
        """
        m, height, width = maps.shape
        # Columns first: their windows are rows of one tall matrix, the fastest product there is.
        # Together 1.0 ns a value for 256 → 56, 28, 14 and 7 on one core; dense matrices 1.6.
        if self._cols is not None:
            axis = self._cols
            windows = maps.view(m * height * axis.count, width // axis.count)
            maps = multiply(windows, axis.weights).view(m, height, axis.outputs)
        if self._rows is not None:
            maps = _reduce_rows(maps, self._rows)
        if self._cols is not None and self._cols.fold is not None:
            maps = multiply(maps.reshape(-1, self._cols.outputs), self._cols.fold)
        return maps.view(m, *self.target)


def _reduce_rows(maps: Tensor, axis: _Axis) -> Tensor:
    m, height, width = maps.shape
    windows = maps.view(m * axis.count, height // axis.count, width)
    reduced = torch.bmm(axis.weights.expand(len(windows), -1, -1), windows)
    if axis.fold is None:
        return reduced
    parts = reduced.view(m, axis.count, -1, width)
    folded = parts[:, :, 1:-1].contiguous()
    folded[:, 1:, 0] += parts[:, :-1, -1]
    folded[:, :-1, -1] += parts[:, 1:, 0]
    folded[:, 0, 0] += parts[:, 0, 0]
    folded[:, -1, -1] += parts[:, -1, -1]
    return folded.view(m, -1, width)


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
        self._weights = [w.T.contiguous().to(device, dtype) for _, w in kept]
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
            part = multiply(product.view(m, -1), weights)
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
