"""What a result folder says about itself: the values in `result.json`, read with suspicion.

A folder may come from anybody, so every value is checked for its type and range before use; model
names never become paths without `file_part`. Knows no arrays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, cast, get_args
from urllib.parse import quote

from rosetta_ui.errors import StaleCacheError, StoreError
from rosetta_ui.store.checked import Checked
from rosetta_ui.types import (
    SCORES,
    LayerKind,
    LayerSpec,
    MatchRequest,
    Role,
    ScoreName,
    UnitIndex,
)

SCHEMA = 1
"""Number of the result folder's format; anything that moves a score or a name raises it."""

Which = Literal["real", "null", "half0", "half1", "at_n8", "at_n4", "at_n2"]
"""The table itself; the shuffled null; the two halves; the table at N/8, N/4 and N/2 images."""

WHICH: tuple[Which, ...] = get_args(Which)

_MOST_IMAGES = 10**9
_MOST_UNITS = 1 << 24
_FILE = re.compile(r"[A-Za-z0-9_~%+-][A-Za-z0-9._~%+-]{0,254}")


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
        kept: score → which neighbours are kept.
        whole: scores whose whole table lies in the folder.
    """

    rows: str
    cols: str
    kept: Mapping[ScoreName, tuple[Which, ...]]
    whole: tuple[ScoreName, ...] = ()


@dataclass(frozen=True)
class RunFacts:
    """What only the run knows, at its end.

    Attributes:
        images: how many were matched; 0 stands for as many as were asked for.
        inputs: every further input with its digest, as JSON values.
        snapshots: images seen at each convergence snapshot, such as {"at_n8": 16}.
        timings: seconds, images_per_second, peak_bytes and whatever else was measured.
        summary: for people, as JSON values; always recomputed by the app.
        notes: sentences such as "batch halved to 4".
        partial: the run was stopped before its last image.
    """

    images: int = 0
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    snapshots: Mapping[Which, int] = field(default_factory=dict[Which, int])
    timings: Mapping[str, float] = field(default_factory=dict[str, float])
    summary: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()
    partial: bool = False


@dataclass(frozen=True)
class ResultRecord:
    """Everything in `result.json`.

    Attributes:
        request: what was asked.
        title: for people.
        created: seconds since the epoch.
        models: the anchor model first, then the backbones in the order asked for.
        tables: anchor × each backbone, then backbone × backbone where they were asked for.
        previews: number of pictures kept.
        preview_size: (height, width) of each.
        run: what the run knew at its end.
        files: name → (bytes, SHA-256) of every other file of the folder.
    """

    request: MatchRequest
    title: str
    created: float
    models: tuple[ModelRecord, ...]
    tables: tuple[TableRecord, ...]
    run: RunFacts
    previews: int = 0
    preview_size: tuple[int, int] = (0, 0)
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])

    @property
    def images(self) -> int:
        """How many images were matched; fewer than asked for in a partial result."""
        return self.run.images or self.request.n_images

    @property
    def anchor(self) -> ModelRecord:
        """The model whose units are matched with all others: generator, or first backbone."""
        return self.models[0]

    @property
    def backbones(self) -> tuple[ModelRecord, ...]:
        """The other models."""
        return self.models[1:]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them back."""
        return {
            "schema": SCHEMA,
            "kind": "rosetta-result",
            "anchor": self.anchor.name,
            **asdict(self),
        }

    @classmethod
    def from_json(cls, value: Any) -> ResultRecord:
        """Read and check `result.json`.

        Raises:
            StaleCacheError: it was made by another version of the format.
            StoreError: a value is missing, of the wrong type or out of range: which.
        """
        data = Checked(value, "result.json")
        if data.get("kind").value != "rosetta-result":
            raise StoreError("result.json is not the record of a match.")
        schema = data.get("schema").integer(0, 1 << 30)
        if schema != SCHEMA:
            raise StaleCacheError(
                f"The result is of format {schema}, but this version reads format {SCHEMA}.",
                "Run the match again, or use the version that made it.",
            )
        models = tuple(_model(item) for item in data.get("models").items(64))
        if len(models) < 2 or len({m.name for m in models}) < len(models):
            raise data.get("models").wrong("two or more models of different names")
        return cls(
            request=request_of(data.get("request")),
            title=data.get("title").text(300),
            created=data.get("created").number(0, 1e11),
            models=models,
            tables=_tables(data.get("tables"), [m.name for m in models]),
            run=_run(data.get("run")),
            previews=data.get("previews").integer(0, 100_000),
            preview_size=_pair(data.get("preview_size"), 0, 256),
            files=_files(data.get("files")),
        )


def _run(data: Checked) -> RunFacts:
    return RunFacts(
        images=data.get("images").integer(0, _MOST_IMAGES),
        inputs=data.get("inputs").object(),
        snapshots={
            Checked(name, "a snapshot").choice(WHICH): item.integer(1, _MOST_IMAGES)
            for name, item in data.get("snapshots").members()
        },
        timings={name: item.number(-1e18, 1e18) for name, item in data.get("timings").members()},
        summary=data.get("summary").object(),
        notes=tuple(item.text() for item in data.get("notes").items()),
        partial=data.get("partial").truth(),
    )


