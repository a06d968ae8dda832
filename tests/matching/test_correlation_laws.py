"""What must hold whatever the maps: batches, symmetry, affine changes, offsets, planted truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rosetta_ui.matching.passes import CorrelationPass
from rosetta_ui.matching.tables import PairTables
from rosetta_ui.types import LayerSpec
from tests.matching.reference import random_maps, specs

N = 19
A = specs("a", [(5, 12, 12), (4, 6, 6), (3, 3, 9)])
B = specs("b", [(4, 8, 8), (6, 5, 5)])
SETS = ("real", "null", "half0", "half1")


def match(
    layers: dict[str, tuple[LayerSpec, ...]],
    maps: dict[str, dict[str, Tensor]],
    pair: tuple[str, str] = ("a", "b"),
    batch: int = 4,
    dtype: torch.dtype = torch.float32,
) -> PairTables:
    n = next(iter(maps["a"].values())).shape[0]
    run = CorrelationPass(layers, [pair], n_images=n, dtype=dtype)
    for i in range(0, n, batch):
        run.add({m: {k: v[i : i + batch] for k, v in x.items()} for m, x in maps.items()}, i)
    return run.finish()[pair]


def both() -> dict[str, dict[str, Tensor]]:
    return {"a": random_maps(A, N, 1, mean=2.0), "b": random_maps(B, N, 2, mean=-1.0)}


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 8, 16, N])
def test_scores_do_not_depend_on_the_batch_size(batch: int) -> None:
    layers, maps = {"a": A, "b": B}, both()
    one, other = match(layers, maps, batch=5), match(layers, maps, batch=batch)
    for score in ("pearson", "centred"):
        for which in SETS:
            # float32: another pilot, other roundings.
            assert torch.allclose(one.scores(score, which), other.scores(score, which), atol=1e-6)


def test_the_table_is_the_transpose_when_the_models_change_places() -> None:
    layers, maps = {"a": A, "b": B}, both()
    one, other = match(layers, maps), match(layers, maps, ("b", "a"))
    for score in ("pearson", "centred"):
        for which in ("real", "half0", "half1"):
            assert torch.allclose(one.scores(score, which), other.scores(score, which).T, atol=1e-6)


def test_a_unit_correlates_with_itself_to_one() -> None:
    layers, maps = {"a": A}, {"a": random_maps(A, N, 1)}
    for score in ("pearson", "centred"):
        diagonal = match(layers, maps, ("a", "a")).scores(score).diagonal()
        assert torch.allclose(diagonal, torch.ones_like(diagonal), atol=1e-6)


def test_positive_affine_changes_of_a_unit_leave_its_scores_and_negative_ones_turn_them() -> None:
    layers, maps = {"a": A, "b": B}, both()
    before = match(layers, maps, dtype=torch.float64)
    factors = torch.tensor([3.0, 0.01, 100.0, 1.0, 7.0], dtype=torch.float64).view(1, 5, 1, 1)
    maps["a"] = {k: v.double() for k, v in maps["a"].items()}
    maps["a"]["a"] = maps["a"]["a"] * factors - 11 * factors
    after = match(layers, maps, dtype=torch.float64)
    turned = match(layers, maps | {"b": {k: -v for k, v in maps["b"].items()}}, dtype=torch.float64)
    for score in ("pearson", "centred"):
        assert torch.allclose(before.scores(score), after.scores(score), atol=1e-10)
        assert torch.allclose(before.scores(score), -turned.scores(score), atol=1e-10)


def test_scores_equal_numpy_corrcoef_at_an_offset_of_a_thousand_deviations() -> None:
    rng = np.random.default_rng(0)
    layers = {"a": specs("a", [(6, 7, 7)]), "b": specs("b", [(5, 7, 7)])}
    a = rng.standard_normal((N, 6, 7, 7))
    b = 0.5 * a[:, :5] + rng.standard_normal((N, 5, 7, 7))
    maps = {"a": {"a": torch.from_numpy(a + 1000).float()}}
    maps["b"] = {"a": torch.from_numpy(b - 1000).float()}
    flat = [m["a"].double().numpy().swapaxes(0, 1).reshape(-1, N * 49) for m in maps.values()]
    expected = np.corrcoef(*flat)[:6, 6:]
    assert np.abs(match(layers, maps).scores().numpy() - expected).max() < 1e-6


def test_the_shuffle_breaks_what_images_share_but_keeps_what_positions_share() -> None:
    layers = {"a": specs("a", [(8, 6, 6)]), "b": specs("b", [(8, 6, 6)])}
    images = torch.randn(64, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    layout = 2 * torch.randn(1, 8, 6, 6, generator=torch.Generator().manual_seed(1))
    maps = {m: {"a": images + layout} for m in layers}
    tables = match(layers, maps, batch=8)
    assert float(tables.scores("pearson").diagonal().min()) > 0.999
    assert float(tables.scores("pearson", "null").diagonal().mean()) > 0.5
    assert float(tables.scores("centred").diagonal().min()) > 0.999
    assert float(tables.scores("centred", "null").diagonal().abs().max()) < 0.1


@pytest.mark.parametrize("score", ["pearson", "centred"])
def test_a_permuted_noisy_copy_gives_back_the_permutation(score: str) -> None:
    generator = torch.Generator().manual_seed(3)
    permutation = torch.randperm(30, generator=generator)
    layers = {"a": specs("a", [(30, 16, 16)]), "b": specs("b", [(30, 7, 7)])}
    original = torch.randn(24, 30, 4, 4, generator=generator)
    copied = original[:, permutation] + 0.3 * torch.randn(24, 30, 4, 4, generator=generator)

    def enlarged(maps: Tensor, side: int) -> Tensor:
        return torch.nn.functional.interpolate(maps, size=(side, side), mode="bilinear")

    maps = {"a": {"a": enlarged(original, 16)}, "b": {"a": enlarged(copied, 7)}}
    found = match(layers, maps).neighbours(score, 1)
    assert found.col_index[:, 0].tolist() == permutation.tolist()
    assert found.row_index[found.col_index[:, 0], 0].tolist() == list(range(30))
