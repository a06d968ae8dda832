"""Result folders of the published code, read safely and turned into results that can be browsed.

Such a folder holds three pickles (`store.published_export` lists them). They are read as data:
nothing in them runs, and stored devices are ignored. What they do not hold (a null, halves,
kurtosis, pictures, maps) is not made up: the result says that it is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.errors import BadRequestError, StoreError, UnknownModelError
from rosetta_ui.matching.answers import finish_result
from rosetta_ui.matching.neighbours import Which
from rosetta_ui.matching.tables import PairTables
from rosetta_ui.models.checkpoints import read_content
from rosetta_ui.models.disk import digest_of
from rosetta_ui.models.loading import load_model
from rosetta_ui.models.registry import FAMILIES, Registry
from rosetta_ui.models.timm_backbones import layers_of
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.store.arrays import UnitStats
from rosetta_ui.store.checked import Checked
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.store.published_export import ANCHOR_STATS, BACKBONE_STATS, NAMES, TABLE
from rosetta_ui.store.record import ModelRecord, RunFacts
from rosetta_ui.store.writer import ResultWriter
from rosetta_ui.types import LayerSpec, MatchRequest, ModelCard, Role

K = 32
"""Neighbours kept of every unit; as a match of ours keeps."""

USUAL_IMAGES = 1_000
"""What the published script matches unless told otherwise: 100 batches of 10."""

NOTE = (
    "Imported from a result folder of the published code: scores, means and deviations only. "
    "Without a null nothing can be set against chance; halves, kurtosis, pictures and maps are "
    "missing too."
)
ASSUMED = (
    "The files do not say how many images were matched; "
    f"{USUAL_IMAGES:,}, the published script's default, is entered."
)


@dataclass(frozen=True)
class LayerStats:
    """Statistics of one layer: float64 [channels] each."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


@dataclass(frozen=True)
class PublishedResult:
    """What a published result folder holds.

    Attributes:
        scores: float32 [generator units, backbone units]; NaN where undefined.
        generator, backbone: statistics layer by layer; their channels add up to the table's sides.
        sha256: file → digest.
    """

    scores: Tensor
    generator: tuple[LayerStats, ...]
    backbone: tuple[LayerStats, ...]
    sha256: Mapping[str, str]


def read_published_result(folder: Path) -> PublishedResult:
    """Read and check the three files of a published result folder.

    Raises:
        StoreError: a file is missing, or holds something else than it should: which, and what.
        UnsafeFileError: a file asks for more than numbers; nothing in it was run.
        WeightsCorruptError: a file is damaged.
    """
    if not folder.is_dir():
        raise StoreError(f"There is no folder '{folder}'.", "Give one that holds table.pkl.")
    if missing := [name for name in NAMES if not (folder / name).is_file()]:
        raise StoreError(
            f"'{folder}' is no published result folder: it has no {' and no '.join(missing)}.",
            f"Give one that holds {', '.join(NAMES)}.",
        )
    scores = _table(read_content(folder / TABLE))
    generator = _stats(read_content(folder / ANCHOR_STATS), ANCHOR_STATS)
    backbone = _stats(read_content(folder / BACKBONE_STATS), BACKBONE_STATS)
    for name, stats, side, what in (
        (ANCHOR_STATS, generator, 0, "rows"),
        (BACKBONE_STATS, backbone, 1, "columns"),
    ):
        units = sum(len(layer.mean) for layer in stats)
        if units != scores.shape[side]:
            raise StoreError(
                f"'{name}' describes {units:,} units, but '{TABLE}' has "
                f"{scores.shape[side]:,} {what}.",
                "Use the files of one and the same match.",
            )
    digests = {name: digest_of(folder / name) for name in NAMES}
    return PublishedResult(scores, generator, backbone, digests)


