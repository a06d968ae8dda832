"""Half-precision forward passes: what they change, and that they say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from rosetta_ui.matching.match import MatchRun
from rosetta_ui.matching.outcome import MatchOutcome, MatchPlan, MatchTools
from rosetta_ui.matching.precision import half_forwards, relative_error
from rosetta_ui.matching.sources import GeneratedImages
from rosetta_ui.models.registry import Registry
from rosetta_ui.models.tiny import tiny_cards

PAIR = ("tiny-gan", "tiny-net-a")
PLAN = MatchPlan(pairs=(PAIR,), n_images=16, batch_size=4, seed=0, n_views=0)


@pytest.fixture(scope="module")
def load() -> Callable[[str], Any]:
    registry = Registry()
    for card, loader in tiny_cards():
        registry.add(card, loader)
    return lambda name: registry.loader(name)(registry.card(name), {})


def matched(load: Callable[[str], Any], half: bool) -> tuple[MatchOutcome, list[str]]:
    notes: list[str] = []
    source = GeneratedImages(load("tiny-gan"), 0)
    run = MatchRun(
        source, [load("tiny-net-a")], replace(PLAN, half=half), MatchTools(note=notes.append)
    )
    for _ in run.steps():
        pass
    outcome = run.finish()
    assert outcome is not None
    return outcome, notes


def test_half_precision_moves_the_scores_a_little_and_says_how_far_the_maps_are(
    load: Callable[[str], Any],
) -> None:
    full, silent = matched(load, half=False)
    half, notes = matched(load, half=True)
    assert silent == []
    assert [note.split(" differ ")[0] for note in notes] == [
        "Half precision: maps of tiny-gan",
        "Half precision: maps of tiny-net-a",
    ]
    tables = full.tables[PAIR].scores("pearson"), half.tables[PAIR].scores("pearson")
    both = tables[0].isfinite() & tables[1].isfinite()
    moved = (tables[0] - tables[1])[both].abs()
    # bfloat16 keeps 8 bits; a table that is the same to the last bit was not made in it.
    assert 0 < float(moved.max()) < 0.05


def test_the_error_is_in_deviations_of_each_unit_that_varies() -> None:
    torch.manual_seed(0)
    full = torch.randn(4, 3, 8, 8) * torch.tensor([1.0, 100.0, 0.0]).view(1, 3, 1, 1)
    half = full.clone()
    half[:, 1] += 25.0
    median, worst = relative_error({"layer": half}, {"layer": full})
    assert (median, worst) == (pytest.approx(0, abs=1e-9), pytest.approx(0.25, rel=0.1))


def test_nothing_changes_where_it_is_off() -> None:
    net = torch.nn.Conv2d(3, 4, 3)
    image = torch.randn(1, 3, 8, 8)
    with half_forwards(torch.device("cpu"), on=False):
        assert net(image).dtype == torch.float32
    with half_forwards(torch.device("cpu"), on=True):
        assert net(image).dtype == torch.bfloat16
