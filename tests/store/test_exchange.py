from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from rosetta_ui.errors import BadRequestError, StoreError
from rosetta_ui.matching import answers
from rosetta_ui.store import compact
from rosetta_ui.store.compact import FourArrays, Keep
from rosetta_ui.store.exchange import (
    COLUMNS,
    Packing,
    export_json,
    neurons_csv,
    neurons_parquet,
    pack_dictionary,
    rows,
)
from rosetta_ui.store.results import ResultFolder
from rosetta_ui.types import Partner, RosettaNeuron, Selection, Unit
from tests.store.synthetic import ANCHOR, BACKBONES, neighbours_of, planted, write_planted


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ResultFolder:
    return write_planted(tmp_path_factory.mktemp("exchange") / "full", planted())


@pytest.fixture(scope="module")
def neurons(folder: ResultFolder) -> list[RosettaNeuron]:
    return answers.neurons(folder, Selection())


@pytest.fixture(scope="module")
def packed(folder: ResultFolder, neurons, tmp_path_factory) -> ResultFolder:
    out = tmp_path_factory.mktemp("exchange") / "packed"
    return pack_dictionary(folder, out, neurons, Packing(k=3, images=6, snapshots=True))


def test_json_has_exactly_the_agreed_schema(neurons: list[RosettaNeuron]) -> None:
    told = json.loads(json.dumps(export_json(neurons), allow_nan=False))
    assert list(told) == ["schema", "neurons"]
    assert told["schema"] == 1
    for entry, neuron in zip(told["neurons"], neurons, strict=True):
        assert list(entry) == [
            *("anchor", "partners", "score_min", "null_min", "above_null", "concept")
        ]
        assert Unit.parse(entry["anchor"]) == neuron.anchor
        assert list(entry["partners"]) == list(BACKBONES)
        for name, partner in entry["partners"].items():
            assert list(partner) == ["unit", "score", "null", "rank"]
            assert Unit.parse(partner["unit"]) == neuron.partners[name].unit
            assert type(partner["score"]) is type(partner["null"]) is float
            assert type(partner["rank"]) is int
        assert entry["score_min"] == min(p["score"] for p in entry["partners"].values())
        assert entry["null_min"] == min(p["null"] for p in entry["partners"].values())
        assert type(entry["above_null"]) is bool
        assert type(entry["concept"]) is int


def test_json_without_a_null_says_none() -> None:
    partner = Partner(Unit("b", "l", 3), 0.5, float("nan"), 1)
    (entry,) = export_json([RosettaNeuron(Unit("g", "l", 0), {"b": partner})])["neurons"]
    assert entry["null_min"] is None
    assert entry["partners"]["b"]["null"] is None
    assert export_json([]) == {"schema": 1, "neurons": []}


def test_csv_and_parquet_hold_the_same_rows(neurons: list[RosettaNeuron]) -> None:
    table = rows(neurons)
    assert len(table) == 2 * len(neurons)
    read = list(csv.DictReader(io.StringIO(neurons_csv(neurons))))
    arrow = pyarrow.parquet.read_table(io.BytesIO(neurons_parquet(neurons)))
    assert tuple(read[0]) == tuple(arrow.column_names) == COLUMNS
    assert arrow.to_pylist() == table
    for text, row in zip(read, table, strict=True):
        assert text["partner"] == row["partner"]
        assert float(text["score"]) == pytest.approx(row["score"], abs=1e-6)
        assert int(text["rank"]) == row["rank"]
    nothing = pyarrow.parquet.read_table(io.BytesIO(neurons_parquet([])))
    assert tuple(nothing.column_names) == COLUMNS


def test_parquet_without_pyarrow_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadRequestError, match="needs the package pyarrow") as caught:
        neurons_parquet([])
    assert "pip install pyarrow" in caught.value.hint


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("rule", ["published", "mutual"])
@pytest.mark.parametrize("score", ["pearson", "centred"])
def test_a_packed_dictionary_gives_the_same_neurons(folder, packed, rule, k, score) -> None:
    chosen = Selection(rule=rule, k=k, score=score)
    full, small = answers.neurons(folder, chosen), answers.neurons(packed, chosen)
    assert {n.anchor for n in small} == {n.anchor for n in full}
    by_anchor = {neuron.anchor: neuron for neuron in full}
    for neuron in small:
        other = by_anchor[neuron.anchor]
        assert neuron.above_null == other.above_null
        for name in BACKBONES:
            mine, theirs = neuron.partners[name], other.partners[name]
            assert (mine.unit, mine.rank) == (theirs.unit, theirs.rank)
            assert mine.score == pytest.approx(theirs.score, abs=6e-5)
            assert mine.null == pytest.approx(theirs.null, abs=6e-5)
            assert mine.halves == pytest.approx(theirs.halves, abs=7e-4)


