"""Results for others: the dictionary as JSON, CSV or Parquet, and as a small folder."""

from __future__ import annotations

import csv
import importlib
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import BadRequestError, StoreError
from rosetta_ui.store import compact
from rosetta_ui.store.arrays import ModelViews
from rosetta_ui.store.compact import Keep
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.store.record import TableRecord, Which, file_part, score_part, table_part
from rosetta_ui.store.writer import ResultWriter
from rosetta_ui.types import RosettaNeuron, ScoreName, Unit

JSON_SCHEMA = 1

COLUMNS = (
    *("anchor", "backbone", "partner", "score", "null", "p", "rank", "half_0", "half_1"),
    *("score_min", "null_min", "above_null", "concept"),
)


def export_json(neurons: Sequence[RosettaNeuron]) -> dict[str, Any]:
    """The dictionary as `rosetta --json` prints it; None where a match has no null."""
    return {
        "schema": JSON_SCHEMA,
        "neurons": [
            {
                "anchor": str(neuron.anchor),
                "partners": {
                    name: {
                        "unit": str(partner.unit),
                        "score": partner.score,
                        "null": _number(partner.null),
                        "rank": partner.rank,
                    }
                    for name, partner in neuron.partners.items()
                },
                "score_min": neuron.score_min,
                "null_min": _number(neuron.null_min),
                "above_null": neuron.above_null,
                "concept": neuron.concept,
            }
            for neuron in neurons
        ],
    }


def rows(neurons: Iterable[RosettaNeuron]) -> list[dict[str, Any]]:
    """The dictionary as a table: one row a neuron and backbone, columns as in `COLUMNS`."""
    table: list[dict[str, Any]] = []
    for neuron in neurons:
        for name, partner in neuron.partners.items():
            first, second = partner.halves or (math.nan, math.nan)
            values = (
                *(str(neuron.anchor), name, str(partner.unit), partner.score),
                *(_number(partner.null), _number(partner.p), partner.rank),
                *(_number(first), _number(second), neuron.score_min, _number(neuron.null_min)),
                *(neuron.above_null, neuron.concept),
            )
            table.append(dict(zip(COLUMNS, values, strict=True)))
    return table


