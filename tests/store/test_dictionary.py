"""A dictionary as one file: what is written is read back, and nothing else is believed."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rosetta_ui.errors import BadRequestError, RosettaError, StoreError
from rosetta_ui.matching import answers
from rosetta_ui.store.dictionary import Dictionary, dictionary_json, read_dictionary
from rosetta_ui.store.importing import imported, parse_dictionary, write_dictionary
from rosetta_ui.store.results import ResultFolder
from rosetta_ui.types import (
    ClassFavour,
    ConceptInfo,
    ConceptLabel,
    Selection,
)
from tests.store.synthetic import ANCHOR, planted, write_planted


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ResultFolder:
    return write_planted(tmp_path_factory.mktemp("dictionary") / "full", planted())


@pytest.fixture(scope="module")
def dictionary(folder: ResultFolder) -> Dictionary:
    selection = Selection(rule="mutual", k=3)
    found = answers.neurons(folder, selection)
    first = found[0].anchor
    label = ConceptLabel("top left", "small", 0.05, "blue", "darker than the rest", 0.2, 0.2)
    return Dictionary(
        record=folder.record,
        selection=selection,
        neurons=tuple(found),
        concepts=(ConceptInfo(0, (first,), first, math.nan, label),),
        summary=answers.summary(folder, "", selection),
        classes={0: [ClassFavour("tiny-a", "<b>tench</b>", 0.8, 0.6)]},
        favourites={str(first): "fringe"},
        concept_names={str(first): "hair"},
    )


@pytest.fixture
def told(dictionary: Dictionary) -> dict[str, Any]:
    return json.loads(json.dumps(dictionary_json(dictionary), allow_nan=False))


def test_what_is_written_is_read_back(dictionary: Dictionary, told: dict[str, Any]) -> None:
    again = read_dictionary(told)
    assert again.selection == dictionary.selection
    assert again.record.models == dictionary.record.models
    assert [n.anchor for n in again.neurons] == [n.anchor for n in dictionary.neurons]
    for ours, theirs in zip(again.neurons, dictionary.neurons, strict=True):
        assert ours == theirs
    assert again.concepts[0].label == dictionary.concepts[0].label
    assert math.isnan(again.concepts[0].agreement)
    assert again.classes == dictionary.classes
    assert (again.favourites, again.concept_names) == (
        dictionary.favourites,
        dictionary.concept_names,
    )
    assert again.summary.tables == dictionary.summary.tables
    assert dictionary_json(again) == told


def test_the_neurons_stand_in_it_as_the_command_line_prints_them(told: dict[str, Any]) -> None:
    assert told["schema"] == 1
    entry = told["neurons"][0]
    assert {"anchor", "partners", "score_min", "null_min", "above_null", "concept"} == set(entry)
    assert {"unit", "score", "null", "rank"} < set(entry["partners"]["tiny-a"])


def test_an_imported_dictionary_opens_as_a_result(
    folder: ResultFolder, dictionary: Dictionary, told: dict[str, Any], tmp_path: Path
) -> None:
    write_dictionary(parse_dictionary(json.dumps(told).encode()), tmp_path / "result")
    opened = ResultFolder.open(tmp_path / "result")
    assert imported(folder) is None
    own = dictionary.selection
    assert answers.neurons(opened, own) == answers.neurons(folder, own)
    strong = answers.neurons(opened, Selection("mutual", 3, lowest=0.7))
    assert strong == answers.neurons(folder, Selection("mutual", 3, lowest=0.7))
    pairs = answers.pairs(opened, "tiny-b", own)
    assert {str(anchor) for anchor, _ in pairs} == {str(n.anchor) for n in dictionary.neurons}
    summary = answers.summary(opened, "mine", own)
    assert summary.result == "mine"
    assert (summary.rosetta, summary.null_rosetta) == (
        dictionary.summary.rosetta,
        dictionary.summary.null_rosetta,
    )


def test_what_needs_the_tables_is_refused_with_a_next_step(
    told: dict[str, Any], tmp_path: Path
) -> None:
    write_dictionary(read_dictionary(told), tmp_path / "result")
    opened = ResultFolder.open(tmp_path / "result")
    with pytest.raises(BadRequestError, match="rule mutual, K 3 and score pearson") as caught:
        answers.neurons(opened, Selection())
    assert "bundle" in caught.value.hint
    with pytest.raises(BadRequestError, match="keeps no tables"):
        answers.report(opened, Selection("mutual", 3))
    assert opened.views() is None


def changed(told: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    other = copy.deepcopy(told)
    change(other)
    return other


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(told: dict[str, Any]) -> None:
        at: Any = told
        *parents, last = path.split("/")
        for key in parents:
            at = at[int(key)] if isinstance(at, list) else at[key]
        at[int(last) if isinstance(at, list) else last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", 2),
        ("schema", True),
        ("neurons", {}),
        ("neurons/0/anchor", "elsewhere/low:0"),
        ("neurons/0/anchor", f"{ANCHOR}/low:99"),
        ("neurons/0/anchor", 7),
        ("neurons/1/anchor", None),
        ("neurons/0/partners", {}),
        ("neurons/0/partners/tiny-a/score", "0.5"),
        ("neurons/0/partners/tiny-a/score", 2),
        ("neurons/0/partners/tiny-a/unit", "tiny-b/mlp:0"),
        ("neurons/0/partners/tiny-a/rank", 0),
        ("neurons/0/partners/tiny-a/halves", [0.1]),
        ("neurons/0/concept", -2),
        ("neurons/0/above_null", 1),
        ("concepts/0/members", ["../../x"]),
        ("concepts/0/label/size", "huge"),
        ("concepts/0/classes/0/backbone", "elsewhere"),
        ("favourites", []),
        ("concept_names", {"a": 3}),
        ("result", None),
        ("result/models", []),
        ("result/models/0/name", "a/b"),
        ("result/models/0/layers/0/channels", 10**9),
        ("result/selection/rule", "mine"),
        ("result/summary/rosetta", "many"),
        ("result/summary/tables/0/backbone", "elsewhere"),
        ("result/request/seed", None),
    ],
)
def test_a_value_that_cannot_be_right_is_named(told: dict[str, Any], path: str, value: Any) -> None:
    if path == "concept_names":
        value = {told["neurons"][0]["anchor"]: 3}
    with pytest.raises(RosettaError) as caught:
        read_dictionary(changed(told, put(path, value)))
    assert len(caught.value.message) > 10


def test_a_neuron_that_is_named_twice_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="twice"):
        read_dictionary(changed(told, lambda t: t["neurons"].append(t["neurons"][0])))


def test_a_dictionary_without_layers_says_how_to_get_one_with_them() -> None:
    with pytest.raises(StoreError, match="which layers") as caught:
        read_dictionary({"schema": 1, "neurons": []})
    assert "Export" in caught.value.hint


@pytest.mark.parametrize("data", [b"", b"[1", b"NaN", b"\xff\xfe", b"[" * 100_000, b"null", b"3"])
def test_what_is_no_dictionary_is_said_in_a_sentence(data: bytes) -> None:
    with pytest.raises(StoreError):
        parse_dictionary(data)


def test_names_of_units_that_are_not_in_it_are_left_out(told: dict[str, Any]) -> None:
    again = read_dictionary(changed(told, put("favourites", {"gone/l:1": "x"})))
    assert again.favourites == {}
