"""The report of a match: how good its scores are and how far they can be trusted.

Everything is JSON values: None stands where a number is undefined (a dead unit, no null, no
halves). Works on kept neighbours and statistics; knows no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.matching.buddies import BestBuddies, by_rule, jaccard, largest_k, mutual
from rosetta_ui.matching.neighbours import Neighbours
from rosetta_ui.matching.rosetta import (
    Stars,
    TableNeighbours,
    count_in_null,
    null_bests,
    null_minima,
    real_cross,
    stars,
    threshold,
)
from rosetta_ui.types import BackboneSummary, Selection, UnitIndex

SCHEMA = 1
_BINS = 40


@dataclass(frozen=True)
class ModelNumbers:
    """Statistics of one model's units, [units] each; NaN for dead units.

    Attributes:
        mean, deviation: over all images and positions.
        kurtosis: excess kurtosis, the measure of selectivity.
    """

    mean: NDArray[np.floating]
    deviation: NDArray[np.floating]
    kurtosis: NDArray[np.floating]


@dataclass(frozen=True)
class ReportInputs:
    """What a report is made of.

    Attributes:
        anchor: name of the anchor model.
        indexes: model → its units, the anchor model first.
        tables: backbone → anchor × backbone.
        images: how many were matched.
        cross: (backbone, backbone) → their table.
        snapshots: backbone → (images seen, neighbours) at each convergence snapshot, ascending.
        numbers: model → statistics, as far as they are kept.
    """

    anchor: str
    indexes: Mapping[str, UnitIndex]
    tables: Mapping[str, TableNeighbours]
    images: int
    cross: Mapping[tuple[str, str], TableNeighbours] = field(
        default_factory=dict[tuple[str, str], TableNeighbours]
    )
    snapshots: Mapping[str, Sequence[tuple[int, Neighbours]]] = field(
        default_factory=dict[str, Sequence[tuple[int, Neighbours]]]
    )
    numbers: Mapping[str, ModelNumbers] = field(default_factory=dict[str, ModelNumbers])


def summarise_table(backbone: str, table: TableNeighbours, selection: Selection) -> BackboneSummary:
    """What one table says in a line.

    Raises:
        BadRequestError: K or q does not fit.
    """
    real = table.real
    best = _finite(real.row_score[:, 0])
    nulls = null_bests(table)
    limit = threshold(nulls, selection.q)
    live_cols = int((real.col_index[:, 0] >= 0).sum())
    buddies = len(mutual(real, 1, 1))
    above = float((best > limit).mean()) if len(best) and len(nulls) else float("nan")
    null_above = float((nulls > limit).mean()) if len(nulls) else float("nan")
    smaller = min(len(best), live_cols)
    return BackboneSummary(
        backbone=backbone,
        units=len(real.col_index),
        dead=len(real.col_index) - live_cols,
        best_buddies=buddies,
        null_best_buddies=-1 if table.null is None else len(mutual(table.null, 1, 1)),
        share=buddies / smaller if smaller else float("nan"),
        threshold=limit,
        above_null=above,
        false_discoveries=min(1.0, null_above / above) if above > 0 else float("nan"),
        jaccard=_halves_jaccard(table, selection),
    )


def build(inputs: ReportInputs, selection: Selection) -> dict[str, Any]:
    """The whole report, as JSON values.

    Raises:
        BadRequestError: a value of the selection does not fit the tables.
    """
    real = {name: table.real for name, table in inputs.tables.items()}
    cross = real_cross(inputs.cross)
    found = stars(real, selection.rule, selection.k, cross)
    return _plain(
        {
            "schema": SCHEMA,
            "selection": asdict(selection),
            "images": inputs.images,
            "anchor": inputs.anchor,
            "tables": {name: _table(inputs, name, selection) for name in inputs.tables},
            "rosetta": _rosetta(inputs, selection, found),
            "models": _models(inputs, found),
            "matrix": _matrix(inputs),
        }
    )


def _table(inputs: ReportInputs, name: str, selection: Selection) -> dict[str, Any]:
    table, rows, cols = inputs.tables[name], inputs.indexes[inputs.anchor], inputs.indexes[name]
    pairs = by_rule(table.real, selection.rule, selection.k)
    best, nulls = table.real.row_score[:, 0], null_bests(table)
    col_best = table.real.col_score[:, 0]
    null_pairs = None if table.null is None else by_rule(table.null, selection.rule, selection.k)
    return {
        **asdict(summarise_table(name, table, selection)),
        "pairs": len(pairs),
        "null_pairs": None if null_pairs is None else len(null_pairs),
        "halves": _halves(table, pairs, selection),
        "convergence": _convergence(
            inputs.snapshots.get(name, ()), inputs.images, table, selection
        ),
        "scores": _histograms({"best": _finite(best), "null": nulls, "pairs": pairs.scores}),
        "depth": {"rows": _depth(best, rows), "cols": _depth(col_best, cols)},
        "layers": _layer_counts(pairs, rows, cols),
        "per_unit": {
            "best": best,
            "null": None if table.null is None else table.null.row_score[:, 0],
            "cols_best": col_best,
        },
    }


def _halves(
    table: TableNeighbours, pairs: BestBuddies, selection: Selection
) -> dict[str, Any] | None:
    if table.halves is None:
        return None
    first, second = _r_against_r(table, pairs)
    both = np.isfinite(first) & np.isfinite(second)
    varied = both.sum() > 1 and first[both].std() > 0 and second[both].std() > 0
    return {
        "jaccard": _halves_jaccard(table, selection),
        "pairs": [len(_clipped(half, selection)) for half in table.halves],
        "first": first,
        "second": second,
        "correlation": float(np.corrcoef(first[both], second[both])[0, 1]) if varied else None,
    }


def _r_against_r(
    table: TableNeighbours, pairs: BestBuddies
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Scores of the pairs in each half; NaN where a half does not keep the pair."""
    if table.row_halves is not None:
        places = pairs.row_ranks - 1
        return table.row_halves[0, pairs.rows, places], table.row_halves[1, pairs.rows, places]
    scores: list[NDArray[np.floating]] = []
    for half in table.halves or ():
        hit = half.row_index[pairs.rows] == pairs.cols[:, None]
        kept = half.row_score[pairs.rows, hit.argmax(1)]
        scores.append(np.where(hit.any(1), kept, np.nan))
    return scores[0], scores[1]


