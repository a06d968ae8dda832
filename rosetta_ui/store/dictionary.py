"""The dictionary as one JSON file that another installation opens as a result.

    schema         1; readers leave out members that they do not know
    neurons        [{anchor, partners: {backbone: {unit, score, null, rank, p, halves}}, score_min,
                   null_min, above_null, concept}], best first; null stands where there is no number
    concepts       [{number, medoid, members, agreement, label, classes}]
    favourites     {anchor: a person's name for it, or ""}
    concept_names  {medoid: a person's name for the concept}
    result         {title, created, images, request, selection, models (with layers), summary}

It carries numbers and words; tables, pictures and maps it cannot carry (`bundle` can). A file may
come from anybody: every value is checked for its type and range before use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rosetta_ui.errors import RosettaError, StoreError
from rosetta_ui.store.checked import Checked
from rosetta_ui.store.exchange import JSON_SCHEMA, export_json
from rosetta_ui.store.record import SCHEMA, ResultRecord
from rosetta_ui.types import (
    RULES,
    SCORES,
    BackboneSummary,
    ClassFavour,
    ConceptInfo,
    ConceptLabel,
    MatchSummary,
    Partner,
    RosettaNeuron,
    Selection,
    Unit,
)

MOST_NEURONS = 50_000
MOST_BYTES = 32 << 20
_MANY = 1 << 40
_NAME = 60


@dataclass(frozen=True)
class Dictionary:
    """What a dictionary file says.

    Attributes:
        record: of the result it was made of, without any file.
        selection: how the neurons were chosen.
        neurons: best first.
        concepts: of these neurons.
        classes: concept's number → the classes that go with it.
        summary: of the match.
        favourites, concept_names: spelled unit → a person's name.
    """

    record: ResultRecord
    selection: Selection
    neurons: tuple[RosettaNeuron, ...]
    concepts: tuple[ConceptInfo, ...]
    summary: MatchSummary
    classes: Mapping[int, Sequence[ClassFavour]] = field(
        default_factory=dict[int, Sequence[ClassFavour]]
    )
    favourites: Mapping[str, str] = field(default_factory=dict[str, str])
    concept_names: Mapping[str, str] = field(default_factory=dict[str, str])


def dictionary_json(dictionary: Dictionary) -> dict[str, Any]:
    """A dictionary as JSON values; `read_dictionary` reads them back."""
    record, summary = dictionary.record, asdict(dictionary.summary)
    told = export_json(dictionary.neurons)
    for entry, neuron in zip(told["neurons"], dictionary.neurons, strict=True):
        for name, partner in neuron.partners.items():
            entry["partners"][name] |= {"p": partner.p, "halves": partner.halves}
    values = {
        **told,
        "concepts": [
            _concept_json(concept, dictionary.classes.get(concept.number, ()))
            for concept in dictionary.concepts
        ],
        "favourites": dict(dictionary.favourites),
        "concept_names": dict(dictionary.concept_names),
        "result": {
            "title": record.title,
            "created": record.created,
            "images": record.images,
            "request": asdict(record.request),
            "selection": asdict(dictionary.selection),
            "models": [asdict(model) for model in record.models],
            "summary": {k: summary[k] for k in (*_COUNTS, *_NUMBERS, "partial", "tables")},
        },
    }
    plain: dict[str, Any] = _plain(values)
    return plain


def _concept_json(concept: ConceptInfo, classes: Sequence[ClassFavour]) -> dict[str, Any]:
    label = concept.label
    return {
        "number": concept.number,
        "medoid": str(concept.medoid),
        "members": [str(unit) for unit in concept.members],
        "agreement": concept.agreement,
        "label": label and {"text": label.text, **asdict(label)},
        "classes": [asdict(favour) for favour in classes],
    }


def read_dictionary(value: object) -> Dictionary:
    """Read and check a dictionary.

    Raises:
        StoreError: it is none, or a value is missing, of the wrong type or out of range: which.
    """
    data = Checked(value, "The dictionary")
    schema = data.get("schema").integer(0, 1 << 30)
    if schema != JSON_SCHEMA:
        raise StoreError(
            f"The dictionary is of format {schema}, but this version reads {JSON_SCHEMA}.",
            "Export it again with the version that is installed here.",
        )
    if not data.has("result"):
        raise StoreError(
            "This dictionary does not say which layers its models have, so it cannot be opened.",
            "Export it from the Gallery: Export, All neurons, JSON.",
        )
    result = data.get("result")
    record = _record(result)
    selection = _selection(result.get("selection"))
    units = _Units(record)
    neurons = tuple(_neuron(item, units) for item in data.get("neurons").items(MOST_NEURONS))
    known = {str(neuron.anchor) for neuron in neurons}
    if len(known) < len(neurons):
        raise StoreError("The dictionary names a neuron twice.")
    listed = data.get("concepts").items(MOST_NEURONS) if data.has("concepts") else []
    concepts = tuple(_concept(item, units) for item in listed)
    return Dictionary(
        record=record,
        selection=selection,
        neurons=neurons,
        concepts=concepts,
        summary=_summary(result.get("summary"), record, selection),
        classes={
            concept.number: _classes(item, units)
            for concept, item in zip(concepts, listed, strict=True)
        },
        favourites=_names(data, "favourites", known),
        concept_names=_names(data, "concept_names", known),
    )


def _record(result: Checked) -> ResultRecord:
    """The record that the result would have: read by the same code as a result folder's."""
    names = [item.get("name").text() for item in result.get("models").items(64)]
    score = result.get("request").get("score").choice(SCORES)
    tables = [
        {"rows": names[0], "cols": name, "kept": {score: ["real"]}, "whole": []}
        for name in names[1:]
    ]
    return ResultRecord.from_json(
        {
            "schema": SCHEMA,
            "kind": "rosetta-result",
            "request": result.get("request").value,
            "title": result.get("title").text(300),
            "created": result.get("created").value,
            "models": result.get("models").value,
            "tables": tables,
            "run": {
                **{"images": result.get("images").value, "inputs": {}, "snapshots": {}},
                **{"timings": {}, "summary": {}, "notes": [], "partial": False},
            },
            "previews": 0,
            "preview_size": [0, 0],
            "files": {},
        }
    )


