"""Numbers of the plots, against whole tables of planted truth."""

from __future__ import annotations

import numpy as np
import pytest

from rosetta_ui.errors import UnknownLayerError
from rosetta_ui.matching.plotted import (
    first_in_bins,
    layer_scores,
    strongest_by_layer,
    unit_scores,
)
from rosetta_ui.store.exchange import Packing, pack_dictionary
from rosetta_ui.store.folder import ResultFolder
from tests.store.synthetic import ANCHOR, planted, write_planted


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ResultFolder:
    return write_planted(tmp_path_factory.mktemp("plotted"), planted())


@pytest.fixture(scope="module")
def packed(folder: ResultFolder, tmp_path_factory: pytest.TempPathFactory) -> ResultFolder:
    return pack_dictionary(folder, tmp_path_factory.mktemp("packed"), [], Packing())


def test_layers_are_scored_by_the_mean_best_of_their_live_units(folder: ResultFolder) -> None:
    whole = np.array(folder.scores(ANCHOR, "tiny-a", "pearson"))
    means = layer_scores(folder, "tiny-a", "pearson")
    assert means is not None
    rows, cols = folder.index(ANCHOR), folder.index("tiny-a")
    for i, row in enumerate(rows.layers):
        for j, col in enumerate(cols.layers):
            block = whole[rows.layer_slice(row.name), cols.layer_slice(col.name)]
            best = block.max(1)
            assert means[i, j] == pytest.approx(best[np.isfinite(best)].mean(), abs=1e-6)


def test_a_packed_result_has_no_layer_scores_but_units_of_its_neighbours(
    folder: ResultFolder, packed: ResultFolder
) -> None:
    assert layer_scores(packed, "tiny-a", "pearson") is None
    full = unit_scores(folder, "tiny-a", "pearson", ("low", "stem"))
    some = unit_scores(packed, "tiny-a", "pearson", ("low", "stem"))
    for at, row in enumerate(some.rows):
        for to, col in enumerate(some.cols):
            value = some.values[at, to]
            if np.isfinite(value):
                here = full.values[full.rows.index(row), full.cols.index(col)]
                assert value == pytest.approx(here, abs=1e-4)
    assert np.isfinite(some.values).any()


def test_the_best_matched_units_make_a_diagonal(folder: ResultFolder) -> None:
    found = unit_scores(folder, "tiny-a", "pearson", ("low", "stem"))
    assert found.values.shape == (len(found.rows), len(found.cols))
    assert (np.diff(np.nanmax(found.values, 1)) <= 1e-9).all()
    assert found.values[0, 0] == np.nanmax(found.values)


def test_more_units_than_fit_are_counted_as_hidden(folder: ResultFolder) -> None:
    found = unit_scores(folder, "tiny-a", "pearson", ("high", "top"), most=3)
    assert found.values.shape == (3, 3)
    assert found.hidden == 7 - 3


def test_dead_units_are_not_shown(folder: ResultFolder) -> None:
    found = unit_scores(folder, "tiny-a", "pearson", ("high", "top"))
    assert 11 - 5 not in {unit.channel for unit in found.rows}  # anchor unit 11 is high:6
    assert np.isfinite(found.values).all()


def test_an_unknown_layer_is_named(folder: ResultFolder) -> None:
    with pytest.raises(UnknownLayerError):
        unit_scores(folder, "tiny-a", "pearson", ("low", "nowhere"))


def test_the_strongest_unit_of_a_layer_has_its_highest_score(folder: ResultFolder) -> None:
    whole = np.array(folder.scores(ANCHOR, "tiny-b", "pearson"))
    found = strongest_by_layer(folder, "tiny-b", "pearson")
    rows = folder.index(ANCHOR)
    for layer in ("low", "high"):
        block = whole[rows.layer_slice(layer)]
        assert whole[rows.flat(found[f"{ANCHOR}/{layer}"])].max() == block.max()
    assert whole[rows.flat(found["tiny-b/mlp"])].max() == whole.max()


def test_bins_take_the_first_value_and_outliers_go_to_the_ends() -> None:
    edges = [0.0, 1.0, 2.0]
    assert first_in_bins(edges, [5, 0.2, 0.1, -3], list("abcd")) == ["b", "a"]
    assert first_in_bins(edges, [float("nan"), 2.0], list("ab")) == ["", "b"]
    assert first_in_bins([], [1.0], ["a"]) == []