def _halves_jaccard(table: TableNeighbours, selection: Selection) -> float:
    if table.halves is None:
        return float("nan")
    first, second = (_clipped(half, selection) for half in table.halves)
    return jaccard(first, second)


def _clipped(neighbours: Neighbours, selection: Selection) -> BestBuddies:
    """Pairs by the rule; halves and snapshots may keep fewer neighbours than the table itself."""
    k = min(selection.k, largest_k(neighbours, selection.rule))
    return by_rule(neighbours, selection.rule, k)


def _convergence(
    snapshots: Sequence[tuple[int, Neighbours]],
    images: int,
    table: TableNeighbours,
    selection: Selection,
) -> list[dict[str, Any]]:
    """Pairs found after some of the images, and how many of the final pairs are among them."""
    rows: list[dict[str, Any]] = []
    for seen, neighbours in [*snapshots, (images, table.real)]:
        kept = min(selection.k, largest_k(neighbours, selection.rule))
        final = by_rule(table.real, selection.rule, kept).as_set()
        pairs = by_rule(neighbours, selection.rule, kept).as_set()
        share = len(pairs & final) / len(final) if final else None
        rows.append({"images": seen, "k": kept, "pairs": len(pairs), "overlap": share})
    return rows


def _rosetta(inputs: ReportInputs, selection: Selection, found: Stars) -> dict[str, Any]:
    nulls = null_minima(inputs.tables)
    limit = threshold(nulls, selection.q)
    lowest = found.score_min[found.score_min >= selection.lowest]
    every, above = (replace(selection, above_null=strict) for strict in (False, True))
    halves = [_half_stars(inputs, selection, half) for half in (0, 1)]
    first, second = halves
    either = None if first is None or second is None else first | second
    return {
        "count": len(lowest),
        "above_null": int((lowest > limit).sum()),
        "null_count": count_in_null(inputs.tables, every, inputs.cross),
        "null_above_null": count_in_null(inputs.tables, above, inputs.cross),
        "threshold": limit,
        "jaccard": len(first & second) / len(either) if first and second and either else None,
        "scores": _histograms({"rosetta": lowest, "null": nulls}),
        "convergence": _rosetta_convergence(inputs, selection),
    }


def _half_stars(
    inputs: ReportInputs, selection: Selection, half: int
) -> set[tuple[int, ...]] | None:
    tables = {n: t.halves[half] for n, t in inputs.tables.items() if t.halves is not None}
    if len(tables) < len(inputs.tables) or selection.rule == "clique":
        return None  # the backbones' tables with each other are not kept by halves
    k = min([selection.k, *(largest_k(table, selection.rule) for table in tables.values())])
    return stars(tables, selection.rule, k).as_set()


def _rosetta_convergence(inputs: ReportInputs, selection: Selection) -> list[dict[str, Any]]:
    if selection.rule == "clique" or len(inputs.snapshots) < len(inputs.tables):
        return []
    real = {name: table.real for name, table in inputs.tables.items()}
    rows: list[dict[str, Any]] = []
    for at in zip(*inputs.snapshots.values(), strict=True):
        tables = dict(zip(inputs.snapshots, (neighbours for _, neighbours in at), strict=True))
        rows.append(_stars_found(at[0][0], tables, real, selection))
    rows.append(_stars_found(inputs.images, real, real, selection))
    return rows


