"""The neurons' term: equal to a plain loop over enlarged maps, in value and in gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rosetta_ui.editing.losses import correlation
from rosetta_ui.errors import EmptyMatchError
from rosetta_ui.inverting.guide import MOST_PAIRS, Guide, Pair, chosen_pairs
from rosetta_ui.inverting.neurons import Agreement
from rosetta_ui.types import LayerSpec, Unit

LAYERS = (
    LayerSpec("gan", "low", 6, (4, 6)),
    LayerSpec("gan", "high", 5, (16, 16)),
)
SIZES = {"net": {"fine": (28, 28), "mid": (8, 12), "odd": (7, 7)}, "vit": {"tokens": (16, 16)}}


def guide_and_maps(seed: int = 0) -> tuple[Guide, dict[str, dict[str, Tensor]]]:
    rng = np.random.default_rng(seed)
    pairs = tuple(
        Pair(
            Unit("gan", spec.name, int(rng.integers(spec.channels))),
            Unit(model, layer, int(rng.integers(4))),
            float(rng.random()),
        )
        for spec in LAYERS
        for model, layers in SIZES.items()
        for layer in layers
        for _ in range(3)
    )
    order = rng.permutation(len(pairs))
    channels = {"gan": {spec.name: spec.channels for spec in LAYERS}}
    channels |= {model: dict.fromkeys(layers, 4) for model, layers in SIZES.items()}
    mean = {
        m: {n: rng.normal(1, 1, c).astype(np.float32) for n, c in each.items()}
        for m, each in channels.items()
    }
    deviation = {
        m: {n: rng.uniform(0.5, 2, c).astype(np.float32) for n, c in each.items()}
        for m, each in channels.items()
    }
    stream = torch.Generator().manual_seed(seed)
    seen = {
        model: {n: 2 + torch.randn(1, 4, *size, generator=stream) for n, size in layers.items()}
        for model, layers in SIZES.items()
    }
    return Guide("made", tuple(pairs[int(i)] for i in order), mean, deviation), seen


def plainly(guide: Guide, seen: dict[str, dict[str, Tensor]], maps: dict[str, Tensor]) -> Tensor:
    """Every pair by itself, both maps enlarged to their common grid: [n, pairs]."""
    found: list[Tensor] = []
    for pair in guide.pairs:
        u, v = pair.unit, pair.partner
        own = maps[u.layer][:, u.channel] - float(guide.mean[u.model][u.layer][u.channel])
        own = own / float(guide.deviation[u.model][u.layer][u.channel])
        theirs = seen[v.model][v.layer][0, v.channel]
        theirs = theirs - float(guide.mean[v.model][v.layer][v.channel])
        theirs = theirs / float(guide.deviation[v.model][v.layer][v.channel])
        size = [max(a, b) for a, b in zip(own.shape[-2:], theirs.shape[-2:], strict=True)]
        large = [
            functional.interpolate(m[:, None], size=size, mode="bilinear", align_corners=False)
            for m in (own, theirs[None])
        ]
        found.append(correlation(large[0], large[1][:, 0])[:, 0])
    return torch.stack(found, 1)


def leaf_maps(n: int) -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(9)
    return {
        spec.name: torch.randn(n, spec.channels, *spec.size, generator=stream).requires_grad_(True)
        for spec in LAYERS
    }


def test_every_pair_equals_a_plain_loop_over_enlarged_maps() -> None:
    guide, seen = guide_and_maps()
    agreement, maps = Agreement(guide, LAYERS, seen), leaf_maps(3)
    torch.testing.assert_close(agreement.each(maps), plainly(guide, seen, maps), atol=2e-6, rtol=0)
    torch.testing.assert_close(agreement(maps), agreement.each(maps).mean(1))


def test_gradients_equal_those_of_the_plain_loop() -> None:
    guide, seen = guide_and_maps(1)
    agreement, maps = Agreement(guide, LAYERS, seen), leaf_maps(2)
    ours = torch.autograd.grad(agreement(maps).sum(), list(maps.values()))
    plain = torch.autograd.grad(plainly(guide, seen, maps).mean(1).sum(), list(maps.values()))
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_a_map_that_agrees_perfectly_has_correlation_one() -> None:
    guide, seen = guide_and_maps()
    pair = next(p for p in guide.pairs if p.unit.layer == "high" and p.partner.model == "vit")
    one = Guide(guide.result, (pair,), guide.mean, guide.deviation)
    v, u = pair.partner, pair.unit
    theirs = seen[v.model][v.layer][0, v.channel] - float(guide.mean["vit"][v.layer][v.channel])
    maps = {s.name: torch.zeros(1, s.channels, *s.size) for s in LAYERS}
    maps[u.layer][0, u.channel] = 3 * theirs + float(guide.mean["gan"][u.layer][u.channel])
    assert float(Agreement(one, LAYERS, seen)(maps)) == pytest.approx(1, abs=1e-6)


def test_a_flat_map_gives_zero_and_no_undefined_gradient() -> None:
    guide, seen = guide_and_maps()
    maps = {
        s.name: torch.from_numpy(guide.mean["gan"][s.name])
        .view(1, -1, 1, 1)
        .repeat(1, 1, *s.size)
        .requires_grad_(True)
        for s in LAYERS
    }
    total = Agreement(guide, LAYERS, seen)(maps).sum()
    assert float(total.detach()) == 0
    for gradient in torch.autograd.grad(total, list(maps.values())):
        assert bool(gradient.isfinite().all())


def test_only_layers_that_hold_pairs_are_asked_for() -> None:
    guide, seen = guide_and_maps()
    low = Guide(
        "", tuple(p for p in guide.pairs if p.unit.layer == "low"), guide.mean, guide.deviation
    )
    assert [spec.name for spec in Agreement(low, LAYERS, seen).layers] == ["low"]


def test_pairs_of_dead_units_and_of_other_layers_are_left_out() -> None:
    alive = {"gan": {"a": np.array([1, 0], np.float32)}, "net": {"x": np.ones(900, np.float32)}}
    good = Pair(Unit("gan", "a", 0), Unit("net", "x", 0), 0.5)
    dead = Pair(Unit("gan", "a", 1), Unit("net", "x", 0), 0.9)
    other = Pair(Unit("gan", "b", 0), Unit("net", "x", 0), 0.9)
    assert chosen_pairs({"net": [dead, other, good]}, ["a"], alive) == (good,)
    with pytest.raises(EmptyMatchError, match="No matched pair"):
        chosen_pairs({"net": [dead]}, ["a"], alive)


def test_at_most_the_best_pairs_of_each_backbone_guide() -> None:
    alive = {"gan": {"a": np.ones(900, np.float32)}, "net": {"x": np.ones(900, np.float32)}}
    many = [Pair(Unit("gan", "a", i), Unit("net", "x", i), 1 - i / 1000) for i in range(900)]
    kept = chosen_pairs({"net": many}, ["a"], alive)
    assert len(kept) == MOST_PAIRS
    assert kept[0].score == 1
