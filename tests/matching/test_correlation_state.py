"""Stopping, going on, sharing the images between workers, and adding what they found."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rosetta_ui.errors import StaleCacheError
from rosetta_ui.matching.passes import CorrelationPass
from tests.matching.reference import random_maps, specs

N = 41  # five blocks, the last of 9
A = specs("a", [(5, 12, 12), (4, 6, 6)])
B = specs("b", [(4, 8, 8), (6, 5, 5)])
MAPS = {"a": random_maps(A, N, 1, mean=5.0), "b": random_maps(B, N, 2, mean=3.0)}
SETS = ("real", "null", "half0", "half1")


def new(folder: Path | None = None, seed: int = 0) -> CorrelationPass:
    return CorrelationPass({"a": A, "b": B}, [("a", "b")], n_images=N, seed=seed, table_dir=folder)


def feed(run: CorrelationPass, start: int, stop: int, batch: int = 3) -> CorrelationPass:
    for i in range(start, stop, batch):
        end = min(stop, i + batch)
        run.add({m: {k: v[i:end] for k, v in x.items()} for m, x in MAPS.items()}, i)
    return run


def scores(run: CorrelationPass) -> list[Tensor]:
    tables = run.finish()["a", "b"]
    return [tables.scores(score, which) for score in ("pearson", "centred") for which in SETS]  # pyright: ignore


def largest_difference(one: list[Tensor], other: list[Tensor]) -> float:
    return max(float((x - y).abs().max()) for x, y in zip(one, other, strict=True))


def copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in state.items()}


@pytest.mark.parametrize("filed", [False, True])
@pytest.mark.parametrize("stop", [3, 9, 12, 24, 30, 39, 41])
def test_a_resumed_run_ends_exactly_like_an_uninterrupted_one(
    stop: int, filed: bool, tmp_path: Path
) -> None:
    first, second, whole = (
        new(tmp_path / name if filed else None) for name in ("first", "second", "whole")
    )
    feed(first, 0, stop)
    state = copied(first.state_dict())
    second.load_state_dict(state)
    assert second.count == stop
    feed(second, stop, N)
    expected = scores(feed(whole, 0, N))
    assert all(torch.equal(x, y) for x, y in zip(scores(second), expected, strict=True))


@pytest.mark.parametrize("cuts", [[16], [8, 32], [8, 16, 24, 32]])
def test_shards_with_one_pilot_add_up_to_one_run(cuts: list[int]) -> None:
    whole = feed(new(), 0, N)
    bounds = [0, *cuts, N]
    total = feed(new(), 0, bounds[1])
    for start, stop in pairwise(bounds[1:]):
        shard = new()
        shard.load_pilot(total.pilot_state())
        feed(shard, start, stop, batch=4)
        total.add_state_(shard.state_dict())
    assert total.count == N
    assert largest_difference(scores(total), scores(whole)) < 1e-6


def test_the_tensors_to_reduce_summed_over_workers_are_the_whole_run() -> None:
    workers = [new(), new()]
    feed(workers[0], 0, 24)
    workers[1].load_pilot(workers[0].pilot_state())
    feed(workers[1], 24, N)
    parts = [worker.tensors_to_reduce() for worker in workers]
    assert parts[0].keys() == parts[1].keys()
    for name, tensor in parts[0].items():
        tensor += parts[1][name]
    assert largest_difference(scores(workers[0]), scores(feed(new(), 0, N))) < 1e-6


def test_blocks_may_come_in_any_order_also_into_files(tmp_path: Path) -> None:
    for run in (new(), new(tmp_path)):
        for start, stop in ((16, 24), (0, 8), (32, 41), (8, 16), (24, 32)):
            feed(run, start, stop, batch=8)
        assert largest_difference(scores(run), scores(feed(new(), 0, N))) < 2e-6


def test_merging_two_passes_counts_all_images() -> None:
    one = feed(new(), 0, 16)
    other = new()
    other.load_pilot(one.pilot_state())
    feed(other, 16, N)
    one.merge(other)
    assert one.count == N
    assert largest_difference(scores(one), scores(feed(new(), 0, N))) < 1e-6


def test_an_empty_shard_adds_nothing() -> None:
    one, idle = feed(new(), 0, N), new()
    expected = scores(one)
    idle.load_pilot(one.pilot_state())
    one.merge(idle)
    assert all(torch.equal(x, y) for x, y in zip(scores(one), expected, strict=True))


def test_tables_taken_in_the_middle_count_what_came_and_disturb_nothing() -> None:
    run = feed(new(), 0, 16, batch=8)
    tables = run.finish()["a", "b"]
    assert tables.n_images == 16
    assert tables.has_halves
    feed(run, 16, N, batch=8)
    assert largest_difference(scores(run), scores(feed(new(), 0, N, batch=8))) == 0


def test_one_block_of_many_has_no_second_half_yet() -> None:
    tables = feed(new(), 0, 8, batch=8).finish()["a", "b"]
    assert not tables.has_halves
    with pytest.raises(ValueError, match="no halves"):
        tables.scores("pearson", "half1")


def test_a_state_of_another_run_is_refused() -> None:
    state = feed(new(), 0, 8).state_dict()
    with pytest.raises(StaleCacheError, match="other layers, models, images or settings"):
        new(seed=1).load_state_dict(state)
    with pytest.raises(StaleCacheError):
        new().load_state_dict({})


def test_shards_about_different_pilots_or_inside_a_block_are_refused() -> None:
    one, other = feed(new(), 0, 8), feed(new(), 8, 16)
    with pytest.raises(ValueError, match="different pilots"):
        one.merge(other)
    inside = feed(new(), 0, 4)
    with pytest.raises(ValueError, match="incomplete"):
        inside.add_state_(one.state_dict())
    with pytest.raises(ValueError, match="waiting"):
        one.add_state_(inside.state_dict())
    with pytest.raises(ValueError, match="cannot change"):
        one.load_pilot(other.pilot_state())


def test_a_pass_made_and_fed_in_inference_mode_goes_on_outside_of_it() -> None:
    with torch.inference_mode():
        run = feed(new(), 0, 10)
    feed(run, 10, N)
    assert largest_difference(scores(run), scores(feed(new(), 0, N))) < 1e-6


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    def values(n: int) -> int:
        run = CorrelationPass({"a": A, "b": B}, [("a", "b")], n_images=n)
        return sum(tensor.numel() for tensor in feed(run, 0, 40, batch=4).state_dict().values())

    assert values(40) == values(4000)
