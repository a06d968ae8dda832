"""Between the page and the engine's types: what was asked is read, what is shown is written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rosetta_ui.errors import BadRequestError
from rosetta_ui.types import (
    RULES,
    SCORES,
    ConceptInfo,
    JobStatus,
    MatchSummary,
    ModelStatus,
    Partner,
    ResultInfo,
    RosettaNeuron,
    RuleName,
    ScoreName,
    Selection,
    UnitIndex,
)

Json = dict[str, Any]
MOST_K = 32  # results keep the 32 best partners of each unit


def text_of(asked: Mapping[str, Any], key: str) -> str:
    """A text that the page gave; empty where it gave none.

    Raises:
        BadRequestError: it is no text.
    """
    value = asked.get(key, "")
    if not isinstance(value, str):
        raise BadRequestError(f"'{key}' is {value!r}, but a text was expected.")
    return value


def whole_of(
    asked: Mapping[str, Any], key: str, usual: int, low: int = 0, high: int = 2**31
) -> int:
    """A whole number that the page gave.

    Raises:
        BadRequestError: it is none, or lies outside low to high.
    """
    value = asked.get(key)
    if value is None or value == "":
        return usual
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0:
        raise BadRequestError(f"'{key}' is {value!r}.", "Give a whole number.")
    if not low <= value <= high:
        raise BadRequestError(f"'{key}' is {int(value)}.", f"Give a number from {low} to {high}.")
    return int(value)


def decimal_of(asked: Mapping[str, Any], key: str) -> float:
    """A finite number that the page gave.

    Raises:
        BadRequestError: it is none.
    """
    value = asked.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadRequestError(f"'{key}' is {value!r}.", "Give a number.")
    return float(value)


def score_of(text: str) -> ScoreName:
    """The score of this name.

    Raises:
        BadRequestError: there is none.
    """
    for score in SCORES:
        if score == text:
            return score
    raise BadRequestError(f"There is no score '{text}'.", f"Choose {', '.join(SCORES)}.")


def rule_of(text: str) -> RuleName:
    """The rule of this name.

    Raises:
        BadRequestError: there is none.
    """
    for rule in RULES:
        if rule == text:
            return rule
    raise BadRequestError(f"There is no rule '{text}'.", f"Choose {', '.join(RULES)}.")


def selection_of(asked: Mapping[str, Any], score: ScoreName) -> Selection:
    """The selection that the page asked for.

    Args:
        asked: rule, k and score, each optional.
        score: the one to take where none is given, usually the result's own.

    Raises:
        BadRequestError: a rule, score or K that does not exist.
    """
    usual = Selection()
    return Selection(
        rule=rule_of(text_of(asked, "rule") or usual.rule),
        k=whole_of(asked, "k", usual.k, 1, MOST_K),
        score=score_of(text_of(asked, "score") or score),
    )


def number(value: float, digits: int = 4) -> float | None:
    """A number fit for JSON, which knows neither NaN nor infinity."""
    return round(float(value), digits) if math.isfinite(value) else None


def count(value: int) -> int | None:
    """A count, None where it is negative: there is no null to count in."""
    return value if value >= 0 else None


def result_json(info: ResultInfo) -> Json:
    """One line of the history."""
    request = info.request
    return {
        "id": info.result,
        "title": info.title,
        "generator": request.generator or request.photos,
        "backbones": list(request.backbones),
        "images": request.n_images,
        "seed": request.seed,
        "psi": request.psi,
        "class": request.class_index,
        "score": request.score,
        "batch": request.batch_size,
        "created": info.created,
        "saved": info.saved,
        "bundled": info.bundled,
        "bytes": info.bytes,
        "fixed": info.fixed
        and {"rule": info.fixed.rule, "k": info.fixed.k, "score": info.fixed.score},
    }


def model_json(status: ModelStatus) -> Json:
    """What the page says about a model."""
    card = status.card
    return {
        "name": card.name,
        "title": card.title,
        "about": card.about,
        "licence": card.licence,
        "terms": card.terms,
        "paper": card.paper,
        "size": list(card.image_size),
        "psi": card.psi,
        "classes": card.n_classes,
        "spaces": list(card.spaces),
        "units": card.units,
        "bytes": card.source.size if card.source else 0,
        "embedded": card.embedded,
        "state": status.state,
        "detail": status.detail,
        "command": status.command,
    }


def job_json(status: JobStatus) -> Json:
    """A snapshot of a job."""
    request = status.request
    return {
        "job": status.job,
        "kind": status.kind,
        "state": status.state,
        "done": status.done,
        "total": status.total,
        "unit": status.unit_name,
        "rate": number(status.rate),
        "left": number(status.seconds_left, 1),
        "message": status.message,
        "hint": status.hint,
        "place": status.place,
        "result": status.result,
        "log": list(status.log),
        "models": [request.generator or "photos", *request.backbones] if request else [],
        "resumes": request is not None,
        "found": [
            {"images": each.images, "rosetta": each.rosetta, "pairs": dict(each.pairs)}
            for each in status.found
        ],
        "best": [
            [str(anchor), {name: str(unit) for name, unit in partners.items()}, number(score)]
            for anchor, partners, score in (status.found[-1].best if status.found else ())
        ],
    }


def summary_json(summary: MatchSummary) -> Json:
    """What a person reads first about a result."""
    request = summary.request
    return {
        "result": summary.result,
        "anchor": summary.anchor_model,
        "anchor_units": summary.anchor_units,
        "anchor_dead": summary.anchor_dead,
        "score": summary.selection.score,
        "rule": summary.selection.rule,
        "k": summary.selection.k,
        "q": summary.selection.q,
        "images": request.n_images,
        "seed": request.seed,
        "rosetta": summary.rosetta,
        "rosetta_above_null": summary.rosetta_above_null,
        "null_rosetta": count(summary.null_rosetta),
        "threshold": number(summary.threshold),
        "seconds": number(summary.seconds, 1),
        "rate": number(summary.images_per_second, 2),
        "peak": summary.peak_bytes,
        "partial": summary.partial,
        "tables": [
            {
                "backbone": table.backbone,
                "units": table.units,
                "dead": table.dead,
                "best_buddies": table.best_buddies,
                "null_best_buddies": count(table.null_best_buddies),
                "share": number(table.share),
                "threshold": number(table.threshold),
                "above_null": number(table.above_null),
                "false_discoveries": number(table.false_discoveries),
                "jaccard": number(table.jaccard),
            }
            for table in summary.tables
        ],
    }


def model_columns(index: Mapping[str, UnitIndex]) -> list[Json]:
    """The models of a result and their layers, in the order of the grid's columns."""
    return [
        {
            "name": name,
            "units": len(units),
            "layers": [{"name": spec.name, "size": list(spec.size)} for spec in units.layers],
        }
        for name, units in index.items()
    ]


