"""Putting a finished match into a result folder and that into the store."""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from rosetta_ui import __version__
from rosetta_ui.engine.requests import anchor_of, model_key
from rosetta_ui.engine.showing import units_to_show, views_of
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.matching.activations import Activations
from rosetta_ui.matching.answers import finish_result
from rosetta_ui.matching.neighbours import WHICH, Neighbours, Which
from rosetta_ui.matching.outcome import KEPT_SCORES, MatchOutcome, Pair
from rosetta_ui.matching.photos import PhotoSet
from rosetta_ui.matching.tables import PairTables
from rosetta_ui.store.arrays import UnitStats
from rosetta_ui.store.record import ModelRecord, RunFacts
from rosetta_ui.store.record import Which as Kept
from rosetta_ui.store.writer import ResultWriter
from rosetta_ui.types import LayerSpec, MatchRequest, ScoreName

K = 32
"""Neighbours kept of every unit; the largest K of a rule."""

WHOLE_IN_FLOAT16 = 4 << 30
"""Tables above this many bytes in float32 are kept as float16 (off by up to 2.5e-4)."""


@dataclass(frozen=True)
class RunNotes:
    """What a run has to tell beside its numbers.

    Attributes:
        notes: sentences such as "Batch halved to 4.".
        peak_bytes: most memory that was used.
        device: name of the device.
        photos: the pictures, None for generated images.
    """

    notes: Sequence[str] = ()
    peak_bytes: int = 0
    device: str = "cpu"
    photos: PhotoSet | None = None


def write_result(
    bench: Workbench,
    request: MatchRequest,
    outcome: MatchOutcome,
    activations: Activations,
    told: RunNotes,
    pause: Callable[[], None],
) -> Generator[dict[str, str], None, Path]:
    """Write a result folder inside the store; it has no key yet.

    Args:
        bench: has the cards and the store.
        request: checked.
        outcome: what was found.
        activations: small maps of all units.
        told: what else there is to say.
        pause: called between the parts; may raise `Cancelled`.

    Yields:
        What is being written.

    Returns:
        The folder.

    Raises:
        StoreError: the disk is full or read-only.
    """
    anchor = anchor_of(request)
    records = [_record(bench, name, specs) for name, specs in outcome.layers.items()]
    records.sort(key=lambda record: record.name != anchor)
    writer = ResultWriter(bench.store.new_folder(), request, records)
    kept: dict[ScoreName, dict[str, Neighbours]] = {}
    told_dead: set[tuple[str, ScoreName]] = set()
    for pair, score, tables in _tables(outcome):
        pause()
        yield {"say": f"Writing {pair[0]} × {pair[1]}, {score}."}
        found = _add_table(writer, pair, score, tables, outcome)
        if pair[0] == anchor:
            kept.setdefault(score, {})[pair[1]] = found
        # Here and not in a loop of its own: the tables still have what they know of both models.
        for name, dead in zip(pair, (tables.dead_rows, tables.dead_cols), strict=True):
            if (name, score) not in told_dead:
                writer.add_dead(name, dead(score), score)
                told_dead.add((name, score))
    for name, moments in outcome.moments.items():
        writer.add_stats(name, UnitStats(*moments.finish(), *activations.ranges(name)))
    yield {"say": "Writing pictures and maps."}
    writer.add_previews(outcome.pictures)
    units = units_to_show(list(kept.values()), anchor)
    writer.add_views(views_of(activations, units, range(len(outcome.pictures))))
    finish_result(writer, _facts(bench, request, outcome, told))
    return writer.folder


def _tables(outcome: MatchOutcome) -> Iterator[tuple[Pair, ScoreName, PairTables]]:
    for pair, tables in outcome.tables.items():
        for score in KEPT_SCORES:
            yield pair, score, tables
        if pair in outcome.published:
            yield pair, "published", outcome.published[pair]


def _add_table(
    writer: ResultWriter, pair: Pair, score: ScoreName, tables: PairTables, outcome: MatchOutcome
) -> Neighbours:
    size = 4 * tables.shape[0] * tables.shape[1]
    dtype: Literal["float16", "float32"] = "float16" if size > WHOLE_IN_FLOAT16 else "float32"
    writer.add_scores(*pair, score, _blocks(tables, score), dtype)
    found: dict[Kept, Neighbours] = {
        which: tables.neighbours(score, K, which)
        for which in WHICH
        if which == "real" or (tables.has_null if which == "null" else tables.has_halves)
    }
    halves = None
    if tables.has_halves:
        index = found["real"].row_index
        halves = np.stack([_row_scores(tables, score, w, index) for w in ("half0", "half1")])
    for name, snapshot in outcome.snapshots.items():
        if score in snapshot.neighbours[pair]:
            found[name] = snapshot.neighbours[pair][score]
    writer.add_neighbours(*pair, score, found, halves)
    return found["real"]


def _blocks(tables: PairTables, score: ScoreName) -> Iterator[NDArray[np.floating]]:
    for _, block in tables.blocks(score):
        yield block.float().cpu().numpy()


def _row_scores(
    tables: PairTables, score: ScoreName, half: Which, index: NDArray[np.int32]
) -> NDArray[np.float32]:
    """The scores of given pairs in one half: float32 [rows, k]; -inf where the index is -1."""
    out = np.empty(index.shape, np.float32)
    for first, block in tables.blocks(score, half):
        rows = slice(first, first + len(block))
        wanted = torch.from_numpy(index[rows].astype(np.int64)).to(block.device)
        found = block.gather(1, wanted.clamp_min(0)).masked_fill_(wanted < 0, -torch.inf)
        out[rows] = found.float().cpu().numpy()
    return out


def _record(bench: Workbench, name: str, layers: Sequence[LayerSpec]) -> ModelRecord:
    card = bench.registry.card(name)
    return ModelRecord(name, card.role, bench.weights.digest(card), tuple(layers), card.terms)


def _facts(
    bench: Workbench, request: MatchRequest, outcome: MatchOutcome, told: RunNotes
) -> RunFacts:
    names = [name for name in (request.generator, *request.backbones) if name]
    inputs: dict[str, Any] = {
        "models": [model_key(bench.registry.card(name), bench.weights) for name in names],
        **_photos(request, told.photos, len(outcome.pictures)),
        "device": told.device,
        "versions": {
            "rosetta_ui": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }
    rate = outcome.n_images / outcome.seconds if outcome.seconds else 0.0
    return RunFacts(
        images=outcome.n_images,
        inputs=inputs,
        snapshots={name: snapshot.n_images for name, snapshot in outcome.snapshots.items()},
        timings={
            "seconds": outcome.seconds,
            "images_per_second": rate,
            "peak_bytes": float(told.peak_bytes),
        },
        notes=tuple(told.notes),
    )


def _photos(request: MatchRequest, photos: PhotoSet | None, n_shown: int) -> dict[str, Any]:
    """What a record says of the photos: a digest of all, and the files of those that are shown."""
    if photos is None:
        return {"photos": ""}
    folder = Path(request.photos)
    shown = photos.photos[:n_shown]
    names = [[photo.path.relative_to(folder).as_posix(), photo.sha256] for photo in shown]
    return {"photos": photos.digest, "pictures": names}
