from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from rosetta_ui.errors import BadRequestError
from rosetta_ui.matching.buddies import BestBuddies, by_rule, jaccard, mutual, published
from tests.store.synthetic import ANCHOR, neighbours_of, planted


def table(rows: int = 30, cols: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (rows, cols))


def brute_force(scores: np.ndarray, k_rows: int, k_cols: int) -> set[tuple[int, int]]:
    """Pairs from the definition: count how many are strictly better, or equal and in front."""
    found = set()
    for i, j in np.argwhere(np.isfinite(scores)):
        row, col, value = scores[i], scores[:, j], scores[i, j]
        before = (row > value).sum() + (row[:j] == value).sum()
        above = (col > value).sum() + (col[:i] == value).sum()
        if before < k_rows and above < k_cols:
            found.add((int(i), int(j)))
    return found


@pytest.mark.parametrize(("k_rows", "k_cols"), [(1, 1), (1, 5), (5, 1), (3, 4), (8, 8)])
def test_mutual_pairs_are_those_of_the_definition(k_rows: int, k_cols: int) -> None:
    scores = table()
    pairs = mutual(neighbours_of(scores, 8), k_rows, k_cols)
    assert pairs.as_set() == brute_force(scores, k_rows, k_cols)
    assert np.allclose(pairs.scores, scores[pairs.rows, pairs.cols])
    assert (pairs.k_rows, pairs.k_cols) == (k_rows, k_cols)


def test_the_planted_permutation_comes_back() -> None:
    match = planted()
    for name in ("tiny-a", "tiny-b"):
        pairs = mutual(match.table(ANCHOR, name).real, 1, 1)
        strong = pairs.where(pairs.scores > 0.5)
        assert strong.rows.tolist() == list(range(8))
        assert strong.cols.tolist() == match.truth[name][:8].tolist()


def test_ties_go_to_the_lower_number_on_both_sides() -> None:
    pairs = mutual(neighbours_of(np.full((3, 4), 0.5), 4), 1, 1)
    assert pairs.as_set() == {(0, 0)}
    assert mutual(neighbours_of(np.full((3, 4), 0.5), 4), 2, 2).as_set() == {
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    }


def test_dead_units_are_in_no_pair() -> None:
    scores = table()
    scores[4] = -np.inf
    scores[:, 7] = -np.inf
    pairs = mutual(neighbours_of(scores, 40), 40, 40)
    assert 4 not in pairs.rows
    assert 7 not in pairs.cols
    assert len(pairs) == 29 * 39


def test_a_table_of_dead_units_only_has_no_pairs() -> None:
    dead = neighbours_of(np.full((4, 5), -np.inf), 3)
    assert len(mutual(dead, 3, 3)) == 0
    assert len(mutual(dead, 3, 3).best_of_each_row()) == 0


def test_mutual_pairs_grow_with_k_and_keep_what_they_had() -> None:
    kept = neighbours_of(table(), 12)
    sets = [mutual(kept, k, k).as_set() for k in range(1, 13)]
    assert all(small <= large for small, large in pairwise(sets))
    assert len(sets[-1]) > len(sets[0])


def test_pairs_are_the_same_seen_from_the_other_side() -> None:
    kept = neighbours_of(table(), 6)
    there = mutual(kept, 2, 5).as_set()
    back = mutual(kept.transposed(), 5, 2).as_set()
    assert there == {(row, col) for col, row in back}


def test_published_is_top_one_one_way_and_top_k_the_other() -> None:
    scores = table()
    pairs = published(neighbours_of(scores, 8), 5)
    expected = set()
    for row in range(len(scores)):
        col = int(scores[row].argmax())
        if row in np.argsort(-scores[:, col], kind="stable")[:5]:
            expected.add((row, col))
    assert pairs.as_set() == expected
    assert (pairs.row_ranks == 1).all()
    for row, col, rank in zip(pairs.rows, pairs.cols, pairs.col_ranks, strict=True):
        assert (scores[:, col] > scores[row, col]).sum() == rank - 1
    assert any(rank > 1 for rank in pairs.col_ranks), "the rule would be no different from K = 1"


def test_a_k_above_the_number_of_units_means_all_of_them() -> None:
    scores = table(6, 4)
    assert len(mutual(neighbours_of(scores, 10), 10, 10)) == 24
    assert len(mutual(neighbours_of(scores, 6), 50, 50)) == 24


def test_a_k_above_what_was_kept_is_refused_in_words() -> None:
    kept = neighbours_of(table(), 4)
    with pytest.raises(BadRequestError, match="keeps the 4 nearest") as caught:
        mutual(kept, 5, 5)
    assert caught.value.hint == "Give a K from 1 to 4."
    with pytest.raises(BadRequestError, match="K is 0"):
        published(kept, 0)


def test_rules_by_name_are_these_functions() -> None:
    kept = neighbours_of(table(), 5)
    assert by_rule(kept, "published", 5).as_set() == published(kept, 5).as_set()
    assert by_rule(kept, "mutual", 5).as_set() == mutual(kept, 5, 5).as_set()


def test_the_best_of_each_row_is_its_highest_score() -> None:
    pairs = mutual(neighbours_of(table(), 8), 8, 8)
    best = pairs.best_of_each_row()
    assert len(set(best.rows.tolist())) == len(best) == len(set(pairs.rows.tolist()))
    for row, score in zip(best.rows, best.scores, strict=True):
        assert score == pairs.scores[pairs.rows == row].max()


def test_jaccard_counts_pairs_found_twice() -> None:
    kept = neighbours_of(table(), 5)
    pairs = mutual(kept, 1, 1)
    half = np.arange(len(pairs)) % 2 == 0
    assert jaccard(pairs, pairs) == 1
    assert jaccard(pairs, pairs.where(half)) == pytest.approx(half.mean())
    none = pairs.where(np.zeros(len(pairs), bool))
    assert np.isnan(jaccard(none, none))
    assert isinstance(none, BestBuddies)
