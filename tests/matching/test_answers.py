from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from rosetta_ui.errors import BadRequestError, UnknownModelError
from rosetta_ui.matching import answers
from rosetta_ui.store.results import ModelRecord, ResultFolder, ResultWriter, RunFacts
from rosetta_ui.types import RULES, MatchRequest, Selection, Unit
from tests.store.synthetic import (
    ANCHOR,
    BACKBONES,
    Planted,
    add_table,
    planted,
    write_planted,
)


@pytest.fixture(scope="module")
def match() -> Planted:
    return planted()


@pytest.fixture(scope="module")
def folder(match: Planted, tmp_path_factory: pytest.TempPathFactory) -> ResultFolder:
    return write_planted(tmp_path_factory.mktemp("answers") / "result", match)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("score", ["pearson", "centred"])
def test_the_planted_neurons_are_read_from_the_folder(match, folder, rule, score) -> None:
    chosen = Selection(rule=rule, k=2, score=score, above_null=True)
    found = answers.neurons(folder, chosen)
    index = folder.indexes()
    rows = {index[ANCHOR].flat(neuron.anchor): neuron for neuron in found}
    assert set(rows) == set(range(8))
    for row, neuron in rows.items():
        for name in BACKBONES:
            assert index[name].flat(neuron.partners[name].unit) == match.truth[name][row]


def test_concepts_are_numbered_from_the_best_neuron_on(folder: ResultFolder) -> None:
    found = answers.neurons(folder, Selection(rule="mutual", k=5))
    numbers = [neuron.concept for neuron in found if neuron.concept >= 0]
    assert found[0].concept == 0
    firsts = list(dict.fromkeys(numbers))
    assert firsts == sorted(firsts)
    one = answers.neurons(folder, Selection(rule="mutual", k=5), concept_threshold=2.0)
    assert {neuron.concept for neuron in one} == {0}
    grouped = answers.concepts(folder, found, 2.0)
    assert [concept.size for concept in grouped] == [len(found)]


def test_neurons_whose_maps_are_not_kept_are_in_no_concept(folder: ResultFolder) -> None:
    found = answers.neurons(folder, Selection(rule="mutual", k=5))
    views = folder.views()
    assert views is not None
    kept = views.models[ANCHOR]
    missing = {n.anchor for n in found if kept.row(folder.index(ANCHOR).flat(n.anchor)) is None}
    assert {n.anchor for n in found if n.concept == -1} == missing


def test_pairs_stand_best_first_with_their_numbers(match, folder) -> None:
    listed = answers.pairs(folder, "tiny-a", Selection(rule="mutual", k=3))
    scores = [partner.score for _, partner in listed]
    assert scores == sorted(scores, reverse=True)
    anchor, partner = listed[0]
    at = folder.index(ANCHOR).flat(anchor), folder.index("tiny-a").flat(partner.unit)
    assert partner.score == pytest.approx(match.scores(ANCHOR, "tiny-a")[at], abs=1e-6)
    with pytest.raises(UnknownModelError):
        answers.pairs(folder, "nobody", Selection())


def test_the_summary_counts_what_the_lists_show(folder: ResultFolder) -> None:
    for rule in RULES:
        chosen = Selection(rule=rule, k=3)
        said = answers.summary(folder, "id", chosen)
        found = answers.neurons(folder, chosen)
        assert said.rosetta == len(found)
        assert said.rosetta_above_null == sum(neuron.above_null for neuron in found)
        assert said.null_rosetta >= said.null_rosetta_above >= 0
        assert said.null_rosetta_above <= 1, "q allows 5 % of the 11 live anchors"
        strict = answers.summary(folder, "id", Selection(rule=rule, k=3, above_null=True))
        assert strict.rosetta == said.rosetta
    assert (said.result, said.anchor_model, said.anchor_units) == ("id", ANCHOR, 12)
    assert said.anchor_dead == 1
    assert [table.backbone for table in said.tables] == list(BACKBONES)
    assert (said.seconds, said.images_per_second, said.peak_bytes) == (2.0, 12.0, 1_000_000)


