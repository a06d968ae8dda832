"""What a result folder says about itself: the values in `result.json`, read with suspicion.

A folder may come from anybody, so every value is checked for its type and range before use; model
names never become paths without `file_part`. Knows no arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal
from urllib.parse import quote

from rosetta_ui.types import LayerSpec, MatchRequest, Role, ScoreName, UnitIndex

SCHEMA = 1
"""Number of the result folder's format; anything that moves a score or a name raises it."""

Which = Literal["real", "null", "half0", "half1", "at_n8", "at_n4", "at_n2"]
"""The table itself; the shuffled null; the two halves; the table at N/8, N/4 and N/2 images."""

WHICH: tuple[Which, ...] = ("real", "null", "half0", "half1", "at_n8", "at_n4", "at_n2")


@dataclass(frozen=True)
class ModelRecord:
    """One model of a result.

    Attributes:
        name: as the catalogue knows it.
        role: generator or backbone.
        digest: SHA-256 of its converted weights; empty for models made in code.
        layers: the layers whose channels are units, in order.
        terms: what a person may do with the weights and with pictures made by them.
    """

    name: str
    role: Role
    digest: str
    layers: tuple[LayerSpec, ...]
    terms: str = ""

    @cached_property
    def index(self) -> UnitIndex:
        """Flat number ↔ unit."""
        return UnitIndex(self.layers)


@dataclass(frozen=True)
class TableRecord:
    """One table of a result: which models, and what is kept of it.

    Attributes:
        rows, cols: names of the models.
        k: nearest neighbours kept for every row and column.
        kept: score → which neighbours are kept.
        whole: scores whose whole table lies in the folder.
    """

    rows: str
    cols: str
    k: int
    kept: Mapping[ScoreName, tuple[Which, ...]]
    whole: tuple[ScoreName, ...] = ()


@dataclass(frozen=True)
class ResultRecord:
    """Everything in `result.json`.

    Attributes:
        request: what was asked.
        title: for people.
        created: seconds since the epoch.
        models: the anchor model first, then the backbones in the order asked for.
        tables: anchor × each backbone, then backbone × backbone where they were asked for.
        inputs: every further input with its digest, as JSON values.
        snapshots: images seen at each convergence snapshot, such as {"at_n8": 16}.
        previews: number of pictures kept.
        preview_size: (height, width) of each.
        timings: seconds, images_per_second, peak_bytes and whatever else was measured.
        summary: for people, as JSON values; always recomputed by the app.
        notes: sentences such as "batch halved to 4".
        partial: the run was stopped before its last image.
        schema: the format's number.
        files: name → (bytes, SHA-256) of every other file of the folder.
    """

    request: MatchRequest
    title: str
    created: float
    models: tuple[ModelRecord, ...]
    tables: tuple[TableRecord, ...]
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    snapshots: Mapping[Which, int] = field(default_factory=dict[Which, int])
    previews: int = 0
    preview_size: tuple[int, int] = (0, 0)
    timings: Mapping[str, float] = field(default_factory=dict[str, float])
    summary: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()
    partial: bool = False
    schema: int = SCHEMA
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])

    @property
    def anchor(self) -> ModelRecord:
        """The model whose units are matched with all others: generator, or first backbone."""
        return self.models[0]

    @property
    def backbones(self) -> tuple[ModelRecord, ...]:
        """The other models."""
        return self.models[1:]


def file_part(model: str) -> str:
    """A model's name as part of a file name: no separator of paths survives."""
    return quote(model, safe="")


def table_part(rows: str, cols: str, anchor: str) -> str:
    """A table as part of a file name: the backbone's name, or both names for two backbones."""
    return file_part(cols) if rows == anchor else f"{file_part(rows)}+{file_part(cols)}"
