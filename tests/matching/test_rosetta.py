from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from rosetta_ui.errors import BadRequestError
from rosetta_ui.matching.buddies import mutual
from rosetta_ui.matching.rosetta import (
    TableNeighbours,
    count_in_null,
    intersect,
    match_pairs,
    null_bests,
    null_minima,
    share_at_or_above,
    stars,
    threshold,
)
from rosetta_ui.types import RULES, RosettaNeuron, Selection, UnitIndex
from tests.store.synthetic import ANCHOR, BACKBONES, Planted, neighbours_of, planted


@pytest.fixture(scope="module")
def match() -> Planted:
    return planted()


@pytest.fixture(scope="module")
def tables(match: Planted) -> dict[str, TableNeighbours]:
    return {name: match.table(ANCHOR, name) for name in BACKBONES}


@pytest.fixture(scope="module")
def cross(match: Planted) -> dict[tuple[str, str], TableNeighbours]:
    return {BACKBONES: match.table(*BACKBONES)}


def found(match: Planted, tables, cross=None, **selection) -> list[RosettaNeuron]:
    indexes = {name: UnitIndex(specs) for name, specs in match.layers.items()}
    return intersect(tables, Selection(**selection), indexes[ANCHOR], indexes, cross)


def flat(match: Planted, neuron: RosettaNeuron) -> tuple[int, ...]:
    units = [neuron.anchor, *(neuron.partners[name].unit for name in BACKBONES)]
    return tuple(UnitIndex(match.layers[unit.model]).flat(unit) for unit in units)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_finds_the_planted_neurons_above_the_null(match, tables, cross, rule) -> None:
    above = found(match, tables, cross, rule=rule, k=3, above_null=True)
    truth = {(i, *(int(match.truth[name][i]) for name in BACKBONES)) for i in range(8)}
    assert {flat(match, neuron) for neuron in above} == truth
    assert all(neuron.above_null for neuron in above)


def test_neurons_stand_best_first_and_ties_by_number(match, tables) -> None:
    listed = found(match, tables, rule="mutual", k=5)
    scores = [neuron.score_min for neuron in listed]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) > 8, "noise should give a few more, so that the order says something"


def test_equal_scores_keep_the_order_of_the_anchors() -> None:
    same = np.where(np.eye(6) > 0, 0.9, 0.1)
    match = planted()
    layers = UnitIndex([replace(match.layers[ANCHOR][0], channels=6)])
    backbone = UnitIndex([replace(match.layers["tiny-a"][0], channels=6)])
    table = TableNeighbours(neighbours_of(same, 2))
    listed = intersect({"tiny-a": table}, Selection(k=1), layers, {"tiny-a": backbone})
    assert [neuron.anchor.channel for neuron in listed] == list(range(6))


def test_partners_carry_score_null_rank_p_and_halves(match, tables) -> None:
    best = found(match, tables)[0]
    for name in BACKBONES:
        partner = best.partners[name]
        anchor, col = flat(match, best)[0], UnitIndex(match.layers[name]).flat(partner.unit)
        real, null = match.scores(ANCHOR, name), match.scores(ANCHOR, name, "null")
        assert partner.score == pytest.approx(real[anchor, col], abs=1e-6)
        assert partner.null == pytest.approx(null[anchor].max(), abs=1e-6)
        assert partner.rank == 1 + (real[:, col] > real[anchor, col]).sum()
        bests = null.max(1)
        bests = bests[np.isfinite(bests)]
        assert partner.p == pytest.approx((bests >= real[anchor, col]).mean())
        halves = [match.scores(ANCHOR, name, f"half{h}")[anchor, col] for h in (0, 1)]
        assert partner.halves == pytest.approx(halves, abs=1e-6)


def test_halves_are_looked_up_where_pair_scores_are_not_kept(match, tables) -> None:
    sparse = {name: replace(table, row_halves=None) for name, table in tables.items()}
    for kept, looked_up in zip(found(match, tables), found(match, sparse), strict=True):
        for name in BACKBONES:
            halves = looked_up.partners[name].halves
            assert halves is None or halves == pytest.approx(kept.partners[name].halves)
    bare = {name: TableNeighbours(table.real) for name, table in tables.items()}
    assert all(n.partners["tiny-a"].halves is None for n in found(match, bare))


def test_the_null_of_a_neuron_is_its_lowest_over_the_backbones(match, tables) -> None:
    nulls = [match.scores(ANCHOR, name, "null").max(1) for name in BACKBONES]
    lowest = np.min(nulls, 0)
    for neuron in found(match, tables):
        assert neuron.null_min == pytest.approx(lowest[flat(match, neuron)[0]], abs=1e-6)
    live = np.sort(lowest[np.isfinite(lowest)])
    assert null_minima(tables) == pytest.approx(live, abs=1e-6)
    assert len(live) == 11, "the dead anchor has no null"


def test_the_threshold_lets_at_most_q_of_the_null_pass() -> None:
    bests = np.sort(np.random.default_rng(0).normal(size=101)).astype(np.float32)
    for q in (0.01, 0.05, 0.2, 0.5):
        limit = threshold(bests, q)
        assert (bests > limit).mean() <= q < (bests >= limit).mean()
    assert np.isnan(threshold(np.zeros(0, np.float32), 0.05))
    for q in (0.0, 1.0, -1.0):
        with pytest.raises(BadRequestError, match="q is"):
            threshold(bests, q)