def _pair(value: Checked, low: int, high: int) -> tuple[int, int]:
    items = [item.integer(low, high) for item in value.items(2)]
    if len(items) != 2:
        raise value.wrong("a list of two whole numbers")
    return items[0], items[1]


def _model(data: Checked) -> ModelRecord:
    # '/' and ':' would make a unit's spelling ambiguous; '\\' is a separator on Windows.
    name = data.get("name").name(forbidden="/:\\")
    layers = tuple(_layer(item, name) for item in data.get("layers").items())
    if not layers or len({layer.name for layer in layers}) < len(layers):
        raise data.get("layers").wrong("one or more layers of different names")
    if sum(layer.channels for layer in layers) > _MOST_UNITS:
        raise StoreError(f"{data.place} has more than {_MOST_UNITS:,} units.")
    return ModelRecord(
        name=name,
        role=cast(Role, data.get("role").choice(("generator", "backbone"))),
        digest=data.get("digest").digest(),
        layers=layers,
        terms=data.get("terms").text(),
    )


def _layer(data: Checked, model: str) -> LayerSpec:
    return LayerSpec(model, **{name: read(data.get(name)) for name, read in LAYER_FIELDS.items()})


def _tables(data: Checked, models: list[str]) -> tuple[TableRecord, ...]:
    tables = tuple(_table(item, models) for item in data.items(4_096))
    names = [(table.rows, table.cols) for table in tables]
    wanted = {(models[0], backbone) for backbone in models[1:]}
    if len(set(names)) < len(names) or not wanted <= set(names):
        raise StoreError(f"{data.place} should hold one table of {models[0]} with each backbone.")
    return tables


def _table(data: Checked, models: list[str]) -> TableRecord:
    kept: dict[ScoreName, tuple[Which, ...]] = {}
    for score, item in data.get("kept").members():
        listed = tuple(which.choice(WHICH) for which in item.items(len(WHICH)))
        if "real" not in listed:
            raise item.wrong("a list with 'real'")
        kept[Checked(score, f"a score of {data.place}").choice(SCORES)] = listed
    if not kept:
        raise data.get("kept").wrong("an object with at least one score")
    return TableRecord(
        rows=data.get("rows").choice(models),
        cols=data.get("cols").choice(models),
        kept=kept,
        whole=tuple(score.choice(SCORES) for score in data.get("whole").items(len(SCORES))),
    )


def _files(data: Checked) -> dict[str, tuple[int, str]]:
    files: dict[str, tuple[int, str]] = {}
    for name, item in data.members():
        if not _FILE.fullmatch(name):
            raise StoreError(f"{data.place} has a file of an unsafe name, '{name[:60]}'.")
        seal = item.items(2)
        if len(seal) != 2:
            raise item.wrong("a size and a SHA-256")
        files[name] = (seal[0].integer(0, 1 << 50), seal[1].digest())
    return files


LAYER_FIELDS: dict[str, Callable[[Checked], Any]] = {
    "name": lambda v: v.name(forbidden=":"),
    "channels": lambda v: v.integer(1, _MOST_UNITS),
    "size": lambda v: _pair(v, 1, 65_536),
    "kind": lambda v: v.choice(get_args(LayerKind)),
    "prefix_tokens": lambda v: v.integer(0, 65_536),
    "margin": lambda v: v.integer(0, 65_536),
    "module": lambda v: v.text(300),
}
"""How each field of a `LayerSpec` but its model is read; a test holds the two together."""

REQUEST_FIELDS: dict[str, Callable[[Checked], Any]] = {
    "generator": lambda v: v.text(300),
    "backbones": lambda v: tuple(item.name(forbidden="/:\\") for item in v.items(64)),
    "n_images": lambda v: v.integer(1, _MOST_IMAGES),
    "batch_size": lambda v: v.integer(1, _MOST_IMAGES),
    "seed": lambda v: v.integer(-(1 << 63), 1 << 64),
    "psi": lambda v: None if v.value is None else v.number(-1e6, 1e6),
    "class_index": lambda v: None if v.value is None else v.integer(0, _MOST_IMAGES),
    "photos": lambda v: v.text(4_096),
    "score": lambda v: v.choice(SCORES),
    "backbone_pairs": lambda v: v.truth(),
    "dtype": lambda v: v.choice(("float32", "float64")),
    "half": lambda v: v.truth(),
}
"""How each field of a `MatchRequest` is read; a test holds the two together."""


def request_of(data: Checked) -> MatchRequest:
    """A request from JSON values; each is checked for its type and range.

    Raises:
        StoreError: a value is missing or of the wrong kind.
    """
    values = {
        name: read(data.get(name))
        for name, read in REQUEST_FIELDS.items()
        # Results of the first versions do not name it.
        if name != "half" or "half" in data.object()
    }
    return MatchRequest(**values)


def file_part(model: str) -> str:
    """A model's name as part of a file name: no separator of paths survives."""
    return quote(model, safe="")


def table_part(rows: str, cols: str, anchor: str) -> str:
    """A table as part of a file name: the backbone's name, or both names for two backbones."""
    return file_part(cols) if rows == anchor else f"{file_part(rows)}+{file_part(cols)}"


def score_part(score: ScoreName) -> str:
    """A score as the end of a file name; Pearson, the default, has none."""
    return "" if score == "pearson" else f"-{score}"
