"""The published score against its plain definition in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rosetta_ui.matching.buddies import published
from rosetta_ui.matching.passes import CorrelationPass
from rosetta_ui.matching.published import BatchMeans, PublishedPass
from tests.matching.reference import Maps, published_scores, random_maps, specs

N = 22
LAYERS = {
    "a": specs("a", [(5, 16, 16), (4, 7, 12), (6, 4, 4)]),
    "b": specs("b", [(4, 8, 8), (6, 5, 14)]),
}


def both(mean: float = 1.0) -> dict[str, dict[str, torch.Tensor]]:
    return {m: random_maps(s, N, i, mean=mean) for i, (m, s) in enumerate(LAYERS.items())}


def batches(maps: Maps, size: int, start: int = 0) -> list[tuple[Maps, int]]:
    return [
        ({m: {k: v[i : i + size] for k, v in x.items()} for m, x in maps.items()}, i)
        for i in range(start, N, size)
    ]


def new(maps: Maps, batch_size: int, dtype: torch.dtype, fed: int) -> PublishedPass:
    means = BatchMeans(LAYERS, n_images=N, batch_size=batch_size)
    first = CorrelationPass(LAYERS, [("a", "b")], n_images=N)
    for batch, i in batches(maps, fed):
        means.add(batch, i)
        first.add(batch, i)
    tables = first.finish()["a", "b"]
    return PublishedPass(
        LAYERS,
        [("a", "b")],
        n_images=N,
        batch_size=batch_size,
        means=means.finish(),
        dead={"a": tables.dead_rows(), "b": tables.dead_cols()},
        dtype=dtype,
    )


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("mean", [0.0, 1.0, 100.0, 1000.0])
@pytest.mark.parametrize(("batch_size", "fed"), [(4, 4), (11, 11), (10, 3), (22, 5), (1, 8)])
def test_published_scores_equal_the_definition(
    batch_size: int, fed: int, mean: float, dtype: torch.dtype, bound: float
) -> None:
    maps = both(mean)
    run = new(maps, batch_size, dtype, fed)
    for batch, i in batches(maps, fed):
        run.add(batch, i)
    got = run.finish()["a", "b"].scores("published")
    rows, cols = list(maps["a"].values()), list(maps["b"].values())
    expected = published_scores(rows, cols, batch_size)
    assert float((got.double() - expected).abs().max()) <= bound


def test_the_published_rule_finds_the_same_pairs_as_the_definition() -> None:
    maps = both()
    run = new(maps, 4, torch.float32, 4)
    for batch, i in batches(maps, 4):
        run.add(batch, i)
    found = run.finish()["a", "b"].neighbours("published", 5)
    expected = published_scores(list(maps["a"].values()), list(maps["b"].values()), 4).numpy()
    assert found.row_index[:, 0].tolist() == expected.argmax(1).tolist()
    assert found.col_index.tolist() == np.argsort(-expected.T, 1)[:, :5].tolist()
    assert published(found, 5).rows.size > 0


def test_a_unit_that_vanishes_in_one_batch_counts_as_zero_there() -> None:
    maps = both()
    maps["b"]["a"][:4, 0] = 0
    maps["b"]["a"][4:, 0] -= maps["b"]["a"][4:, 0].mean()
    # Means of batches of unequal sizes: make the centre exactly 0, so that the first is 0/0.
    means = BatchMeans(LAYERS, n_images=N, batch_size=4)
    for batch, i in batches(maps, 4):
        means.add(batch, i)
    centres = means.finish()
    centres["b"][0] = 0
    dead = {m: np.zeros(sum(s.channels for s in x), dtype=bool) for m, x in LAYERS.items()}
    run = PublishedPass(LAYERS, [("a", "b")], n_images=N, batch_size=4, means=centres, dead=dead)
    for batch, i in batches(maps, 4):
        run.add(batch, i)
    table = run.finish()["a", "b"].scores("published")
    assert not table.isnan().any()
    assert float(table[:, 0].abs().max()) < 5 / 6 + 1e-6


def test_dead_units_never_match_in_the_published_score_either() -> None:
    maps = both()
    maps["b"]["a"][:, 2] = 0.1
    run = new(maps, 4, torch.float32, 4)
    for batch, i in batches(maps, 4):
        run.add(batch, i)
    tables = run.finish()["a", "b"]
    assert np.flatnonzero(tables.dead_cols("published")).tolist() == [2]
    assert not (tables.neighbours("published", 9).row_index == 2).any()
    with pytest.raises(ValueError, match="no score 'pearson'"):
        tables.scores("pearson")


@pytest.mark.parametrize("stop", [3, 8, 12, 21])
def test_a_resumed_published_pass_ends_exactly_the_same(stop: int) -> None:
    maps = both()
    one, other = new(maps, 10, torch.float32, 3), new(maps, 10, torch.float32, 3)
    for batch, i in batches(maps, 3):
        if i < stop:
            one.add(batch, i)
    state = {key: value.clone() for key, value in one.state_dict().items()}
    other.load_state_dict(state)
    for batch, i in batches(maps, 3, one.count):
        one.add(batch, i)
        other.add(batch, i)
    assert torch.equal(*(x.finish()["a", "b"].scores("published") for x in (one, other)))


def test_images_out_of_order_or_missing_are_refused() -> None:
    maps = both()
    run = new(maps, 4, torch.float32, 4)
    with pytest.raises(ValueError, match="image 0 must come before image 4"):
        run.add(*batches(maps, 4)[1])
    run.add(*batches(maps, 4)[0])
    with pytest.raises(ValueError, match="4 of 22 images"):
        run.finish()
