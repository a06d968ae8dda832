from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from rosetta_ui.errors import BadRequestError
from rosetta_ui.matching.buddies import mutual
from rosetta_ui.matching.report import ModelNumbers, ReportInputs, build, summarise_table
from rosetta_ui.matching.rosetta import TableNeighbours
from rosetta_ui.types import RULES, Selection, UnitIndex
from tests.store.synthetic import ANCHOR, BACKBONES, Planted, neighbours_of, planted, stats_of


@pytest.fixture(scope="module")
def match() -> Planted:
    return planted(images=32)


@pytest.fixture(scope="module")
def inputs(match: Planted) -> ReportInputs:
    snapshots = {
        name: [
            (32 // at, neighbours_of(match.scores(ANCHOR, name, f"at_n{at}"), 3))
            for at in (8, 4, 2)
        ]
        for name in BACKBONES
    }
    stats = {name: stats_of(maps) for name, maps in match.maps.items()}
    return ReportInputs(
        anchor=ANCHOR,
        indexes={name: UnitIndex(specs) for name, specs in match.layers.items()},
        tables={name: match.table(ANCHOR, name) for name in BACKBONES},
        images=32,
        cross={BACKBONES: match.table(*BACKBONES)},
        snapshots=snapshots,
        numbers={n: ModelNumbers(s.mean, s.deviation, s.kurtosis) for n, s in stats.items()},
    )


@pytest.mark.parametrize("rule", RULES)
def test_the_report_is_plain_json_for_every_rule(inputs: ReportInputs, rule) -> None:
    told = build(inputs, Selection(rule=rule, k=3))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["schema"] == 1
    assert told["images"] == 32
    assert told["selection"]["rule"] == rule


def test_best_buddies_and_shares_are_counted_from_the_tables(match, inputs) -> None:
    for name in BACKBONES:
        real, null = match.scores(ANCHOR, name), match.scores(ANCHOR, name, "null")
        said = summarise_table(name, inputs.tables[name], Selection(q=0.2))
        assert said.units == real.shape[1]
        assert said.dead == np.isneginf(real).all(0).sum()
        best_row, best_col = real.argmax(1), real.argmax(0)
        buddies = sum(best_col[best_row[i]] == i for i in range(11))
        assert said.best_buddies == buddies
        assert said.null_best_buddies == len(mutual(neighbours_of(null, 5), 1, 1))
        assert said.share == pytest.approx(buddies / min(11, real.shape[1] - said.dead))
        bests, nulls = real[:11].max(1), np.sort(null[:11].max(1))
        limit = nulls[int(np.ceil(0.8 * 10))]
        assert said.threshold == pytest.approx(limit, abs=1e-6)
        assert said.above_null == pytest.approx((bests > limit + 1e-6).mean())
        expected = (nulls > limit + 1e-6).mean() / said.above_null
        assert said.false_discoveries == pytest.approx(expected)


def test_halves_agree_where_the_truth_was_planted(match, inputs) -> None:
    for name, table in build(inputs, Selection(rule="mutual", k=1))["tables"].items():
        halves = table["halves"]
        assert 0.5 < halves["jaccard"] <= 1
        assert len(halves["first"]) == len(halves["second"]) == table["pairs"]
        assert halves["correlation"] > 0.9
        pairs = mutual(inputs.tables[name].real, 1, 1)
        expected = match.scores(ANCHOR, name, "half0")[pairs.rows, pairs.cols]
        assert halves["first"] == pytest.approx(expected, abs=1e-5)


def test_halves_are_looked_up_where_pair_scores_are_not_kept(inputs: ReportInputs) -> None:
    sparse = {n: replace(table, row_halves=None) for n, table in inputs.tables.items()}
    full = build(inputs, Selection())["tables"]["tiny-a"]["halves"]
    told = build(replace(inputs, tables=sparse), Selection())["tables"]["tiny-a"]["halves"]
    known = [at for at, value in enumerate(told["first"]) if value is not None]
    assert len(known) >= 8
    for at in known:
        assert told["first"][at] == full["first"][at]
    assert told["correlation"] > 0.9


def test_convergence_ends_at_the_final_pairs(inputs: ReportInputs) -> None:
    told = build(inputs, Selection(rule="mutual", k=3))
    for table in told["tables"].values():
        assert [row["images"] for row in table["convergence"]] == [4, 8, 16, 32]
        assert table["convergence"][-1]["overlap"] == 1
        assert table["convergence"][-1]["pairs"] == table["pairs"]
        assert all(0 < row["overlap"] <= 1 for row in table["convergence"])
    rosetta = told["rosetta"]["convergence"]
    assert [row["images"] for row in rosetta] == [4, 8, 16, 32]
    assert rosetta[-1] == {"images": 32, "k": 3, "count": told["rosetta"]["count"], "overlap": 1}


def test_convergence_says_which_k_it_could_use(inputs: ReportInputs) -> None:
    told = build(inputs, Selection(rule="mutual", k=5))
    assert {row["k"] for row in told["tables"]["tiny-a"]["convergence"][:-1]} == {3}
    assert told["tables"]["tiny-a"]["convergence"][-1]["k"] == 5


def test_rosetta_neurons_stand_beside_their_null(inputs: ReportInputs) -> None:
    told = build(inputs, Selection(rule="mutual", k=3, q=0.1))["rosetta"]
    assert told["count"] >= told["above_null"] >= 8
    assert told["null_above_null"] <= 1, "at most a tenth of the 11 live anchors"
    assert told["null_count"] >= told["null_above_null"]
    high = build(inputs, Selection(rule="mutual", k=3, lowest=0.5))["rosetta"]
    assert 0 < high["count"] < told["count"]
    assert high["null_count"] == 0
    assert 0 < told["threshold"] < 0.5
    assert 0 < told["jaccard"] <= 1
    assert sum(told["scores"]["counts"]["rosetta"]) == told["count"]
    assert sum(told["scores"]["counts"]["null"]) == 11


def test_units_and_depths_cover_every_layer_of_both_sides(match, inputs) -> None:
    table = build(inputs, Selection())["tables"]["tiny-a"]
    assert [row["layer"] for row in table["depth"]["rows"]] == ["low", "high"]
    assert [row["layer"] for row in table["depth"]["cols"]] == ["stem", "top"]
    assert [row["count"] for row in table["depth"]["rows"]] == [5, 6], (
        "the dead unit is not counted"
    )
    best = match.scores(ANCHOR, "tiny-a").max(1)
    assert table["per_unit"]["best"][11] is None
    assert table["per_unit"]["best"][:11] == pytest.approx(best[:11], abs=1e-5)
    assert table["depth"]["rows"][0]["max"] == pytest.approx(best[:5].max(), abs=1e-5)
    assert len(table["per_unit"]["cols_best"]) == 15
    assert len(table["per_unit"]["null"]) == 12
    assert np.sum(table["layers"]) == table["pairs"]


def test_histograms_count_every_live_unit(match, inputs) -> None:
    models = build(inputs, Selection())["models"]
    for name, model in models.items():
        for what in ("mean", "deviation"):
            counts, edges = model[what]["counts"]["all"], model[what]["edges"]
            assert sum(counts) == model["units"] == match.maps[name].shape[1]
            assert len(edges) == len(counts) + 1
            assert edges == sorted(edges)


def test_selectivity_compares_rosetta_units_with_the_others(inputs: ReportInputs) -> None:
    numbers = dict(inputs.numbers)
    planted_units = np.zeros(12)
    planted_units[:8] = 5.0
    planted_units[11] = np.nan
    numbers[ANCHOR] = replace(numbers[ANCHOR], kurtosis=planted_units)
    chosen = Selection(rule="mutual", k=1)
    told = build(replace(inputs, numbers=numbers), chosen)["models"][ANCHOR]
    said = told["selectivity"]
    assert sum(told["rosetta_by_layer"].values()) == 8
    assert said["rosetta"]["median"] == 5
    assert said["others"]["median"] == 0
    assert said["others"]["count"] == 3
    assert said["more_selective"] == 1


def test_the_matrix_counts_best_buddies_of_every_two_models(inputs: ReportInputs) -> None:
    told = build(inputs, Selection())["matrix"]
    assert told["models"] == [ANCHOR, *BACKBONES]
    counts = told["counts"]
    for i in range(3):
        assert counts[i][i] is None
        for j in range(3):
            assert counts[i][j] == counts[j][i]
    assert counts[1][2] == len(mutual(inputs.cross[BACKBONES].real, 1, 1))
    without = build(replace(inputs, cross={}), Selection())["matrix"]["counts"]
    assert without[1][2] is None
    assert without[0][1] == counts[0][1]


def test_a_match_without_null_halves_and_statistics_still_has_a_report(inputs) -> None:
    bare = ReportInputs(
        anchor=ANCHOR,
        indexes=inputs.indexes,
        tables={name: TableNeighbours(table.real) for name, table in inputs.tables.items()},
        images=1,
    )
    told = build(bare, Selection())
    json.dumps(told, allow_nan=False)
    table = told["tables"]["tiny-a"]
    assert table["null_pairs"] is None
    assert table["halves"] is None
    assert table["threshold"] is None
    assert table["false_discoveries"] is None
    assert table["per_unit"]["null"] is None
    assert told["rosetta"]["null_count"] is None
    assert told["rosetta"]["convergence"] == []
    assert "selectivity" not in told["models"][ANCHOR]


def test_a_dead_match_has_a_report_of_nothing(inputs: ReportInputs) -> None:
    dead = TableNeighbours(*[neighbours_of(np.full((12, 15), -np.inf), 5)] * 2)
    told = build(replace(inputs, tables={"tiny-a": dead}, snapshots={}), Selection())
    json.dumps(told, allow_nan=False)
    assert told["rosetta"]["count"] == 0
    assert told["tables"]["tiny-a"]["share"] is None


def test_a_bad_selection_is_refused(inputs: ReportInputs) -> None:
    for bad in (Selection(k=0), Selection(k=6), Selection(q=0)):
        with pytest.raises(BadRequestError):
            build(inputs, bad)
