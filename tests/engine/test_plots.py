"""Plots, comparison and files of the engine, on planted results; no torch is needed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from rosetta_ui.engine.engine import Engine
from rosetta_ui.engine.plot_names import PLOTS
from rosetta_ui.engine.sharing import FILE_KINDS
from rosetta_ui.errors import BadRequestError, EmptyMatchError
from rosetta_ui.settings import Settings
from rosetta_ui.store.exchange import Packing, pack_dictionary
from rosetta_ui.types import PersonNames, Selection
from tests.store.synthetic import ANCHOR, planted, write_planted

USUAL = Selection()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plots")
    full = write_planted(folder / "full", planted())
    write_planted(folder / "other", planted(noise=1.2), seed=1)
    pack_dictionary(full, folder / "packed", [], Packing())
    return folder


@pytest.fixture(scope="module")
def planted_engine(folder: Path) -> Iterator[Engine]:
    with Engine(Settings(cache_dir=folder / "cache", fetch=False)) as engine:
        yield engine


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_is_drawn_and_says_how_to_read_it(
    planted_engine: Engine, folder: Path, name: str
) -> None:
    answer = planted_engine.plot(str(folder / "full"), USUAL, name)
    assert answer["figure"]["data"], answer["why"]
    assert answer["why"] == ""
    assert answer["read"].endswith(".")
    assert [p["name"] for p in answer["plots"]] == list(PLOTS)
    json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize("name", PLOTS)
def test_a_packed_result_is_drawn_or_says_why_not(
    planted_engine: Engine, folder: Path, name: str
) -> None:
    answer = planted_engine.plot(str(folder / "packed"), USUAL, name)
    assert bool(answer["figure"]) != bool(answer["why"])
    if name == "convergence":
        assert "keeps no tables of some of its images" in answer["why"]
    if name == "layers":
        assert "left out of this small result" in answer["read"]
    json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize("name", ["scores", "nulls", "where", "mean", "selectivity", "depth"])
def test_clicks_choose_neurons_of_the_result(
    planted_engine: Engine, folder: Path, name: str
) -> None:
    result = str(folder / "full")
    known = {str(unit) for unit in planted_engine.index(result)[ANCHOR]}
    figure = planted_engine.plot(result, USUAL, name)["figure"]
    chosen = [c["neuron"] for t in figure["data"] for c in t.get("customdata") or [] if c]
    assert chosen
    assert set(chosen) <= known


def test_a_cell_of_two_layers_leads_to_their_units(planted_engine: Engine, folder: Path) -> None:
    result = str(folder / "full")
    layers = planted_engine.plot(result, USUAL, "layers", "tiny-b")
    cell = layers["figure"]["data"][0]["customdata"][0][0]
    assert cell == {"rows": "low", "cols": "mlp"}
    units = planted_engine.plot(result, USUAL, "layers", "tiny-b", (cell["rows"], cell["cols"]))
    assert units["layers"] == ["low", "mlp"]
    best = planted_engine.pairs(result, "tiny-b", USUAL)[0][0]
    assert units["figure"]["data"][0]["customdata"][0][0] == {"neuron": str(best)}


def test_a_scatter_point_a_cell_and_a_bar_of_a_pair_choose_the_same_neuron(
    planted_engine: Engine, folder: Path
) -> None:
    result = str(folder / "full")
    neuron = planted_engine.neurons(result, USUAL)[0]
    points = planted_engine.plot(result, USUAL, "scores")["figure"]["data"]
    assert {"neuron": str(neuron.anchor)} in points[0]["customdata"]
    pair = neuron.anchor.layer, neuron.partners["tiny-a"].unit.layer
    cells = planted_engine.plot(result, USUAL, "layers", "tiny-a", pair)["figure"]["data"][0]
    row = cells["y"].index(str(neuron.anchor.channel))
    assert cells["customdata"][row][0] == {"neuron": str(neuron.anchor)}


def test_an_unknown_plot_is_refused(planted_engine: Engine, folder: Path) -> None:
    with pytest.raises(BadRequestError, match="no plot 'pie'"):
        planted_engine.plot(str(folder / "full"), USUAL, "pie")


def test_a_comparison_counts_draws_and_lists(planted_engine: Engine, folder: Path) -> None:
    answer = planted_engine.comparison(str(folder / "full"), str(folder / "other"), USUAL, "tiny-b")
    assert answer["backbone"] == "tiny-b"
    table = answer["tables"][1]
    listed = {where: len(pairs) for where, pairs in answer["pairs"].items()}
    assert listed == {
        "both": table["both"],
        "first": table["only_first"],
        "second": table["only_second"],
    }
    drawn = sum(len(trace["x"]) for trace in answer["figure"]["data"])
    assert drawn == sum(listed.values())
    json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize("kind", FILE_KINDS)
@pytest.mark.parametrize("which", ["full", "packed"])
def test_every_kind_of_file_is_written(
    planted_engine: Engine, folder: Path, kind: str, which: str
) -> None:
    data = planted_engine.export_file(str(folder / which), USUAL, kind)
    starts = {"json": b"{", "csv": b"anchor,", "parquet": b"PAR1", "html": b"<!doctype html>"}
    starts["zip"] = b"PK"
    assert data.startswith(starts.get(kind, b"RIFF"))
    if kind == "webp":
        with Image.open(io.BytesIO(data)) as film:
            assert film.n_frames > 1


def test_names_of_a_person_go_into_json_and_page(planted_engine: Engine, folder: Path) -> None:
    result = str(folder / "full")
    last = str(planted_engine.neurons(result, USUAL)[-1].anchor)
    names = PersonNames({last: "fringe"})
    made = json.loads(planted_engine.export_file(result, USUAL, "json", names=names))
    assert made["favourites"] == names.neurons
    page = planted_engine.export_file(result, USUAL, "html", names=names).decode()
    assert page.index("fringe") < page.index('"name":""')  # what a person named comes first


def test_files_that_cannot_be_made_are_refused_in_a_sentence(
    planted_engine: Engine, folder: Path
) -> None:
    result = str(folder / "full")
    with pytest.raises(BadRequestError, match="'exe' is no kind of file"):
        planted_engine.export_file(result, USUAL, "exe")
    with pytest.raises(BadRequestError, match="is no Rosetta Neuron here"):
        planted_engine.export_file(result, USUAL, "webp", neuron="tiny-generator/high:6")
    with pytest.raises(EmptyMatchError):
        planted_engine.export_file(result, Selection(lowest=2), "html")