def test_p_is_the_share_of_the_null_at_or_above() -> None:
    bests = np.array([0.1, 0.2, 0.2, 0.4], np.float32)
    scores = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], np.float32)
    assert share_at_or_above(bests, scores).tolist() == [1, 1, 0.75, 0.25, 0.25, 0]
    assert np.isnan(share_at_or_above(bests[:0], scores)).all()


def test_scores_above_the_threshold_have_p_at_most_q(match, tables) -> None:
    table = tables["tiny-a"]
    limit = threshold(null_bests(table), 0.2)
    index = {name: UnitIndex(specs) for name, specs in match.layers.items()}
    chosen = Selection(rule="mutual", k=5, q=0.2, above_null=True)
    listed = match_pairs(table, chosen, index[ANCHOR], index["tiny-a"])
    assert listed
    assert all(partner.score > limit and partner.p <= 0.2 for _, partner in listed)


def test_the_lowest_score_filters(match, tables) -> None:
    every = found(match, tables, rule="mutual")
    cut = float(np.median([neuron.score_min for neuron in every]))
    kept = found(match, tables, rule="mutual", lowest=cut)
    assert kept == [neuron for neuron in every if neuron.score_min >= cut]
    assert 0 < len(kept) < len(every)


def test_mutual_takes_the_best_scoring_partner_of_each_backbone(match, tables) -> None:
    for neuron in found(match, tables, rule="mutual", k=5):
        for name in BACKBONES:
            pairs = mutual(tables[name].real, 5, 5)
            mine = pairs.scores[pairs.rows == flat(match, neuron)[0]]
            assert neuron.partners[name].score == pytest.approx(float(mine.max()))


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_cliques_are_those_of_the_definition(match, tables, cross, k) -> None:
    pairs = [mutual(tables[name].real, k, k) for name in BACKBONES]
    agree = mutual(cross[BACKBONES].real, k, k).as_set()
    expected = {}
    for anchor in range(12):
        options = [list(np.flatnonzero(p.rows == anchor)) for p in pairs]
        cliques = [
            (
                min(pairs[0].scores[a], pairs[1].scores[b]),
                int(pairs[0].cols[a]),
                int(pairs[1].cols[b]),
            )
            for a, b in product(*options)
            if (int(pairs[0].cols[a]), int(pairs[1].cols[b])) in agree
        ]
        if cliques:
            expected[anchor] = max(cliques)
    listed = found(match, tables, cross, rule="clique", k=k)
    assert {flat(match, n)[0]: (n.score_min, *flat(match, n)[1:]) for n in listed} == {
        anchor: (pytest.approx(score), *cols) for anchor, (score, *cols) in expected.items()
    }
    mutual_anchors = {flat(match, n)[0] for n in found(match, tables, rule="mutual", k=k)}
    assert set(expected) <= mutual_anchors


def test_the_clique_rule_drops_anchors_whose_partners_disagree(match, tables, cross) -> None:
    dropped = [
        len(found(match, tables, rule="mutual", k=k))
        - len(found(match, tables, cross, rule="clique", k=k))
        for k in (1, 2, 3)
    ]
    assert max(dropped) > 0


def test_cliques_work_with_the_table_either_way_round(match, tables, cross) -> None:
    turned = {BACKBONES[::-1]: TableNeighbours(cross[BACKBONES].real.transposed())}
    assert found(match, tables, turned, rule="clique") == found(match, tables, cross, rule="clique")


def test_cliques_without_the_backbones_tables_are_refused(match, tables) -> None:
    with pytest.raises(BadRequestError, match="needs the table of tiny-a and tiny-b"):
        found(match, tables, rule="clique")


def test_the_null_is_counted_by_the_same_rule(match, tables, cross) -> None:
    for rule in RULES:
        chosen = Selection(rule=rule, k=3)
        nulls = {name: TableNeighbours(table.null) for name, table in tables.items()}
        listed = found(match, nulls, cross, rule=rule, k=3)
        assert count_in_null(tables, chosen, cross) == len(listed)
    shuffled = count_in_null(tables, Selection(rule="mutual", k=5, above_null=True))
    assert shuffled is not None
    assert shuffled < 3


def test_without_a_null_nothing_is_above_it(match, tables) -> None:
    bare = {name: TableNeighbours(table.real) for name, table in tables.items()}
    listed = found(match, bare)
    assert listed
    assert not any(neuron.above_null for neuron in listed)
    assert all(np.isnan(neuron.null_min) for neuron in listed)
    assert count_in_null(bare, Selection()) is None
    with pytest.raises(BadRequestError, match="no null"):
        found(match, bare, above_null=True)


def test_rosetta_neurons_grow_with_k(tables) -> None:
    real = {name: table.real for name, table in tables.items()}
    for rule in ("published", "mutual"):
        sets = [set(stars(real, rule, k).anchors.tolist()) for k in range(1, 6)]
        assert all(a <= b for a, b in pairwise(sets))


def test_one_backbone_is_enough_for_a_star(match, tables) -> None:
    one = {"tiny-a": tables["tiny-a"]}
    indexes = {name: UnitIndex(specs) for name, specs in match.layers.items()}
    listed = intersect(one, Selection(), indexes[ANCHOR], indexes)
    assert {list(neuron.partners) == ["tiny-a"] for neuron in listed} == {True}
    assert len(listed) >= 8


def test_anchors_that_never_match_give_an_empty_list(match) -> None:
    dead = TableNeighbours(neighbours_of(np.full((12, 15), -np.inf), 5))
    assert found(match, {"tiny-a": dead}) == []
