"""What the page asks is read with care, what it gets is plain JSON."""

from __future__ import annotations

import json
import math

import pytest
from fake_engine import FakeEngine

from rosetta_ui.errors import BadRequestError
from rosetta_ui.tabs import present
from rosetta_ui.types import JobStatus, Selection


@pytest.mark.parametrize("value", [None, ""])
def test_a_number_that_is_not_given_is_the_usual_one(value: object) -> None:
    assert present.whole_of({"k": value}, "k", 5) == 5


@pytest.mark.parametrize("value", ["5", 5.5, True, [], {}, -1, 33, math.inf, math.nan])
def test_a_number_that_cannot_be_is_refused(value: object) -> None:
    with pytest.raises(BadRequestError, match="'k'"):
        present.whole_of({"k": value}, "k", 5, 0, 32)


@pytest.mark.parametrize("value", ["x", math.nan, math.inf, None, True])
def test_a_decimal_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(BadRequestError):
        present.decimal_of({"psi": value}, "psi")


def test_the_selection_takes_the_results_own_score_where_none_is_given() -> None:
    assert present.selection_of({"rule": "mutual", "k": 3}, "centred") == Selection(
        rule="mutual", k=3, score="centred"
    )


@pytest.mark.parametrize(
    "asked", [{"rule": "best"}, {"score": "cosine"}, {"k": 0}, {"k": 33}, {"rule": 4}]
)
def test_a_selection_that_does_not_exist_is_refused(asked: dict[str, object]) -> None:
    with pytest.raises(BadRequestError):
        present.selection_of(asked, "pearson")


def test_numbers_that_json_does_not_know_become_null() -> None:
    assert present.number(math.nan) is None
    assert present.number(-math.inf) is None
    status = JobStatus("a", "match", "running")
    assert "NaN" not in json.dumps(present.job_json(status))


def test_rows_name_units_by_layer_number_in_the_order_of_the_columns() -> None:
    engine = FakeEngine(n_neurons=4)
    index = engine.index("bundled")
    neurons = engine.neurons("bundled", Selection())
    rows = present.neuron_rows(neurons, index)
    columns = present.model_columns(index)
    for neuron, (layer, channel, _, above, partners) in zip(neurons, rows, strict=True):
        assert columns[0]["layers"][layer]["name"] == neuron.anchor.layer
        assert (channel, above) == (neuron.anchor.channel, neuron.above_null)
        for column, partner in zip(columns[1:], partners, strict=True):
            unit = neuron.partners[column["name"]].unit
            assert column["layers"][partner[0]]["name"] == unit.layer
            assert partner[1] == unit.channel


def test_five_hundred_neurons_fit_into_the_goal_of_a_request() -> None:
    engine = FakeEngine(n_neurons=500)
    rows = present.neuron_rows(engine.neurons("bundled", Selection()), engine.index("bundled"))
    assert len(json.dumps(rows, separators=(",", ":"))) < 200_000