def _table(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim != 2 or not value.is_floating_point():
        raise StoreError(f"'{TABLE}' holds {_told(value)}, not a table of scores.")
    if not value.numel():
        raise StoreError(f"'{TABLE}' is empty.")
    scores = value.to(torch.float32)
    # A mean of correlations passes 1 by rounding only.
    if bool((scores.abs() > 1.001).any()):
        largest = float(scores.nan_to_num().abs().max())
        raise StoreError(
            f"'{TABLE}' is no table of correlations: its largest value is {largest:g}."
        )
    return scores


def _stats(value: Any, name: str) -> tuple[LayerStats, ...]:
    if not isinstance(value, list | tuple):
        raise StoreError(f"'{name}' holds {_told(value)}, not a list of layers.")
    return tuple(_layer(item, f"Layer {at} of '{name}'") for at, item in enumerate(value))


def _layer(value: Any, place: str) -> LayerStats:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise StoreError(f"{place} is {_told(value)}, not a mean and a deviation.")
    columns: list[NDArray[np.float64]] = []
    for item in value:
        # [channels], or [1, channels, 1, 1] as the published code broadcasts it.
        flat = isinstance(item, Tensor) and item.numel() == max(item.shape, default=0)
        if not isinstance(item, Tensor) or not flat or not item.is_floating_point():
            raise StoreError(f"{place} holds {_told(item)}, not one number a channel.")
        columns.append(item.reshape(-1).double().numpy())
    if len(columns[0]) != len(columns[1]) or not len(columns[0]):
        raise StoreError(f"{place} has {len(columns[0])} means, but {len(columns[1])} deviations.")
    return LayerStats(*columns)


def _told(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of {'×'.join(map(str, value.shape)) or 'one number'}"
    return f"a {type(value).__name__}"


def import_published(
    source: Path, out: Path, request: MatchRequest, registry: Registry, weights: WeightStore
) -> ResultFolder:
    """Turn a published result folder into a result folder of ours.

    Args:
        source: has the three files.
        out: empty, new, or an earlier result.
        request: names the generator and one backbone; its number of images is 0 where unknown.
            Models that are not known are fine: their layers are called layer0, layer1, …
        registry: knows layers of known models.
        weights: has their weights, where they are needed to know the layers.

    Raises:
        BadRequestError: a name cannot be used, or its model has other layers than the files.
        StoreError: the source is no such folder, or the other one cannot be written.
        UnsafeFileError, WeightsCorruptError: see `read_published_result`.
    """
    names = (request.generator, *request.backbones)
    if len(names) != 2 or names[0] == names[1]:
        raise BadRequestError(
            "A published result folder is of one generator and one backbone.",
            "Name both, differently.",
        )
    content = read_published_result(source)
    known = _Known(registry, weights)
    sides: tuple[tuple[str, Role, tuple[LayerStats, ...]], ...] = (
        (names[0], "generator", content.generator),
        (names[1], "backbone", content.backbone),
    )
    records = [
        ModelRecord(name, role, "", known.layers(name, role, stats), known.terms(name))
        for name, role, stats in sides
    ]
    n_images = request.n_images or USUAL_IMAGES
    notes = (NOTE,) if request.n_images else (NOTE, ASSUMED)
    writer = ResultWriter(
        out,
        replace(request, n_images=n_images, score="published"),
        records,
        title=f"{names[0]} × {names[1]} · published result folder",
        created=(source / TABLE).stat().st_mtime,
    )
    _write(writer, content)
    return finish_result(writer, RunFacts(n_images, {"files": dict(content.sha256)}, notes=notes))


def _write(writer: ResultWriter, content: PublishedResult) -> None:
    rows, cols = writer.models
    source = _Imported(content)
    tables = PairTables(
        rows.layers,
        cols.layers,
        source,
        n_images=writer.request.n_images,
        has_null=False,
        has_halves=False,
        score_names=("published",),
    )
    blocks = (block.numpy() for _, block in tables.blocks("published"))
    writer.add_scores(rows.name, cols.name, "published", blocks)
    kept = tables.neighbours("published", K)
    writer.add_neighbours(rows.name, cols.name, "published", {"real": kept})
    for side, (model, stats) in enumerate(((rows, content.generator), (cols, content.backbone))):
        writer.add_dead(model.name, source.dead(side, "published", "real").numpy(), "published")
        writer.add_stats(model.name, _unit_stats(stats))


def _unit_stats(layers: tuple[LayerStats, ...]) -> UnitStats:
    mean = np.concatenate([layer.mean for layer in layers]).astype(np.float32)
    deviation = np.concatenate([layer.deviation for layer in layers]).astype(np.float32)
    return UnitStats(
        mean=mean,
        deviation=deviation,
        kurtosis=np.full_like(mean, np.nan),
        # A common colour range for maps that may be computed later: three deviations either side.
        low=mean - 3 * deviation,
        high=mean + 3 * deviation,
    )


class _Imported:
    """A published table as the source of `PairTables`."""

    def __init__(self, content: PublishedResult) -> None:
        # A unit that never varies has deviation 0; its scores are NaN, which the published code
        # replaces by 0, or rounding noise.
        blank = content.scores.nan_to_num() == 0
        self._dead = tuple(
            torch.from_numpy(_never_varies(stats)) | blank.all(1 - side)
            for side, stats in enumerate((content.generator, content.backbone))
        )
        self._scores = content.scores
        sizes = [len(layer.mean) for layer in content.generator]
        self._starts = [0, *np.cumsum(sizes).tolist()]

    @property
    def dtype(self) -> torch.dtype:
        return self._scores.dtype

    @property
    def device(self) -> torch.device:
        return self._scores.device

    def dead(self, side: int, score: str, which: Which) -> Tensor:
        """[units] bool."""
        del score, which
        return self._dead[side]

    def fill(self, out: Tensor, score: str, which: Which, layer: int, first: int) -> None:
        """Write the scores of channels first, first + 1, … of a layer; undefined ones are 0."""
        del score, which
        start = self._starts[layer] + first
        out.copy_(self._scores[start : start + len(out)].nan_to_num())


def _never_varies(stats: tuple[LayerStats, ...]) -> NDArray[np.bool_]:
    deviation = np.concatenate([layer.deviation for layer in stats])
    return ~(np.isfinite(deviation) & (deviation > 0))


class _Known:
    """What is known of models by their names."""

    def __init__(self, registry: Registry, weights: WeightStore) -> None:
        self._registry, self._weights = registry, weights

    def terms(self, name: str) -> str:
        """What may be done with pictures of a known model; nothing for others."""
        return self._registry.card(name).terms if name in self._registry.names() else ""

    def layers(self, name: str, role: Role, stats: tuple[LayerStats, ...]) -> tuple[LayerSpec, ...]:
        """The layers of a model, whose sizes are those of the files.

        Raises:
            BadRequestError: the name cannot be used, stands for a model of the other role, or for
                one with other layers.
        """
        channels = [len(layer.mean) for layer in stats]
        card = self._card(name, role)
        if card is None:
            return tuple(
                LayerSpec(name, f"layer{at}", count, (1, 1)) for at, count in enumerate(channels)
            )
        specs = self._specs(card)
        if specs is None:
            if card.units and card.units != sum(channels):
                raise _other(card, f"{card.units:,} units", f"{sum(channels):,}")
            specs = tuple(
                LayerSpec(name, f"layer{at}", count, (1, 1)) for at, count in enumerate(channels)
            )
        expected = [spec.channels for spec in specs]
        if expected != channels:
            raise _other(card, f"layers of {_listed(expected)} units", _listed(channels))
        return specs

    def _card(self, name: str, role: Role) -> ModelCard | None:
        if name in self._registry.names() and self._registry.card(name).role != role:
            raise BadRequestError(
                f"'{name}' is a {self._registry.card(name).role}, but was given as the {role}.",
                "Give the generator first, then the backbone.",
            )
        try:
            # The same check as when the result is opened: a name is part of a unit's spelling.
            Checked(name, f"The name of the {role}").name(forbidden="/:\\")
            return self._registry.card(name, role)
        except UnknownModelError:
            return None

    def _specs(self, card: ModelCard) -> tuple[LayerSpec, ...] | None:
        """The layers of a known model, None where its weights are needed and not here."""
        family = FAMILIES.get(card.family)
        if family is not None and family.load == FAMILIES["timm"].load:
            return layers_of(card)
        if self._weights.state(card).state == "ready":
            return load_model(self._registry, card.name, self._weights).layers
        return None


def _other(card: ModelCard, expected: str, found: str) -> BadRequestError:
    return BadRequestError(
        f"'{card.name}' has {expected}, but the files have {found}.",
        "If they were made with another version of it, give it another name, such as "
        f"{card.name}-published.",
    )


def _listed(channels: list[int]) -> str:
    more = f" … ({len(channels)} layers)" if len(channels) > 8 else ""
    return ", ".join(f"{count:,}" for count in channels[:8]) + more
