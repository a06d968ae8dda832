"""Two results side by side, on planted truth."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from rosetta_ui.errors import BadRequestError
from rosetta_ui.matching.compare import compare
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.types import Selection
from tests.store.synthetic import ANCHOR, BACKBONES, Planted, planted, write_planted

BEST = Selection(rule="mutual", k=1)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> ResultFolder:
    return write_planted(tmp_path_factory.mktemp("here"), planted())


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> ResultFolder:
    """The same units, but two copies of tiny-a have changed places, and noise is louder."""
    match = planted(noise=1.0)
    maps = dict(match.maps)
    first, second = match.truth["tiny-a"][:2]
    swapped = maps["tiny-a"].copy()
    swapped[:, [first, second]] = swapped[:, [second, first]]
    maps["tiny-a"] = swapped
    return write_planted(
        tmp_path_factory.mktemp("there"), Planted(match.layers, maps, match.truth), seed=1
    )


def test_a_result_agrees_with_itself(here: ResultFolder) -> None:
    found = compare(here, here, BEST)
    for table in found.tables:
        assert table.only_first == table.only_second == 0
        assert table.both == len(table.pairs) > 0
        assert table.jaccard == 1
        assert table.correlation == pytest.approx(1)
        assert all(pair.first == pair.second for pair in table.pairs)
    assert found.rosetta[1:] == (0, 0)


def test_pairs_that_changed_are_in_one_result_only(here: ResultFolder, there: ResultFolder) -> None:
    found = compare(here, there, BEST)
    assert found.anchor == ANCHOR
    assert [table.backbone for table in found.tables] == list(BACKBONES)
    changed = {p.anchor.channel for p in found.tables[0].pairs if p.where == "first"}
    assert {0, 1} <= changed
    planted_pairs = {p.anchor for p in found.tables[1].pairs if p.where == "both"}
    assert len(planted_pairs) >= 8


def test_swapping_the_results_swaps_the_sides(here: ResultFolder, there: ResultFolder) -> None:
    one, other = compare(here, there, BEST), compare(there, here, BEST)
    for left, right in zip(one.tables, other.tables, strict=True):
        assert (left.both, left.only_first, left.only_second) == (
            right.both,
            right.only_second,
            right.only_first,
        )
        assert left.jaccard == right.jaccard
        assert left.correlation == pytest.approx(right.correlation)


def test_scores_are_those_of_the_whole_tables(here: ResultFolder, there: ResultFolder) -> None:
    for table in compare(here, there, BEST).tables:
        for pair in table.pairs:
            for folder, value in ((here, pair.first), (there, pair.second)):
                whole = folder.scores(ANCHOR, table.backbone, "pearson")
                assert whole is not None
                row = folder.index(ANCHOR).flat(pair.anchor)
                col = folder.index(table.backbone).flat(pair.partner)
                assert value == pytest.approx(float(whole[row, col]), abs=1e-6)


def test_pairs_come_highest_mean_score_first(here: ResultFolder, there: ResultFolder) -> None:
    for table in compare(here, there, BEST).tables:
        means = [float(np.nanmean([p.first, p.second])) for p in table.pairs]
        assert means == sorted(means, reverse=True)


def test_a_lowest_score_leaves_weak_pairs_out(here: ResultFolder) -> None:
    every, some = compare(here, here, BEST), compare(here, here, Selection("mutual", 1, lowest=0.9))
    assert len(some.tables[0].pairs) < len(every.tables[0].pairs)
    assert all(pair.first >= 0.9 for pair in some.tables[0].pairs)


def test_another_generator_or_other_layers_are_refused(
    here: ResultFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_planted(tmp_path / "other", planted())
    monkeypatch.setattr(type(other), "anchor", property(lambda s: "x" if s is other else ANCHOR))
    with pytest.raises(BadRequestError, match="One result is of tiny-generator, the other of x"):
        compare(here, other, BEST)


def test_results_without_a_common_backbone_are_refused(
    here: ResultFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = write_planted(tmp_path / "other", planted())
    names = property(lambda s: ["clip"] if s is other else list(BACKBONES))
    monkeypatch.setattr(type(other), "backbones", names)
    with pytest.raises(BadRequestError, match="no backbone in common"):
        compare(here, other, BEST)


def test_too_few_pairs_have_no_correlation(here: ResultFolder) -> None:
    found = compare(here, here, Selection("mutual", 1, lowest=2))
    assert found.tables[0].pairs == ()
    assert math.isnan(found.tables[0].correlation)
    assert math.isnan(found.tables[0].jaccard)
    assert found.rosetta == (0, 0, 0)
