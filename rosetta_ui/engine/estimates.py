"""What a match would cost: from the cards, and from how long earlier matches took here."""

from __future__ import annotations

import math
from pathlib import Path

from rosetta_ui.engine.flow import cached_result
from rosetta_ui.engine.requests import pairs_of
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.matching.photos import find_photos
from rosetta_ui.types import Estimate, MatchRequest

_COPIES = 3
"""Tables in memory while a match runs: two halves and the null."""

_SCORES = 2
"""Tables on disk afterwards: pearson and centred."""

_PIXEL_BYTES = 1_200
"""Of one model's maps for each pixel of the picture that it draws or sees, with the work on them:
DCGAN × 4 backbones, batch 8, peaked at 2.1 GiB, MobileStyleGAN × 4, batch 4, at 9.1."""

_VIEW_BYTES = 48 * 2 * 128
"""Of one unit's small maps on disk: 48 images, 2 bytes a cell, 128 cells on average."""


def estimate(bench: Workbench, request: MatchRequest) -> Estimate:
    """What a checked request would cost.

    Raises:
        BadRequestError: its folder of photos holds none.
    """
    images = request.n_images
    if request.photos:
        images = min(images, len(find_photos(Path(request.photos))))
    names = {name for name in (request.generator, *request.backbones) if name}
    cards = [bench.registry.card(name) for name in names]
    units = {card.name: card.units for card in cards}
    pixels = sum(card.image_size[0] * card.image_size[1] for card in cards)
    cells = sum(units[a] * units[b] for a, b in pairs_of(request))
    size = 8 if request.dtype == "float64" else 4
    rate = _earlier_rate(bench, request)
    return Estimate(
        images=images,
        seconds=images / rate if rate else math.nan,
        memory_bytes=_COPIES * size * cells + request.batch_size * _PIXEL_BYTES * pixels,
        disk_bytes=_SCORES * 4 * cells + _VIEW_BYTES * sum(units.values()),
        cached=cached_result(bench, request) is not None,
    )


def _earlier_rate(bench: Workbench, request: MatchRequest) -> float:
    """Images a second of the newest match of the same models here; 0 where there was none."""
    for info in bench.shelf.list():
        same = (info.request.generator, *info.request.backbones) == (
            request.generator,
            *request.backbones,
        )
        if same and not info.bundled:
            run = bench.shelf.open(info.result).record.run
            return float(run.timings.get("images_per_second", 0.0))
    return 0.0