class _Units:
    """Reads units of a result's models."""

    def __init__(self, record: ResultRecord) -> None:
        self._indexes = {model.name: model.index for model in record.models}
        self.anchor = record.anchor.name
        self.backbones = tuple(model.name for model in record.backbones)

    def read(self, data: Checked, model: str) -> Unit:
        try:
            unit = Unit.parse(data.text(700))
            self._indexes[model].flat(unit)
        except RosettaError as error:
            raise StoreError(f"{data.place}: {error.message}") from error
        return unit


def _selection(data: Checked) -> Selection:
    return Selection(
        rule=data.get("rule").choice(RULES),
        k=data.get("k").integer(1, 1 << 20),
        score=data.get("score").choice(SCORES),
        q=data.get("q").number(1e-9, 1 - 1e-9),
        lowest=data.get("lowest").number(-1, 1),
        above_null=data.get("above_null").truth(),
    )


def _neuron(data: Checked, units: _Units) -> RosettaNeuron:
    given = dict(data.get("partners").members(64))
    if set(given) != set(units.backbones):
        raise data.get("partners").wrong(f"one partner in each of {', '.join(units.backbones)}")
    return RosettaNeuron(
        anchor=units.read(data.get("anchor"), units.anchor),
        partners={name: _partner(given[name], name, units) for name in units.backbones},
        concept=data.get("concept").integer(-1, MOST_NEURONS),
        above_null=data.get("above_null").truth(),
    )


def _partner(data: Checked, model: str, units: _Units) -> Partner:
    halves = None
    if data.has("halves"):
        pair = [item.number(-1.001, 1.001) for item in data.get("halves").items(2)]
        if len(pair) != 2:
            raise data.get("halves").wrong("two scores")
        halves = (pair[0], pair[1])
    return Partner(
        unit=units.read(data.get("unit"), model),
        score=data.get("score").number(-1.001, 1.001),
        null=_or_nan(data, "null", -1.001, 1.001),
        rank=data.get("rank").integer(1, 1 << 24),
        halves=halves,
        p=_or_nan(data, "p", 0, 1),
    )


def _or_nan(data: Checked, key: str, low: float, high: float) -> float:
    return data.get(key).number(low, high) if data.has(key) else math.nan


def _concept(data: Checked, units: _Units) -> ConceptInfo:
    members = data.get("members").items(MOST_NEURONS)
    return ConceptInfo(
        number=data.get("number").integer(0, MOST_NEURONS),
        members=tuple(units.read(item, units.anchor) for item in members),
        medoid=units.read(data.get("medoid"), units.anchor),
        agreement=_or_nan(data, "agreement", -1.001, 1.001),
        label=_label(data.get("label")) if data.has("label") else None,
    )


def _label(data: Checked) -> ConceptLabel:
    return ConceptLabel(
        place=data.get("place").text(40),
        size=data.get("size").choice(("small", "medium", "large")),
        covers=data.get("covers").number(0, 1),
        colour=data.get("colour").text(40),
        against=data.get("against").text(60),
        x=data.get("x").number(0, 1),
        y=data.get("y").number(0, 1),
    )


def _classes(data: Checked, units: _Units) -> list[ClassFavour]:
    if not data.has("classes"):
        return []
    return [
        ClassFavour(
            backbone=item.get("backbone").choice(units.backbones),
            name=item.get("name").text(200),
            r=item.get("r").number(-1.001, 1.001),
            chance=item.get("chance").number(-1.001, 1.001),
        )
        for item in data.get("classes").items(256)
    ]


def _names(data: Checked, key: str, known: set[str]) -> dict[str, str]:
    if not data.has(key):
        return {}
    members = data.get(key).members(MOST_NEURONS)
    return {name: item.text(_NAME) for name, item in members if name in known}


_COUNTS = (
    *("anchor_units", "anchor_dead", "rosetta", "rosetta_above_null", "peak_bytes"),
    *("null_rosetta", "null_rosetta_above"),
)
_NUMBERS = ("threshold", "seconds", "images_per_second")
_TABLE_COUNTS = ("units", "dead", "best_buddies", "null_best_buddies")
_TABLE_NUMBERS = ("share", "threshold", "above_null", "false_discoveries", "jaccard")


def _summary(data: Checked, record: ResultRecord, selection: Selection) -> MatchSummary:
    names = [model.name for model in record.backbones]
    values: dict[str, Any] = {name: data.get(name).integer(-1, _MANY) for name in _COUNTS}
    values |= {name: _or_nan(data, name, -1e18, 1e18) for name in _NUMBERS}
    return MatchSummary(
        result="",
        request=record.request,
        selection=selection,
        anchor_model=record.anchor.name,
        tables=tuple(_table(item, names) for item in data.get("tables").items(64)),
        created=record.created,
        partial=data.get("partial").truth(),
        **values,
    )


def _table(data: Checked, names: Sequence[str]) -> BackboneSummary:
    values: dict[str, Any] = {name: data.get(name).integer(-1, _MANY) for name in _TABLE_COUNTS}
    values |= {name: _or_nan(data, name, -1e9, 1e9) for name in _TABLE_NUMBERS}
    return BackboneSummary(data.get("backbone").choice(names), **values)


def _plain(value: Any) -> Any:
    """Values as JSON has them: lists, and null for what is no number."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