def _stars_found(
    images: int, tables: Mapping[str, Neighbours], final: Mapping[str, Neighbours], s: Selection
) -> dict[str, Any]:
    kept = min([s.k, *(largest_k(table, s.rule) for table in tables.values())])
    last = set(stars(final, s.rule, kept).anchors.tolist())
    now = set(stars(tables, s.rule, kept).anchors.tolist())
    share = len(now & last) / len(last) if last else None
    return {"images": images, "k": kept, "count": len(now), "overlap": share}


def _models(inputs: ReportInputs, found: Stars) -> dict[str, Any]:
    units = {inputs.anchor: found.anchors, **{n: p.cols for n, p in found.pairs.items()}}
    models: dict[str, Any] = {}
    for name, index in inputs.indexes.items():
        chosen = np.zeros(len(index), bool)
        chosen[units.get(name, [])] = True
        depths = {
            spec.name: int(chosen[index.layer_slice(spec.name)].sum()) for spec in index.layers
        }
        entry: dict[str, Any] = {
            "units": len(index),
            "layers": [{"name": s.name, "units": s.channels} for s in index.layers],
            "rosetta_by_layer": depths,
        }
        if (numbers := inputs.numbers.get(name)) is not None:
            entry["mean"] = _histograms({"all": _finite(numbers.mean)})
            entry["deviation"] = _histograms({"all": _finite(numbers.deviation)})
            entry["selectivity"] = _selectivity(numbers.kurtosis, chosen)
        models[name] = entry
    return models


def _selectivity(kurtosis: NDArray[np.floating], chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """Excess kurtosis of Rosetta units against the other live units of the same model."""
    rosetta, others = _finite(kurtosis[chosen]), _finite(kurtosis[~chosen])
    ranked = np.sort(others)
    # The chance that a Rosetta unit is more selective than another one; ties count half.
    wins = np.searchsorted(ranked, rosetta, "left") + np.searchsorted(ranked, rosetta, "right")
    chance = float(wins.mean() / 2 / len(ranked)) if len(rosetta) and len(ranked) else None
    return {
        "rosetta": _quantiles(rosetta),
        "others": _quantiles(others),
        "more_selective": chance,
        **_histograms({"rosetta": rosetta, "others": others}),
    }


def _matrix(inputs: ReportInputs) -> dict[str, Any]:
    """Best buddies (K = 1) of every two models, with the shuffled count; None without a table."""
    names = list(inputs.indexes)
    known = {(inputs.anchor, name): table for name, table in inputs.tables.items()}
    known |= dict(inputs.cross)
    counts: list[list[int | None]] = [[None] * len(names) for _ in names]
    nulls: list[list[int | None]] = [[None] * len(names) for _ in names]
    for (i, a), (j, b) in combinations(enumerate(names), 2):
        table = known.get((a, b)) or known.get((b, a))
        if table is not None:
            counts[i][j] = counts[j][i] = len(mutual(table.real, 1, 1))
            if table.null is not None:
                nulls[i][j] = nulls[j][i] = len(mutual(table.null, 1, 1))
    return {"models": names, "counts": counts, "null_counts": nulls}


def _depth(best: NDArray[np.floating], index: UnitIndex) -> list[dict[str, Any]]:
    """Best scores layer by layer."""
    return [
        {"layer": spec.name, "depth": at, **_quantiles(_finite(best[index.layer_slice(spec.name)]))}
        for at, spec in enumerate(index.layers)
    ]


def _layer_counts(pairs: BestBuddies, rows: UnitIndex, cols: UnitIndex) -> list[list[int]]:
    """Pairs by layer of the anchor (rows) and layer of the backbone (columns)."""
    counts = np.zeros((len(rows.layers), len(cols.layers)), int)
    row_depth, col_depth = _depths(rows), _depths(cols)
    np.add.at(counts, (row_depth[pairs.rows], col_depth[pairs.cols]), 1)
    return counts.tolist()


def _depths(index: UnitIndex) -> NDArray[np.intp]:
    return np.repeat(np.arange(len(index.layers)), [spec.channels for spec in index.layers])


def _quantiles(values: NDArray[np.floating]) -> dict[str, Any]:
    if not len(values):
        return {"count": 0}
    low, lower, median, upper, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    return {
        "count": len(values),
        "min": low,
        "lower": lower,
        "median": median,
        "upper": upper,
        "max": high,
    }


def _histograms(groups: Mapping[str, NDArray[np.floating]]) -> dict[str, Any]:
    """Counts of several groups over common edges; outliers of 0.1 % a side lie in the end bins."""
    everything = np.concatenate(list(groups.values()))
    if not len(everything):
        return {"edges": [], "counts": {name: [] for name in groups}}
    low, high = np.quantile(everything, [0.001, 0.999])
    if not high > low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    counts = {
        name: np.histogram(np.clip(values, low, high), edges)[0] for name, values in groups.items()
    }
    return {"edges": edges, "counts": counts}


def _finite(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return values[np.isfinite(values)]


def _plain(value: Any) -> Any:
    """JSON values: arrays become lists, what is not finite becomes None, 6 decimals are kept."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if np.isfinite(value) else None
    return value
