"""Questions one can ask of a result folder: neurons, pairs, summary, report, the dictionary.

Joins what the store keeps with the rules of matching. Needs no torch and no weights.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import BadRequestError, StoreError, UnknownModelError
from rosetta_ui.matching import concepts as clustering
from rosetta_ui.matching.concepts import Concept
from rosetta_ui.matching.neighbours import Neighbours
from rosetta_ui.matching.report import ModelNumbers, ReportInputs, build, summarise_table
from rosetta_ui.matching.rosetta import (
    TableNeighbours,
    count_in_null,
    intersect,
    match_pairs,
    null_minima,
    threshold,
)
from rosetta_ui.store.dictionary import Dictionary
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.store.importing import imported
from rosetta_ui.store.record import RunFacts, Which
from rosetta_ui.store.writer import ResultWriter
from rosetta_ui.types import (
    MatchSummary,
    Partner,
    RosettaNeuron,
    ScoreName,
    Selection,
    Unit,
)

SNAPSHOTS: tuple[Which, ...] = ("at_n8", "at_n4", "at_n2")


def tables(folder: ResultFolder, score: ScoreName) -> dict[str, TableNeighbours]:
    """Backbone → the kept neighbours of anchor × backbone.

    Raises:
        BadRequestError: the result has no such score.
        StoreError: a file is missing or damaged.
    """
    return {name: table_of(folder, folder.anchor, name, score) for name in folder.backbones}


def cross_tables(folder: ResultFolder, score: ScoreName) -> dict[tuple[str, str], TableNeighbours]:
    """(backbone, backbone) → the kept neighbours of their table, where it has this score."""
    return {
        (table.rows, table.cols): table_of(folder, table.rows, table.cols, score)
        for table in folder.record.tables
        if table.rows != folder.anchor and score in table.kept
    }


def table_of(folder: ResultFolder, rows: str, cols: str, score: ScoreName) -> TableNeighbours:
    """The kept neighbours of one table.

    Raises:
        BadRequestError: the result has no such table or score.
        UnknownModelError: the result has no such model.
        StoreError: a file is missing or damaged.
    """
    if imported(folder) is not None:
        raise BadRequestError(
            "This result was imported from a dictionary, which lists neurons and keeps no tables.",
            "Import a bundle of it instead, or run the match here.",
        )
    real = _neighbours(folder, rows, cols, score, "real")
    if real is None:
        raise StoreError(f"The result keeps no neighbours of {rows} with {cols}.")
    first = _neighbours(folder, rows, cols, score, "half0")
    second = _neighbours(folder, rows, cols, score, "half1")
    return TableNeighbours(
        real=real,
        null=_neighbours(folder, rows, cols, score, "null"),
        halves=None if first is None or second is None else (first, second),
        row_halves=folder.row_halves(rows, cols, score),
    )


def neurons(
    folder: ResultFolder, selection: Selection, concept_threshold: float = clustering.THRESHOLD
) -> list[RosettaNeuron]:
    """The Rosetta Neurons, highest `score_min` first, concepts numbered where maps are kept.

    Raises:
        BadRequestError: a value of the selection does not fit the result.
    """
    given = imported(folder)
    if given is not None:
        return _listed(given, selection)
    found = intersect(
        tables(folder, selection.score),
        selection,
        folder.index(folder.anchor),
        folder.indexes(),
        _cross_for(folder, selection),
    )
    numbers = np.full(len(found), -1)
    for concept in concepts(folder, found, concept_threshold):
        numbers[list(concept.members)] = concept.number
    return [replace(n, concept=int(c)) for n, c in zip(found, numbers, strict=True)]


def _listed(given: Dictionary, selection: Selection) -> list[RosettaNeuron]:
    """The neurons of an imported dictionary, as far as a selection asks for them.

    Raises:
        BadRequestError: they were chosen in another way, and choosing needs the tables.
    """
    own = given.selection
    if (own.rule, own.k, own.score) != (selection.rule, selection.k, selection.score):
        raise BadRequestError(
            f"This dictionary was made with rule {own.rule}, K {own.k} and score {own.score}; "
            "others need the tables of the match.",
            "Choose those, or import a bundle of the result.",
        )
    return [
        neuron
        for neuron in given.neurons
        if neuron.score_min >= selection.lowest and (neuron.above_null or not selection.above_null)
    ]


def concepts(
    folder: ResultFolder,
    found: Sequence[RosettaNeuron],
    concept_threshold: float = clustering.THRESHOLD,
) -> list[Concept]:
    """The concepts of some neurons, members as places in the given order.

    Neurons whose anchor's maps are not kept are in none.

    Args:
        folder: the result.
        found: neurons, best first.
        concept_threshold: largest average distance within a concept, from 0 to 2.
    """
    return grouped(*anchor_correlation(folder, found), concept_threshold)


def anchor_correlation(
    folder: ResultFolder, found: Sequence[RosettaNeuron]
) -> tuple[list[int], NDArray[np.float64]]:
    """How the anchors of some neurons go together, as far as their maps are kept.

    Returns:
        Places of those neurons in the given order, and their centred correlation [n, n].
    """
    views = folder.views()
    if views is None or not found:
        return [], np.zeros((0, 0))
    kept, index = views.models[folder.anchor], folder.index(folder.anchor)
    rows = ((at, kept.row(index.flat(neuron.anchor))) for at, neuron in enumerate(found))
    places = {at: row for at, row in rows if row is not None}
    if not places:
        return [], np.zeros((0, 0))
    return list(places), clustering.centred_correlation(kept.maps[list(places.values())])


def grouped(
    known: Sequence[int], correlation: NDArray[np.floating], concept_threshold: float
) -> list[Concept]:
    """Cluster what `anchor_correlation` gave; members and medoids as places of the neurons."""
    return [
        replace(c, members=tuple(known[m] for m in c.members), medoid=known[c.medoid])
        for c in clustering.cluster(correlation, concept_threshold)
    ]


def pairs(folder: ResultFolder, backbone: str, selection: Selection) -> list[tuple[Unit, Partner]]:
    """Matched pairs of one table, highest score first.

    Raises:
        UnknownModelError: the result has no such backbone.
        BadRequestError: a value of the selection does not fit the result.
    """
    given = imported(folder)
    if given is not None:
        if backbone not in folder.backbones:
            raise UnknownModelError(backbone, folder.backbones)
        found = [(n.anchor, n.partners[backbone]) for n in _listed(given, selection)]
        return sorted(found, key=lambda pair: -pair[1].score)
    table = table_of(folder, folder.anchor, backbone, selection.score)
    return match_pairs(table, selection, folder.index(folder.anchor), folder.index(backbone))


def summary(folder: ResultFolder, result: str, selection: Selection) -> MatchSummary:
    """What a person reads first about a result.

    `rosetta` counts every neuron of the rule with at least the lowest score, whether or not only
    those above the null are listed; `null_rosetta` counts them in the shuffled tables, -1 without.

    Raises:
        BadRequestError: a value of the selection does not fit the result.
    """
    given = imported(folder)
    if given is not None:
        _listed(given, selection)  # raises where it was made with another rule
        return replace(given.summary, result=result)
    kept, cross = tables(folder, selection.score), _cross_for(folder, selection)
    every = replace(selection, above_null=False)
    anchors = folder.index(folder.anchor)
    found = intersect(kept, every, anchors, folder.indexes(), cross)
    null_count = count_in_null(kept, every, cross)
    null_above = None
    if null_count is not None:
        null_above = count_in_null(kept, replace(selection, above_null=True), cross)
    timings = folder.record.run.timings
    return MatchSummary(
        result=result,
        request=folder.request,
        selection=selection,
        anchor_model=folder.anchor,
        anchor_units=len(anchors),
        anchor_dead=int(next(iter(kept.values())).real.dead_rows.sum()),
        tables=tuple(summarise_table(name, table, selection) for name, table in kept.items()),
        rosetta=len(found),
        rosetta_above_null=sum(neuron.above_null for neuron in found),
        null_rosetta=-1 if null_count is None else null_count,
        threshold=threshold(null_minima(kept), selection.q),
        seconds=timings.get("seconds", math.nan),
        images_per_second=timings.get("images_per_second", math.nan),
        peak_bytes=int(timings.get("peak_bytes", 0)),
        created=folder.record.created,
        partial=folder.record.run.partial,
        null_rosetta_above=-1 if null_above is None else null_above,
    )


def report(folder: ResultFolder, selection: Selection) -> dict[str, Any]:
    """Nulls, thresholds, split halves, convergence, histograms and depth, as JSON values.

    Raises:
        BadRequestError: a value of the selection does not fit the result.
    """
    numbers = {name: folder.stats(name) for name in folder.indexes()}
    snapshots: dict[str, list[tuple[int, Neighbours]]] = {}
    for name in folder.backbones:
        for which in SNAPSHOTS:
            images = folder.record.run.snapshots.get(which)
            kept = _neighbours(folder, folder.anchor, name, selection.score, which)
            if images is not None and kept is not None:
                snapshots.setdefault(name, []).append((images, kept))
    inputs = ReportInputs(
        anchor=folder.anchor,
        indexes=folder.indexes(),
        tables=tables(folder, selection.score),
        images=folder.record.images,
        cross=cross_tables(folder, selection.score),
        snapshots=snapshots,
        numbers={
            name: ModelNumbers(stats.mean, stats.deviation, stats.kurtosis)
            for name, stats in numbers.items()
            if stats is not None
        },
    )
    return build(inputs, selection)


def pairs_csv(folder: ResultFolder, selection: Selection) -> str:
    """`pairs.csv`: the pairs of every table, table by table, highest score first.

    The ranking score comes first, then the pair's other scores where they are kept.
    """
    others: list[ScoreName] = [
        score for score in folder.record.tables[0].kept if score != selection.score
    ]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ["null", "p", "rank", "half_0", "half_1", "above_null"]
    writer.writerow(["anchor", "partner", selection.score, *others, *names])
    rows = folder.index(folder.anchor)
    for name, table in tables(folder, selection.score).items():
        limit = summarise_table(name, table, selection).threshold
        columns = [_score_of_pairs(folder, name, score) for score in others]
        cols = folder.index(name)
        for anchor, partner in pairs(folder, name, selection):
            at = rows.flat(anchor), cols.flat(partner.unit)
            halves = partner.halves or (math.nan, math.nan)
            scores = (partner.score, *(column(*at) for column in columns))
            writer.writerow(
                [
                    anchor,
                    partner.unit,
                    *(_cell(number) for number in (*scores, partner.null, partner.p)),
                    partner.rank,
                    *(_cell(number) for number in halves),
                    int(partner.score > limit),
                ]
            )
    return out.getvalue()


def _score_of_pairs(
    folder: ResultFolder, backbone: str, score: ScoreName
) -> Callable[[int, int], float]:
    """(row, column) → their score: from the whole table, else from the row's neighbours."""
    whole = folder.scores(folder.anchor, backbone, score)
    if whole is not None:
        return lambda row, col: float(whole[row, col])
    real = table_of(folder, folder.anchor, backbone, score).real

    def among_neighbours(row: int, col: int) -> float:
        at = np.flatnonzero(real.row_index[row] == col)
        return float(real.row_score[row, at[0]]) if len(at) else math.nan

    return among_neighbours


