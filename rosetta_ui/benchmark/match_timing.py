"""The measurements behind one row of `bench match`, in one process, ours and theirs by turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rosetta_ui.benchmark.baseline_published import Stopwatch, published_match
from rosetta_ui.benchmark.machine import seconds
from rosetta_ui.benchmark.match_cases import Case, Networks, PlainRun
from rosetta_ui.matching.buddies import published
from rosetta_ui.matching.correlation import PairSums, SlotRange
from rosetta_ui.matching.layout import model_layouts
from rosetta_ui.matching.neighbours import Neighbours
from rosetta_ui.matching.passes import CorrelationPass
from rosetta_ui.matching.published import BatchMeans, PublishedPass
from rosetta_ui.matching.sources import Maps

BLOCK = 8
_SAMPLED = 8


@dataclass
class Times:
    """Shortest seconds an image of every part, over the repetitions."""

    parts: dict[str, float] = field(default_factory=dict[str, float])

    def put(self, part: str, value: float) -> None:
        """Keep the shortest."""
        self.parts[part] = min(value, self.parts.get(part, value))

    def __getitem__(self, part: str) -> float:
        return self.parts[part]


def time_case(case: Case, networks: Networks, repetitions: int) -> Times:
    """Run a case by turns: our networks and sums, then the published algorithm.

    Parts: networks, sums, sums_with_null, finish, plain, plain_networks (an image each, but for
    finish, which is once a run).
    """
    times = Times()
    for repetition in range(repetitions):
        first = 2 * BLOCK * repetition
        # The first block takes the pilot, makes every shape's kernel and faults the tables in.
        warm, drawn = (_draw(networks, case, at, times) for at in (first, first + BLOCK))
        for name, extras in (("sums", False), ("sums_with_null", True)):
            _time_sums(networks, name, extras, (warm, drawn), times)
        del warm, drawn
        # With the tables of five backbones still there, this would not fit into 24 GiB.
        _time_plain(case, networks, _batches(first, case.batch)[0], times)
    return times


_Drawn = list[tuple[Maps, int]]


def _draw(networks: Networks, case: Case, first: int, times: Times) -> _Drawn:
    drawn: _Drawn = []
    batches = _batches(first, case.batch)
    times.put(
        "networks", seconds(lambda: drawn.extend((networks.maps(i), i[0]) for i in batches)) / BLOCK
    )
    return drawn


def _time_sums(
    networks: Networks, name: str, extras: bool, drawn: tuple[_Drawn, _Drawn], times: Times
) -> None:
    run = CorrelationPass(
        networks.layers, networks.pairs, n_images=1600, null=extras, halves=extras
    )
    # A run counts its images from 0.
    spent = [
        seconds(lambda b=block, at=at: [run.add(maps, at + i - b[0][1]) for maps, i in b])
        for at, block in zip((0, BLOCK), drawn, strict=True)
    ]
    times.put(name, spent[1] / BLOCK)
    if extras:
        tables = run.finish()
        times.put("finish", seconds(lambda: [t.neighbours("pearson", 32) for t in tables.values()]))


def _batches(first: int, size: int) -> list[range]:
    return [range(i, i + size) for i in range(first, first + BLOCK, size)]


def _time_plain(case: Case, networks: Networks, images: range, times: Times) -> None:
    correlation = forwards = statistics = 0.0
    for run in case.plain:
        watch = Stopwatch()
        published_match(lambda r=run: [networks.plain_maps(images, r)], watch)
        # The statistics hardly depend on how many layers the backbone has.
        correlation += run.times * watch.matching * networks.share(run)
        statistics += run.times * watch.statistics
        forwards += run.times * watch.networks
    times.put("plain", (correlation + statistics) / len(images))
    times.put("plain_networks", forwards / len(images))


def product_speed(networks: Networks, *, blocks: int = 3) -> tuple[float, float]:
    """Operations of the sums of products of one image, and their speed when run alone."""
    layouts = model_layouts(networks.layers, networks.pairs)
    stores = {
        model: {
            target: torch.randn(group.units, BLOCK, group.positions)
            for target, group in layout.groups.items()
        }
        for model, layout in layouts.items()
    }
    operations, best = 0, 0.0
    for a, b in networks.pairs:
        sums = PairSums(layouts[a], layouts[b], ("real",), lambda _, shape: torch.zeros(shape))
        ranges = [SlotRange("real", slice(0, BLOCK))]
        operations += sum(
            2
            * (r.rows.stop - r.rows.start)
            * (r.cols.stop - r.cols.start)
            * r.target[0]
            * r.target[1]
            for r in sums.rectangles
        )
        work = partial(sums.add, stores[a], stores[b], ranges)
        best += min(seconds(work) for _ in range(blocks))
    return float(operations), operations * BLOCK / best


def largest_error(case: Case, networks: Networks) -> float:
    """Ours against Pearson's definition in float64, on some units of every pair of layers."""
    run = CorrelationPass(networks.layers, networks.pairs, n_images=BLOCK, null=False)
    parts: dict[str, dict[str, list[Tensor]]] = {}
    for images in _batches(0, case.batch):
        maps = networks.maps(images)
        run.add(maps, images[0])
        for model, layers in maps.items():
            for layer, values in layers.items():
                kept = values[:, :_SAMPLED].double()
                parts.setdefault(model, {}).setdefault(layer, []).append(kept)
    sampled = {m: {k: torch.cat(v) for k, v in x.items()} for m, x in parts.items()}
    tables = run.finish()
    return max(
        _sampled_error(networks, pair, tables[pair].scores(), sampled) for pair in networks.pairs
    )