def test_the_report_of_a_folder_is_json_with_every_part(folder: ResultFolder) -> None:
    told = answers.report(folder, Selection(rule="clique", k=2))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    table = told["tables"]["tiny-a"]
    assert [row["images"] for row in table["convergence"]] == [3, 6, 12, 24]
    assert table["halves"]["correlation"] > 0.9
    assert told["matrix"]["counts"][1][2] is not None
    assert told["models"]["tiny-b"]["selectivity"]["rosetta"]["count"] >= 1
    assert folder.record.run.summary["rosetta"] >= 8


def test_pairs_csv_has_the_pairs_of_every_table(match, folder) -> None:
    text = (folder.path / "pairs.csv").read_text("utf-8")
    assert text == answers.pairs_csv(folder, Selection())
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == [
        *("anchor", "partner", "pearson", "centred", "null", "p", "rank"),
        *("half_0", "half_1", "above_null"),
    ]
    listed = [answers.pairs(folder, name, Selection()) for name in BACKBONES]
    assert len(rows) == sum(len(pairs) for pairs in listed)
    anchor, partner = listed[0][0]
    first = rows[0]
    assert (Unit.parse(first["anchor"]), Unit.parse(first["partner"])) == (anchor, partner.unit)
    assert float(first["pearson"]) == pytest.approx(partner.score, abs=1e-6)
    assert float(first["null"]) == pytest.approx(partner.null, abs=1e-6)
    assert (int(first["rank"]), first["above_null"]) == (partner.rank, "1")
    at = folder.index(ANCHOR).flat(anchor), folder.index("tiny-a").flat(partner.unit)
    whole = folder.scores(ANCHOR, "tiny-a", "centred")
    assert whole is not None
    assert float(first["centred"]) == pytest.approx(float(whole[at]), abs=1e-6)


def test_without_whole_tables_other_scores_come_from_the_neighbours(folder, tmp_path) -> None:
    bare = ResultFolder(folder.path, folder.record)
    bare.scores = lambda *_asked: None
    with_tables = list(csv.DictReader(io.StringIO(answers.pairs_csv(folder, Selection()))))
    without = list(csv.DictReader(io.StringIO(answers.pairs_csv(bare, Selection()))))
    for full, kept in zip(with_tables, without, strict=True):
        assert kept["centred"] in ("", full["centred"])
    assert sum(row["centred"] != "" for row in without) > 8


def test_asking_for_what_is_not_there_says_so(tmp_path: Path, match: Planted) -> None:
    poor = write_planted(tmp_path / "out", match, cross=False, scores=("pearson",))
    with pytest.raises(BadRequestError, match="needs the table of tiny-a and tiny-b"):
        answers.neurons(poor, Selection(rule="clique"))
    with pytest.raises(BadRequestError, match="no 'centred' scores"):
        answers.neurons(poor, Selection(score="centred"))
    with pytest.raises(BadRequestError, match="keeps the 5 nearest"):
        answers.neurons(poor, Selection(k=9))


def test_a_score_that_only_the_anchors_tables_have_still_has_a_report(match, tmp_path) -> None:
    models = [ModelRecord(name, "backbone", "", specs) for name, specs in match.layers.items()]
    writer = ResultWriter(tmp_path / "out", MatchRequest(score="published"), models)
    for name in BACKBONES:
        add_table(writer, match, ANCHOR, name, "published", 5)
    add_table(writer, match, *BACKBONES, "pearson", 5)
    folder = answers.finish_result(writer, RunFacts())
    chosen = Selection(score="published")
    assert answers.report(folder, chosen)["matrix"]["counts"][1][2] is None
    assert len(answers.neurons(folder, chosen)) >= 8
    assert folder.record.run.summary["selection"]["score"] == "published"
    with pytest.raises(BadRequestError, match="needs the table of"):
        answers.neurons(folder, Selection(rule="clique", score="published"))


def test_the_same_folder_gives_the_same_answers_twice(folder: ResultFolder) -> None:
    again = ResultFolder.open(folder.path)
    chosen = Selection(rule="mutual", k=5)
    assert answers.neurons(again, chosen) == answers.neurons(folder, chosen)
    first, second = (answers.summary(f, "id", chosen) for f in (folder, again))
    assert first == second
    assert not math.isnan(first.threshold)
    assert np.isfinite(first.tables[0].jaccard)