def finish_result(
    writer: ResultWriter, run: RunFacts, selection: Selection | None = None
) -> ResultFolder:
    """Write pairs.csv and the summary under a selection, then finish the folder.

    Args:
        writer: with every table, neighbour, statistic and picture added.
        run: what the run knew at its end; its summary is filled in here.
        selection: the default rule under the request's score, unless given.

    Raises:
        StoreError: the disk is full or read-only.
    """
    chosen = selection or Selection(score=writer.request.score)
    draft = writer.draft(run)
    writer.add_bytes("pairs.csv", pairs_csv(draft, chosen).encode("utf-8"))
    values = asdict(summary(draft, "", chosen))
    told = {k: v for k, v in values.items() if k not in ("result", "request", "created")}
    return writer.finish(replace(run, summary=_finite(told)))


def _cross_for(
    folder: ResultFolder, selection: Selection
) -> dict[tuple[str, str], TableNeighbours] | None:
    return cross_tables(folder, selection.score) if selection.rule == "clique" else None


def _neighbours(
    folder: ResultFolder, rows: str, cols: str, score: ScoreName, which: Which
) -> Neighbours | None:
    arrays = folder.neighbours(rows, cols, score, which)
    return None if arrays is None else Neighbours(**arrays)


def _cell(number: float) -> str:
    return f"{number:.6f}" if math.isfinite(number) else ""


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