def _sampled_error(
    networks: Networks,
    pair: tuple[str, str],
    table: Tensor,
    sampled: Mapping[str, Mapping[str, Tensor]],
) -> float:
    worst, top = 0.0, 0
    for row in networks.layers[pair[0]]:
        left = 0
        for col in networks.layers[pair[1]]:
            expected = _definition(sampled[pair[0]][row.name], sampled[pair[1]][col.name])
            got = table[top : top + row.channels, left : left + col.channels]
            got = got[:_SAMPLED, :_SAMPLED].double()
            error = (got - expected).abs()[got.isfinite() & expected.isfinite()]
            worst = max(worst, float(error.max()) if error.numel() else 0.0)
            left += col.channels
        top += row.channels
    return worst


def _definition(a: Tensor, b: Tensor) -> Tensor:
    size = max(a.shape[2], b.shape[2]), max(a.shape[3], b.shape[3])
    a, b = (functional.interpolate(x, size=size, mode="bilinear") for x in (a, b))
    a, b = (x - x.mean((0, 2, 3), keepdim=True) for x in (a, b))
    product = torch.einsum("aixy,ajxy->ij", a, b)
    norms = a.square().sum((0, 2, 3))[:, None] * b.square().sum((0, 2, 3))[None, :]
    return product / norms.sqrt()


@dataclass(frozen=True)
class Compatible:
    """The published-compatible scores beside the published ones.

    Attributes:
        seconds: ours, an image, both passes, without the networks.
        max_error: largest difference of a score.
        pairs: that the published rule with K = 5 finds.
        other_pairs: found in one of the two only.
    """

    seconds: float
    max_error: float
    pairs: int
    other_pairs: int


def compare_published(case: Case, networks: Networks, run: PlainRun) -> Compatible:
    """Run both on two batches of the same images."""
    batches = [range(i, i + case.batch) for i in (0, case.batch)]
    theirs = published_match(lambda: (networks.plain_maps(b, run) for b in batches))
    pair = next(p for p in networks.pairs if p[1] == run.backbone)
    layers = {model: networks.layers[model] for model in pair}
    n = 2 * case.batch
    means = BatchMeans(layers, n_images=n, batch_size=case.batch)
    first = CorrelationPass(layers, [pair], n_images=n, null=False, halves=False)
    spent = 0.0
    for images in batches:
        maps = networks.maps(images)
        spent += seconds(lambda m=maps, i=images: means.add(m, i[0]))
        spent += seconds(lambda m=maps, i=images: first.add(m, i[0]))
    found = first.finish()[pair]
    second = PublishedPass(
        layers,
        [pair],
        n_images=n,
        batch_size=case.batch,
        means=means.finish(),
        dead={pair[0]: found.dead_rows(), pair[1]: found.dead_cols()},
    )
    for images in batches:
        maps = networks.maps(images)
        spent += seconds(lambda m=maps, i=images: second.add(m, i[0]))
    tables = second.finish()[pair]
    ours = tables.scores("published")
    alive = ours.isfinite()
    mine = _pairs(tables.neighbours("published", 5))
    other = _pairs(_neighbours(theirs.masked_fill(~alive, -torch.inf), 5))
    return Compatible(
        spent / n, float((ours - theirs)[alive].abs().max()), len(other), len(mine ^ other)
    )


def _pairs(neighbours: Neighbours) -> set[tuple[int, int]]:
    found = published(neighbours, 5)
    return set(zip(found.rows.tolist(), found.cols.tolist(), strict=True))


def _neighbours(table: Tensor, k: int) -> Neighbours:
    sides: list[NDArray[Any]] = []
    for lines in (table, table.T):
        score, index = lines.topk(k, dim=1)
        sides += [torch.where(score.isneginf(), -1, index).int().numpy(), score.numpy()]
    return Neighbours(*sides)