def test_a_packed_dictionary_still_has_its_report(folder, packed) -> None:
    chosen = Selection(k=3)
    full, small = answers.report(folder, chosen), answers.report(packed, chosen)
    for name in BACKBONES:
        ours, theirs = small["tables"][name], full["tables"][name]
        for key in ("best_buddies", "null_best_buddies", "pairs", "null_pairs", "jaccard"):
            assert ours[key] == theirs[key]
        assert ours["convergence"] == theirs["convergence"]
        assert ours["depth"]["cols"][0]["median"] == pytest.approx(
            theirs["depth"]["cols"][0]["median"], abs=1e-4
        )
    assert small["rosetta"]["null_count"] == full["rosetta"]["null_count"]
    ours, theirs = (r["models"]["tiny-a"]["selectivity"]["others"] for r in (small, full))
    assert ours["median"] == pytest.approx(theirs["median"], abs=2e-3)
    said, full_said = (answers.summary(f, "id", chosen) for f in (packed, folder))
    assert said.rosetta == full_said.rosetta
    assert said.null_rosetta == full_said.null_rosetta
    assert said.anchor_dead == full_said.anchor_dead == 1


def test_a_packed_dictionary_shows_its_neurons(folder, packed, neurons) -> None:
    views, full = packed.views(), folder.views()
    assert views is not None
    assert full is not None
    assert views.images.tolist() == list(range(6))
    for neuron in neurons:
        for unit in (neuron.anchor, *(p.unit for p in neuron.partners.values())):
            flat = folder.index(unit.model).flat(unit)
            at, there = views.models[unit.model].row(flat), full.models[unit.model].row(flat)
            if there is None:
                continue
            assert at is not None
            ours = views.models[unit.model].maps[at].astype(int)
            theirs = full.models[unit.model].maps[there][:6].astype(int)
            # White noise is the worst case of a lossy coder; real maps are smooth.
            assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.95
    assert packed.record.previews == 6
    assert np.array_equal(packed.preview(5), folder.preview(5))
    with pytest.raises(BadRequestError, match="image 6"):
        packed.preview(6)


def test_smooth_maps_survive_packing_closely() -> None:
    y, x = np.mgrid[0:16, 0:16] / 15
    maps = np.stack([128 + 120 * np.sin(3 * x + i) * np.cos(2 * y - i) for i in range(40)])
    maps = maps.astype(np.uint8).reshape(5, 8, 16, 16)
    back = compact.maps(compact.sheets(maps, 70), 5, 8)
    assert np.abs(back.astype(int) - maps).mean() < 3


def test_packing_says_what_it_left_out(packed: ResultFolder) -> None:
    assert packed.scores(ANCHOR, "tiny-a", "pearson") is None
    with pytest.raises(BadRequestError, match="needs the table of"):
        answers.neurons(packed, Selection(rule="clique", k=2))
    with pytest.raises(BadRequestError, match="keeps the 3 nearest"):
        answers.neurons(packed, Selection(k=4))
    assert "3 nearest neighbours" in packed.record.run.notes[-1]
    assert (packed.path / "NOTICE.txt").exists()
    packed.verify()


def test_a_dictionary_packed_again_is_the_same(packed, neurons, tmp_path) -> None:
    again = pack_dictionary(packed, tmp_path / "again", neurons, Packing(k=3, images=6))
    chosen = Selection(k=3)
    assert answers.neurons(again, chosen) == answers.neurons(packed, chosen)


