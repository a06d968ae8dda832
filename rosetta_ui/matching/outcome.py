"""What goes into the match loop and what comes out of it, as values.

Knows neither models nor images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.matching.checkpoint import Checkpoint
from rosetta_ui.matching.distributed import Alone, Workers
from rosetta_ui.matching.neighbours import Neighbours
from rosetta_ui.matching.sources import Check
from rosetta_ui.matching.statistics import UnitMoments
from rosetta_ui.matching.tables import PairTables
from rosetta_ui.types import LayerSpec, ScoreName

SnapshotName = Literal["at_n8", "at_n4", "at_n2"]

SNAPSHOTS: tuple[tuple[SnapshotName, int], ...] = (("at_n8", 8), ("at_n4", 4), ("at_n2", 2))
"""When the pairs are looked at on the way: name, and the share of the images as 1 / number."""

SNAPSHOT_K = 5
"""Neighbours kept in a snapshot; what the published rule needs."""

BLOCK = 8
"""Images in a block of the null; fewer are too few for a snapshot."""

KEPT_SCORES: tuple[ScoreName, ...] = ("pearson", "centred")

Pair = tuple[str, str]


@dataclass(frozen=True)
class MatchPlan:
    """What is matched.

    Attributes:
        pairs: (rows, columns) of every table, by model name.
        n_images: in all.
        batch_size: images a forward pass, at most.
        seed: of the null.
        dtype: of the accumulators.
        n_views: first images whose pictures and small maps are kept.
        published: batch size of the published score, 0 for none.
        half: run the networks in half precision; how far their maps are off is noted.
    """

    pairs: tuple[Pair, ...]
    n_images: int
    batch_size: int
    seed: int
    dtype: torch.dtype = torch.float32
    n_views: int = 48
    published: int = 0
    half: bool = False


def _silent(_sentence: str) -> None:
    pass


def _go_on() -> None:
    pass


def _nothing(_images: int) -> None:
    pass


@dataclass
class MatchTools:
    """What surrounds a run.

    Attributes:
        device: where the models are.
        check: called in every tapped layer and between batches; raises `Cancelled` to stop.
        stopping: called once after `check` raised, before the state is saved.
        note: gets sentences for a person, such as "Batch halved to 4.".
        checkpoint: where the state is saved; None saves nothing.
        every: images between saves; 0 goes by the clock (`Checkpoint.due`).
        activations: folder for small maps; None keeps none.
        table_dir: folder for tables that do not fit into memory; None keeps them in memory.
        workers: the processes that share the run.
        before_forward: called with the number of images before each forward pass. A test raises
            `torch.OutOfMemoryError` here to play a full device.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    check: Check = _go_on
    stopping: Callable[[], None] = _go_on
    note: Callable[[str], None] = _silent
    checkpoint: Checkpoint | None = None
    every: int = 0
    activations: Path | None = None
    table_dir: Path | None = None
    workers: Workers = field(default_factory=Alone)
    before_forward: Callable[[int], None] = _nothing


@dataclass(frozen=True)
class MatchStep:
    """One batch is counted.

    Attributes:
        done: images of this process counted so far.
        total: images of this process in all.
        saved: images whose counts are on disk.
        found: what a new look at the tables has found, if there was one.
    """

    done: int
    total: int
    saved: int
    found: Snapshot | None = None


@dataclass(frozen=True)
class Snapshot:
    """Neighbours of every table on the way.

    Attributes:
        n_images: that were counted.
        neighbours: pair → score → the best 5 of every unit.
    """

    n_images: int
    neighbours: Mapping[Pair, Mapping[ScoreName, Neighbours]]


@dataclass(frozen=True)
class MatchOutcome:
    """What a finished run gives.

    Attributes:
        layers: model → its layers.
        tables: of every pair.
        published: tables of the published score, where it was asked for.
        snapshots: name → what was found on the way.
        moments: of every model.
        pictures: of the first images, HWC uint8.
        n_images: that were counted.
        seconds: that counting took, also before it was stopped and resumed.
    """

    layers: Mapping[str, tuple[LayerSpec, ...]]
    tables: Mapping[Pair, PairTables]
    published: Mapping[Pair, PairTables]
    snapshots: Mapping[SnapshotName, Snapshot]
    moments: Mapping[str, UnitMoments]
    pictures: Sequence[NDArray[np.uint8]]
    n_images: int
    seconds: float


_FIELDS = ("row_index", "row_score", "col_index", "col_score")


def packed(prefix: str, snapshot: Snapshot) -> dict[str, Tensor]:
    """A snapshot as tensors for a checkpoint, each name starting with the prefix."""
    return {
        f"{prefix}/{number}/{score}/{name}": torch.from_numpy(np.array(getattr(found, name)))
        for number, scores in enumerate(snapshot.neighbours.values())
        for score, found in scores.items()
        for name in _FIELDS
    }


def unpacked(tensors: Mapping[str, Tensor], n_images: int, pairs: Sequence[Pair]) -> Snapshot:
    """The snapshot that `packed` was made of; the names without the prefix."""
    return Snapshot(
        n_images,
        {
            pair: {
                score: Neighbours(*(tensors[f"{n}/{score}/{name}"].numpy() for name in _FIELDS))
                for score in KEPT_SCORES
            }
            for n, pair in enumerate(pairs)
        },
    )
