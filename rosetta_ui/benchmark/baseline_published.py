"""The published matching, written plainly from its definition: what ours is measured against.

First pass: every unit's mean (in float64) and deviation per batch, averaged over batches. Second
pass, for every pair of layers: standardise both maps, upsample both to the larger size, multiply,
divide by the norms. As the means are float64, so is everything after them. Generator and backbone
run in both passes, and again for every further backbone.

Source: Dravid et al. 2023 (arXiv:2306.09346) and the definition of its released code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

_EPSILON = 1e-5

Batch = tuple[Sequence[Tensor], Sequence[Tensor]]
"""Maps [n, c, h, w] of every layer of the generator, and of the backbone."""


@dataclass
class Stopwatch:
    """Seconds of the published match.

    Attributes:
        statistics: of the first pass, without the networks.
        matching: of the second, without the networks.
        networks: of both passes.
    """

    statistics: float = 0.0
    matching: float = 0.0
    networks: float = 0.0

    @property
    def correlation(self) -> float:
        """Everything but the networks."""
        return self.statistics + self.matching


@dataclass
class _Moments:
    means: list[Tensor] = field(default_factory=list[Tensor])
    variances: list[Tensor] = field(default_factory=list[Tensor])


def published_match(
    batches: Callable[[], Iterable[Batch]], watch: Stopwatch | None = None
) -> Tensor:
    """Scores [units of the generator, units of the backbone], float32.

    Args:
        batches: runs the networks; called once a pass.
        watch: filled with the time that each part took.

    Raises:
        ValueError: there are no batches.
    """
    watch = watch or Stopwatch()
    moments = _statistics(batches, watch)
    tables: list[Tensor] = []
    for generator, backbone in _timed(batches, watch):
        begun = time.perf_counter()
        rows = [
            torch.cat(
                [_layer_scores(a, b, m, n) for b, n in zip(backbone, moments[1], strict=True)], 1
            )
            for a, m in zip(generator, moments[0], strict=True)
        ]
        tables.append(torch.cat(rows, 0).float())
        watch.matching += time.perf_counter() - begun
    return torch.stack(tables).mean(0)


def _timed(batches: Callable[[], Iterable[Batch]], watch: Stopwatch) -> Iterable[Batch]:
    begun = time.perf_counter()
    source = iter(batches())
    while True:
        batch = next(source, None)
        watch.networks += time.perf_counter() - begun
        if batch is None:
            return
        yield batch
        begun = time.perf_counter()


def _statistics(
    batches: Callable[[], Iterable[Batch]], watch: Stopwatch
) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    """(Mean, deviation) [1, c, 1, 1] of every layer of both networks."""
    found: list[list[_Moments]] = []
    for batch in _timed(batches, watch):
        begun = time.perf_counter()
        if not found:
            found = [[_Moments() for _ in layers] for layers in batch]
        for layers, moments in zip(batch, found, strict=True):
            for maps, moment in zip(layers, moments, strict=True):
                flat = maps.transpose(0, 1).flatten(1)
                moment.means.append(flat.mean(1, dtype=torch.float64)[None, :, None, None])
                moment.variances.append(flat.std(1).square()[None, :, None, None])
        watch.statistics += time.perf_counter() - begun
    if not found:
        raise ValueError("there are no batches")
    generator, backbone = (
        [(torch.stack(m.means).mean(0), torch.stack(m.variances).mean(0).sqrt()) for m in moments]
        for moments in found
    )
    return generator, backbone


def _layer_scores(
    a: Tensor, b: Tensor, moments_a: tuple[Tensor, Tensor], moments_b: tuple[Tensor, Tensor]
) -> Tensor:
    size = max(a.shape[2], b.shape[2]), max(a.shape[3], b.shape[3])
    a, b = (
        functional.interpolate((x - mean) / (deviation + _EPSILON), size=size, mode="bilinear")
        for x, (mean, deviation) in ((a, moments_a), (b, moments_b))
    )
    product = torch.einsum("aixy,ajxy->ij", a, b)
    norms = torch.einsum("aixy->i", a**2), torch.einsum("ajxy->j", b**2)
    scores = product / torch.sqrt(torch.einsum("i,j->ij", *norms))
    return scores.nan_to_num_(nan=0.0, posinf=torch.inf, neginf=-torch.inf)