def concept_json(concept: ConceptInfo, places: Mapping[str, int]) -> Json:
    """One concept.

    Args:
        concept: whose members are all in `places`.
        places: spelled anchor → its place in the list of neurons.
    """
    label = concept.label
    return {
        "number": concept.number,
        "members": [places[str(unit)] for unit in concept.members],
        "medoid": places[str(concept.medoid)],
        "agreement": number(concept.agreement),
        "label": label
        and {
            "text": label.text,
            "place": label.place,
            "size": label.size,
            "covers": number(label.covers),
            "colour": label.colour,
            "against": label.against,
        },
    }


def neuron_rows(
    neurons: Sequence[RosettaNeuron], index: Mapping[str, UnitIndex]
) -> list[list[Any]]:
    """Neurons as short lists: names of 500 units would be four times as many bytes.

    Each is [layer number, channel, concept, above the null, partners], the partners in the order of
    `index`: [layer number, channel, score, null, rank, score of each half, p].
    """
    anchors, *backbones = index.items()

    def partner_row(units: UnitIndex, partner: Partner) -> list[Any]:
        halves = partner.halves or (math.nan, math.nan)
        return [
            units.depth(units.flat(partner.unit)),
            partner.unit.channel,
            number(partner.score),
            number(partner.null),
            partner.rank,
            number(halves[0]),
            number(halves[1]),
            number(partner.p),
        ]

    return [
        [
            anchors[1].depth(anchors[1].flat(neuron.anchor)),
            neuron.anchor.channel,
            neuron.concept,
            neuron.above_null,
            [partner_row(units, neuron.partners[name]) for name, units in backbones],
        ]
        for neuron in neurons
    ]
