"""The scores, written out plainly: upsample every pair of maps and correlate, in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rosetta_ui.types import LayerSpec

Maps = Mapping[str, Mapping[str, Tensor]]


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """[n, c, h, w] on a larger grid, in float64."""
    maps = maps.double()
    if tuple(maps.shape[-2:]) == size:
        return maps
    return functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def plain_scores(
    rows: Sequence[Tensor],
    cols: Sequence[Tensor],
    *,
    centred: bool = False,
    order: Sequence[int] | None = None,
) -> Tensor:
    """[units of rows, units of cols]: correlation over all images and positions of a common grid.

    Args:
        rows, cols: [n, c, h, w] of every layer.
        centred: remove each unit's mean map first, instead of its mean.
        order: image of the columns for each image of the rows.
    """
    table: list[Tensor] = []
    for row in rows:
        line: list[Tensor] = []
        for col in cols:
            size = (max(row.shape[2], col.shape[2]), max(row.shape[3], col.shape[3]))
            a, b = upsampled(row, size), upsampled(col if order is None else col[list(order)], size)
            dims = (0,) if centred else (0, 2, 3)
            a, b = a - a.mean(dims, keepdim=True), b - b.mean(dims, keepdim=True)
            product = torch.einsum("aixy,ajxy->ij", a, b)
            norm_a, norm_b = a.square().sum((0, 2, 3)), b.square().sum((0, 2, 3))
            line.append(product / torch.sqrt(norm_a[:, None] * norm_b[None, :]))
        table.append(torch.cat(line, 1))
    return torch.cat(table, 0)


def published_scores(rows: Sequence[Tensor], cols: Sequence[Tensor], batch_size: int) -> Tensor:
    """Mean over batches of the cosine about the mean of the batch means; NaN becomes 0."""
    n = rows[0].shape[0]
    batches = [slice(i, min(i + batch_size, n)) for i in range(0, n, batch_size)]

    def about_mean(maps: Tensor) -> Tensor:
        maps = maps.double()
        means = torch.stack([maps[b].mean((0, 2, 3)) for b in batches]).mean(0)
        return maps - means[None, :, None, None]

    rows, cols = [about_mean(m) for m in rows], [about_mean(m) for m in cols]
    total = torch.zeros(sum(m.shape[1] for m in rows), sum(m.shape[1] for m in cols)).double()
    for batch in batches:
        table: list[Tensor] = []
        for row in rows:
            line: list[Tensor] = []
            for col in cols:
                size = (max(row.shape[2], col.shape[2]), max(row.shape[3], col.shape[3]))
                a, b = upsampled(row[batch], size), upsampled(col[batch], size)
                product = torch.einsum("aixy,ajxy->ij", a, b)
                norm_a, norm_b = a.square().sum((0, 2, 3)), b.square().sum((0, 2, 3))
                line.append(product / torch.sqrt(norm_a[:, None] * norm_b[None, :]))
            table.append(torch.cat(line, 1))
        total += torch.cat(table, 0).nan_to_num(nan=0.0)
    return total / len(batches)


def specs(model: str, shapes: Sequence[tuple[int, int, int]]) -> tuple[LayerSpec, ...]:
    """Layers named a, b, c … of (channels, height, width)."""
    return tuple(
        LayerSpec(model, chr(ord("a") + i), c, (h, w)) for i, (c, h, w) in enumerate(shapes)
    )


def random_maps(
    layers: Sequence[LayerSpec], n: int, seed: int, *, mean: float = 0.0, std: float = 1.0
) -> dict[str, Tensor]:
    """Smooth maps that share something between all layers of an image, float32."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(999).standard_normal((n, 1, 5, 5))
    maps: dict[str, Tensor] = {}
    for spec in layers:
        field = functional.interpolate(
            torch.from_numpy(common), size=spec.size, mode="bilinear", align_corners=False
        )
        own = torch.from_numpy(rng.standard_normal((n, spec.channels, *spec.size)))
        weight = torch.from_numpy(rng.standard_normal((1, spec.channels, 1, 1)))
        layout = torch.from_numpy(rng.standard_normal((1, spec.channels, *spec.size)))
        values = weight * field + 0.5 * own + 0.5 * layout
        maps[spec.name] = (mean + std * values).float()
    return maps