def neurons_csv(neurons: Iterable[RosettaNeuron]) -> str:
    """The dictionary as CSV with a head line; empty cells where a match has no null or halves."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows(neurons):
        rounded = {k: f"{v:.6f}" if isinstance(v, float) else v for k, v in row.items()}
        writer.writerow(rounded)
    return out.getvalue()


def neurons_parquet(neurons: Iterable[RosettaNeuron]) -> bytes:
    """The dictionary as a Parquet file.

    Raises:
        BadRequestError: pyarrow, which is an extra, is not installed.
    """
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise BadRequestError(
            "Parquet needs the package pyarrow, which is not installed.",
            "Run pip install pyarrow, or export to .csv or .json.",
        ) from error
    kinds = {"rank": arrow.int32(), "concept": arrow.int32(), "above_null": arrow.bool_()}
    text = ("anchor", "backbone", "partner")
    fields = [
        (name, arrow.string() if name in text else kinds.get(name, arrow.float64()))
        for name in COLUMNS
    ]
    table = arrow.Table.from_pylist(rows(neurons), schema=arrow.schema(fields))
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


@dataclass(frozen=True)
class Packing:
    """How small a packed dictionary is made.

    Attributes:
        k: neighbours kept; the largest K of a rule on the packed dictionary.
        images: pictures kept, and images whose maps are kept.
        preview_quality: of the pictures, 1 to 100.
        view_quality: of the maps, 1 to 100.
        snapshots: also keep what the convergence is told from.
        title: of the packed dictionary; empty keeps the result's own.
    """

    k: int = 5
    images: int = 24
    preview_quality: int = 80
    view_quality: int = 70
    snapshots: bool = False
    title: str = ""


def pack_dictionary(
    folder: ResultFolder, out: Path, neurons: Sequence[RosettaNeuron], packing: Packing
) -> ResultFolder:
    """Make a small folder of a result: no whole tables, few neighbours, maps of some neurons.

    Rules with K up to `packing.k`, nulls, halves and concepts go on working; the clique rule does
    not, as tables between backbones are left out. Scores are off by at most 5e-5.

    Args:
        folder: a full result with views and previews.
        out: an empty or new folder.
        neurons: whose units' maps are kept.
        packing: how small.

    Raises:
        StoreError: the result keeps no maps, or `out` holds other files or cannot be written.
    """
    record = folder.record
    title, models = packing.title or record.title, record.models
    writer = ResultWriter(out, folder.request, models, title=title, created=record.created)
    for table in record.tables:
        if table.rows == folder.anchor:
            for score in table.kept:
                _pack_table(folder, writer, table, score, packing)
    for model in models:
        _pack_stats(folder, writer, model.name)
    _pack_views(folder, writer, neurons, packing)
    count = min(packing.images, record.previews)
    writer.add_previews((folder.preview(at) for at in range(count)), packing.preview_quality)
    terms = "\n".join(f"{model.name}: {model.terms}" for model in models if model.terms)
    writer.add_bytes("NOTICE.txt", f"{_NOTICE}\n\n{terms}\n".encode())
    run = record.run
    snapshots = run.snapshots if packing.snapshots else {}
    note = f"Packed: the {packing.k} nearest neighbours, no whole tables."
    return writer.finish(replace(run, snapshots=snapshots, notes=(*run.notes, note)))


_NOTICE = (
    "The pictures, maps and scores in this folder were made with the models below; what may be "
    "done with them follows from the models' terms, apart from the licence of the code."
)


def _pack_table(
    folder: ResultFolder,
    writer: ResultWriter,
    table: TableRecord,
    score: ScoreName,
    packing: Packing,
) -> None:
    k = packing.k
    keeps: dict[Which, Keep] = {
        "real": Keep(k, k, col_scores=True, best_of_all=True),
        "null": Keep(k, k),
        # For halves and snapshots the published rule and best buddies are enough.
        "half0": Keep(1, k),
        "half1": Keep(1, k),
    }
    if packing.snapshots:
        keeps |= {"at_n8": Keep(1, k), "at_n4": Keep(1, k), "at_n2": Keep(1, k)}
    arrays: dict[str, NDArray[Any]] = {}
    kept: list[Which] = []
    for which, keep in keeps.items():
        found = folder.neighbours(table.rows, table.cols, score, which)
        if found is not None:
            kept.append(which)
            small = compact.packed(compact.FourArrays(**found), keep)
            arrays |= {f"{which}/{name}": array for name, array in small.items()}
    halves = folder.row_halves(table.rows, table.cols, score)
    real = folder.neighbours(table.rows, table.cols, score)
    if halves is not None and real is not None:
        arrays["row_halves_steps"] = compact.packed_halves(halves, real["row_score"], k)
    part = table_part(table.rows, table.cols, folder.anchor)
    name = f"neighbours-{part}{score_part(score)}.safetensors.xz"
    writer.add_bytes(name, compact.compressed(arrays))
    writer.note_neighbours(table.rows, table.cols, score, tuple(kept))


def _pack_stats(folder: ResultFolder, writer: ResultWriter, model: str) -> None:
    stats = folder.stats(model)
    if stats is None:
        return
    arrays: dict[str, NDArray[Any]] = {}
    largest = float(np.finfo(np.float16).max)
    for stat in ("mean", "deviation", "kurtosis"):
        column = np.clip(getattr(stats, stat), -largest, largest).astype(np.float16)
        for spec in folder.index(model).layers:
            part = column[folder.index(model).layer_slice(spec.name)]
            arrays[f"{spec.name}/{stat}"] = part
    name = f"stats-{file_part(model)}.safetensors.xz"
    writer.add_bytes(name, compact.compressed(arrays))


def _pack_views(
    folder: ResultFolder, writer: ResultWriter, neurons: Sequence[RosettaNeuron], packing: Packing
) -> None:
    views = folder.views()
    if views is None:
        raise StoreError(f"'{folder.path}' keeps no maps to pack.", "Run the match again.")
    chosen: dict[str, set[Unit]] = {name: set() for name in views.models}
    for neuron in neurons:
        for unit in (neuron.anchor, *(partner.unit for partner in neuron.partners.values())):
            chosen[unit.model].add(unit)
    writer.note_view_images(views.images[: packing.images])
    for name, kept in views.models.items():
        flats = sorted(folder.index(name).flat(unit) for unit in chosen[name])
        places = [at for at in (kept.row(flat) for flat in flats) if at is not None]
        small = ModelViews(
            kept.units[places],
            kept.maps[places][:, : packing.images],
            kept.low[places],
            kept.high[places],
        )
        arrays: dict[str, NDArray[Any]] = {
            "units": small.units,
            "low": small.low,
            "high": small.high,
            **compact.sheets(small.maps, packing.view_quality),
        }
        if not len(small.units):
            arrays["maps"] = small.maps
        writer.add_bytes(f"views-{file_part(name)}.safetensors.xz", compact.compressed(arrays))


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