def test_terms_travel_with_the_pictures(folder, neurons, tmp_path) -> None:
    models = tuple(
        replace(model, terms=f"{model.name} for research only") for model in folder.record.models
    )
    licensed = ResultFolder(folder.path, replace(folder.record, models=models))
    packed = pack_dictionary(licensed, tmp_path / "out", neurons, Packing(k=2, images=2))
    text = (packed.path / "NOTICE.txt").read_text("utf-8")
    assert f"{ANCHOR}: {ANCHOR} for research only" in text
    assert packed.record.models[0].terms == f"{ANCHOR} for research only"


@pytest.mark.parametrize("keep", [Keep(1, 3), Keep(3, 3, col_scores=True), Keep(4, 2, True, True)])
def test_small_neighbours_are_the_kept_part_of_the_whole(keep: Keep) -> None:
    scores = np.random.default_rng(1).uniform(-1, 1, (20, 30))
    scores[3] = scores[:, 5] = -np.inf
    whole = neighbours_of(scores, 5)
    back = compact.unpacked(compact.packed(whole, keep), 30)
    assert np.array_equal(back["row_index"], whole.row_index[:, : keep.k_rows])
    assert np.allclose(back["row_score"], whole.row_score[:, : keep.k_rows], atol=5.1e-5)
    used = np.unique(back["row_index"][back["row_index"] >= 0])
    assert np.array_equal(back["col_index"][used], whole.col_index[used, : keep.k_cols])
    if keep.col_scores:
        expected = whole.col_score[used, : keep.k_cols]
        assert np.allclose(back["col_score"][used], expected, atol=5.1e-5)
    else:
        assert np.isnan(back["col_score"][used]).all()
    others = np.setdiff1d(np.arange(30), used)
    assert (back["col_index"][others, int(keep.best_of_all) :] == -1).all()
    if keep.best_of_all:
        assert np.array_equal(back["col_index"][:, 0], whole.col_index[:, 0])


def test_large_models_keep_wide_numbers() -> None:
    index = np.array([[70_000, -1]], np.int32)
    score = np.array([[0.5, -np.inf]], np.float32)
    empty = np.full((70_001, 2), -1, np.int32)
    whole = FourArrays(index, score, empty, np.full((70_001, 2), -np.inf, np.float32))
    back = compact.unpacked(compact.packed(whole, Keep(2, 2)), 70_001)
    assert back["row_index"].tolist() == [[70_000, -1]]


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("cols"),
        lambda a: a.pop("row_steps"),
        lambda a: a.update(cols=a["cols"] + 1000),
        lambda a: a.update(cols=a["cols"][:-1]),
        lambda a: a.update(col_index=a["col_index"][:, 0]),
        lambda a: a.update(col_steps=a["col_steps"][:-1]),
        lambda a: a.update(best_index=a["best_index"][:-1]),
        lambda a: a.pop("best_steps"),
        lambda a: a.update(row_steps=a["row_steps"][:, 0]),
    ],
)
def test_malformed_small_neighbours_are_refused(packed, tmp_path, change) -> None:
    whole = neighbours_of(planted().scores(ANCHOR, "tiny-a"), 3)
    arrays = compact.packed(whole, Keep(3, 3, col_scores=True, best_of_all=True))
    change(arrays)
    writer_out = tmp_path / "out"
    shutil.copytree(packed.path, writer_out)
    copied = ResultFolder.open(writer_out)
    name = "neighbours-tiny-a.safetensors.xz"
    data = compact.compressed({f"real/{key}": value for key, value in arrays.items()})
    (writer_out / name).write_bytes(data)
    files = {**copied.record.files, name: (len(data), "")}
    broken = ResultFolder(writer_out, replace(copied.record, files=files))
    broken._checked.add(name)
    with pytest.raises(StoreError, match="damaged"):
        broken.neighbours(ANCHOR, "tiny-a", "pearson")


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "bomb.xz"
    path.write_bytes(compact.compressed({"zeros": np.zeros(4_000_000, np.uint8)}))
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(compact, "_MOST_BYTES", 1_000_000)
    with pytest.raises(StoreError):
        compact.read(path)


def test_a_result_without_maps_cannot_be_packed(folder, neurons, tmp_path) -> None:
    bare = ResultFolder(folder.path, folder.record)
    bare.views = lambda: None
    with pytest.raises(StoreError, match="keeps no maps"):
        pack_dictionary(bare, tmp_path / "out", neurons, Packing(k=2))
