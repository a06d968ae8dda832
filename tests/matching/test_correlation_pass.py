"""The one pass against the plain definition in float64: sizes, offsets, sets, dead units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from rosetta_ui.matching.neighbours import Which
from rosetta_ui.matching.passes import CorrelationPass
from rosetta_ui.types import LayerSpec
from tests.matching.reference import plain_scores, random_maps, specs

BOUNDS = {torch.float32: 1e-5, torch.float64: 1e-12}
N = 10


def square(model: str, sides: Sequence[int]) -> tuple[LayerSpec, ...]:
    return specs(model, [(3 + i, side, side) for i, side in enumerate(sides)])


SIZES = {
    "tokens": (square("a", [7, 8, 14]), square("b", [16])),
    "small": (square("a", [16]), square("b", [7, 8, 14])),
    "style3": (square("a", [16, 36, 52, 84, 148, 256]), square("b", [56, 28, 14, 7])),
    "close": (square("a", [8]), square("b", [7])),
    "tiny": (square("a", [1, 2, 3]), square("b", [5, 13])),
    "not square": (
        specs("a", [(3, 16, 8), (4, 7, 12), (2, 9, 9), (3, 1, 6)]),
        specs("b", [(4, 9, 14), (3, 16, 3), (5, 7, 7)]),
    ),
    "unsorted": (square("a", [8, 4, 8, 2, 4]), square("b", [3, 9, 3, 9])),
}


def counted(
    layers: Mapping[str, Sequence[LayerSpec]],
    maps: Mapping[str, Mapping[str, Tensor]],
    batch: int = 4,
    **options: object,
) -> CorrelationPass:
    """A pass over all images of the maps."""
    models = tuple(layers)
    n = next(iter(maps[models[0]].values())).shape[0]
    options = {"pairs": [(models[0], models[1])], "n_images": n, **options}
    run = CorrelationPass(layers, **options)  # pyright: ignore[reportArgumentType]
    feed(run, maps, 0, n, batch)
    return run


def feed(
    run: CorrelationPass,
    maps: Mapping[str, Mapping[str, Tensor]],
    start: int,
    stop: int,
    batch: int,
) -> None:
    for i in range(start, stop, batch):
        end = min(stop, i + batch)
        run.add({m: {k: v[i:end] for k, v in x.items()} for m, x in maps.items()}, i)


def shuffled(run: CorrelationPass) -> list[int]:
    return [i for block in range(run.blocks.count) for i in run.blocks.partners(block)]


def half(run: CorrelationPass, number: int) -> list[int]:
    return [i for i in range(run.blocks.n_images) if run.blocks.half(i) == number]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mean", [0.0, 1.0, 100.0, 1000.0])
@pytest.mark.parametrize("sizes", SIZES)
def test_scores_equal_the_definition(sizes: str, mean: float, dtype: torch.dtype) -> None:
    a, b = SIZES[sizes]
    n = 4 if sizes == "style3" else N
    maps = {"a": random_maps(a, n, 1, mean=mean), "b": random_maps(b, n, 2, mean=mean)}
    run = counted({"a": a, "b": b}, maps, dtype=dtype)
    tables = run.finish()["a", "b"]
    sets: list[tuple[Which, list[int], list[int] | None]] = [
        ("real", list(range(n)), None),
        ("null", list(range(n)), shuffled(run)),
        ("half0", half(run, 0), None),
        ("half1", half(run, 1), None),
    ]
    for which, images, order in sets:
        rows = [m[images] for m in maps["a"].values()]
        cols = [m[images] for m in maps["b"].values()]
        for score in ("pearson", "centred"):
            expected = plain_scores(rows, cols, centred=score == "centred", order=order)
            error = (tables.scores(score, which).double() - expected).abs().max()
            assert float(error) <= BOUNDS[dtype], (which, score)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9, 17, 33, 41])
def test_every_number_of_images_is_split_and_shuffled_rightly(n: int) -> None:
    a, b = square("a", [4, 6]), square("b", [5])
    maps = {"a": random_maps(a, n, 1), "b": random_maps(b, n, 2)}
    run = counted({"a": a, "b": b}, maps, batch=5, dtype=torch.float64)
    tables = run.finish()["a", "b"]
    rows, cols = list(maps["a"].values()), list(maps["b"].values())
    assert tables.n_images == n
    assert torch.allclose(tables.scores(), plain_scores(rows, cols), atol=1e-12)
    assert tables.has_null == tables.has_halves == (n > 1)
    if n > 1:
        expected = plain_scores(rows, cols, order=shuffled(run))
        assert torch.allclose(tables.scores("pearson", "null"), expected, atol=1e-12)
        for number, which in enumerate(("half0", "half1")):
            images = half(run, number)
            expected = plain_scores([m[images] for m in rows], [m[images] for m in cols])
            assert torch.allclose(tables.scores("pearson", which), expected, atol=1e-12)  # pyright: ignore


def test_without_null_and_halves_the_scores_stay_and_the_rest_is_refused() -> None:
    a, b = square("a", [4, 6]), square("b", [5])
    maps = {"a": random_maps(a, N, 1), "b": random_maps(b, N, 2)}
    full = counted({"a": a, "b": b}, maps).finish()["a", "b"]
    bare = counted({"a": a, "b": b}, maps, null=False, halves=False).finish()["a", "b"]
    for score in ("pearson", "centred"):
        assert torch.allclose(bare.scores(score), full.scores(score), atol=1e-6)
    with pytest.raises(ValueError, match="no null"):
        bare.scores("pearson", "null")
    with pytest.raises(ValueError, match="no halves"):
        bare.neighbours("centred", 3, "half0")


def test_the_pass_takes_tokens_channels_last_maps_and_half_precision() -> None:
    a, b = square("a", [6]), square("b", [5])
    maps = {"a": random_maps(a, N, 1), "b": random_maps(b, N, 2)}
    expected = counted({"a": a, "b": b}, maps).finish()["a", "b"].scores()
    strided = {
        "a": {k: v.contiguous(memory_format=torch.channels_last) for k, v in maps["a"].items()},
        "b": {
            k: v.flatten(2).transpose(1, 2).contiguous().transpose(1, 2).reshape(v.shape)
            for k, v in maps["b"].items()
        },
    }
    assert torch.allclose(
        counted({"a": a, "b": b}, strided).finish()["a", "b"].scores(), expected, atol=1e-6
    )
    halved = {m: {k: v.half() for k, v in x.items()} for m, x in maps.items()}
    rows, cols = ([v.float() for v in halved[m].values()] for m in ("a", "b"))
    assert torch.allclose(
        counted({"a": a, "b": b}, halved).finish()["a", "b"].scores().double(),
        plain_scores(rows, cols),
        atol=1e-5,
    )


def test_several_pairs_share_one_pass_also_a_model_with_itself() -> None:
    layers = {"a": square("a", [4, 9]), "b": square("b", [5]), "c": square("c", [9, 2])}
    maps = {m: random_maps(s, N, i) for i, (m, s) in enumerate(layers.items())}
    pairs = [("a", "b"), ("a", "c"), ("b", "c"), ("b", "b")]
    tables = counted(layers, maps, pairs=pairs, dtype=torch.float64).finish()
    assert list(tables) == pairs
    for one, two in pairs:
        expected = plain_scores(list(maps[one].values()), list(maps[two].values()))
        assert torch.allclose(tables[one, two].scores(), expected, atol=1e-12)


def with_dead(
    n: int, value: float = 0.3
) -> tuple[dict[str, dict[str, Tensor]], dict[str, tuple[LayerSpec, ...]]]:
    """Channel 1 of b never varies; channel 2 has one map in every image."""
    layers = {"a": square("a", [6, 14]), "b": square("b", [5, 9])}
    maps = {m: random_maps(s, n, i) for i, (m, s) in enumerate(layers.items())}
    maps["b"]["a"][:, 1] = value
    maps["b"]["a"][:, 2] = maps["b"]["a"][:1, 2]
    return maps, layers


@pytest.mark.parametrize("value", [0.0, 0.3, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dead_units_are_marked_and_never_match(value: float, dtype: torch.dtype) -> None:
    maps, layers = with_dead(N, value)
    tables = counted(layers, maps, batch=3, dtype=dtype).finish()["a", "b"]
    assert np.flatnonzero(tables.dead_cols("pearson")).tolist() == [1]
    assert np.flatnonzero(tables.dead_cols("centred")).tolist() == [1, 2]
    assert not tables.dead_rows("pearson").any()
    for score, dead in (("pearson", [1]), ("centred", [1, 2])):
        for which in ("real", "null", "half0", "half1"):
            table = tables.scores(score, which)  # pyright: ignore[reportArgumentType]
            assert not table.isnan().any()
            assert torch.isneginf(table).any(0).nonzero().flatten().tolist() == dead
            found = tables.neighbours(score, 9, which)  # pyright: ignore[reportArgumentType]
            assert np.flatnonzero(found.dead_cols).tolist() == dead
            assert not np.isin(found.row_index, dead).any()


def test_a_unit_that_moves_once_at_the_end_is_alive() -> None:
    maps, layers = with_dead(N)
    maps["b"]["a"][-1, 1, 0, 0] += 1e-3
    tables = counted(layers, maps, batch=3).finish()["a", "b"]
    expected = plain_scores(list(maps["a"].values()), list(maps["b"].values()))
    assert not tables.dead_cols("pearson").any()
    assert torch.allclose(tables.scores().double(), expected, atol=1e-5)


@pytest.mark.parametrize("image", [0, 4, N - 1])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_unit_that_is_not_finite_is_dead_and_leaves_others_alone(
    value: float, image: int
) -> None:
    maps, layers = with_dead(N)
    maps["a"]["a"][image, 0] = value
    tables = counted(layers, maps).finish()["a", "b"]
    assert np.flatnonzero(tables.dead_rows("pearson")).tolist() == [0]
    table = tables.scores()
    assert not table.isnan().any()
    expected = plain_scores(
        [m[:, 1:] if k == "a" else m for k, m in maps["a"].items()], list(maps["b"].values())
    )
    alive = [0, *range(2, table.shape[1])]
    assert torch.allclose(table[1:, alive].double(), expected[:, alive], atol=1e-5)


def test_wrong_maps_are_refused_with_both_sides_stated() -> None:
    a, b = square("a", [4]), square("b", [5])
    maps = {"a": random_maps(a, N, 1), "b": random_maps(b, N, 2)}
    run = CorrelationPass({"a": a, "b": b}, [("a", "b")], n_images=N)
    with pytest.raises(ValueError, match="b/a are missing"):
        run.add({"a": maps["a"]}, 0)
    with pytest.raises(ValueError, match="declared"):
        run.add({"a": maps["a"], "b": maps["a"]}, 0)
    with pytest.raises(ValueError, match="different numbers of images"):
        run.add({"a": maps["a"], "b": {"a": maps["b"]["a"][:3]}}, 0)
    with pytest.raises(ValueError, match="image 2"):
        feed(run, maps, 2, 4, 2)
    feed(run, maps, 0, 3, 3)
    with pytest.raises(ValueError, match="image 3 must come before image 5"):
        feed(run, maps, 5, 6, 1)
    with pytest.raises(ValueError, match="incomplete"):
        run.finish()
    with pytest.raises(ValueError, match="no image"):
        CorrelationPass({"a": a, "b": b}, [("a", "b")], n_images=N).finish()
    with pytest.raises(ValueError, match="names 'c'"):
        CorrelationPass({"a": a, "b": b}, [("a", "c")], n_images=N)
    with pytest.raises(ValueError, match="at least one pair"):
        CorrelationPass({"a": a, "b": b}, [], n_images=N)
