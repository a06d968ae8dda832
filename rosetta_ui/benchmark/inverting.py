"""Inversions of the embedded generators, judged: one row a generator × kind of target × method.

Medians over the targets. Generated targets are held out: no bank, statistic or match has seen them,
and their latent is known. Photographs ship with scikit-image; their files' README says from whom
and under which terms. Sketches are made from the generated targets by an edge filter, so that the
picture they stand for is known. The judges (`mobilenetv2`'s features, `dinov2-s`'s layout) guide no
method. "published" has the published start, rate and schedule, for as long as ours takes.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from rosetta_ui.benchmark.machine import describe
from rosetta_ui.editing.judge import patch_features
from rosetta_ui.editing.session import drawn
from rosetta_ui.engine.engine import Engine
from rosetta_ui.engine.inverting_guide import guide_of
from rosetta_ui.engine.inverting_work import tools_of
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError
from rosetta_ui.inversions import (
    Crop,
    Guidance,
    Inversion,
    InversionRequest,
    InversionSettings,
    presets_for,
)
from rosetta_ui.inverting.guide import Guide
from rosetta_ui.inverting.metrics import as_images
from rosetta_ui.inverting.pictures import read_whole
from rosetta_ui.inverting.run import Job, Tools, invert, target_of
from rosetta_ui.models.generator import Generator
from rosetta_ui.settings import Settings
from rosetta_ui.types import MatchRequest, ModelCard

Picture = NDArray[np.uint8]

OURS = "ours"
"""The photo preset; "published, equal time" gets the seconds that it took."""

TARGETS = {"dcgan-digiface": 24, "mobilestylegan": 6}
QUICK_TARGETS = {"dcgan-digiface": 6, "mobilestylegan": 1}

GUIDES = ("efficientnet-lite0", "thin-resnet50")
"""Backbones whose pairs guide here: the other two judge."""

LAYOUT_JUDGE = "dinov2-s"
MATCH_IMAGES = 128
SEED = 1_000_003
"""Of the held-out pictures."""

PHOTOS = {
    "astronaut.png": Crop(0.43, 0.26, 0.47),
    "camera.png": Crop(0.42, 0.3, 0.45),
    "chelsea.png": Crop(0.5, 0.42, 0.9),
    "coffee.png": Crop(),
}
"""Photographs that come with scikit-image: two people, a cat, and a cup, which no face is."""


@dataclass(frozen=True)
class Method:
    """One way to invert.

    Attributes:
        name: in the rows.
        guidance: what pulls.
        settings: how hard.
        equal_time: ends when ours would have.
        quick: also measured with `--quick`.
        sketches: also measured on sketches.
    """

    name: str
    guidance: Guidance
    settings: InversionSettings
    equal_time: bool = False
    quick: bool = False
    sketches: bool = False


@dataclass(frozen=True)
class Subject:
    """A generator and everything that its rows share."""

    bench: Workbench
    generator: Generator
    guide: Guide
    tools: Tools


def run(quick: bool, json_file: Path | None, only: str = "") -> None:
    """Measure every case; prints a line a row, and writes them where a file is given.

    Args:
        quick: few targets, no photographs of the slow generator.
        json_file: where to write `{"schema", "machine", "rows"}`; written after every row.
        only: measure rows whose "generator, target, method" has this in it.
    """
    rows: list[dict[str, Any]] = []
    with Engine(Settings.read()) as engine:
        for row in _rows(engine, quick, only):
            rows.append(row)
            sys.stdout.write("  ".join(f"{k} {v}" for k, v in row.items()) + "\n")
            sys.stdout.flush()
            if json_file is not None:
                record = {"schema": 1, "machine": describe(), "rows": rows}
                json_file.write_text(json.dumps(record, indent=1), "utf-8")


def _rows(engine: Engine, quick: bool, only: str) -> Iterator[dict[str, Any]]:
    cards = {status.card.name: status.card for status in engine.models("generator")}
    for name, count in (QUICK_TARGETS if quick else TARGETS).items():
        methods = methods_for(cards[name])
        shown = [m for m in methods if not quick or m.quick]
        small = max(cards[name].image_size) <= 128
        wanted = {
            "generated": _asked(name, "generated", shown, only),
            "photographs": _asked(name, "photographs", shown, only) if small or not quick else [],
            "sketches": _asked(name, "sketches", [m for m in methods if m.sketches], only),
        }
        if not any(wanted.values()):
            continue
        subject = _subject(engine, name)
        own = [drawn(subject.generator, subject.generator.sample([i], SEED)) for i in range(count)]
        yield from compare(subject, "generated", own, wanted["generated"])
        if wanted["photographs"]:
            yield from compare(subject, "photographs", photographs(), wanted["photographs"])
        yield from sketched(subject, own, wanted["sketches"])


def _asked(name: str, kind: str, methods: Sequence[Method], only: str) -> list[Method]:
    """The methods that are wanted, and ours where one of them gets its time."""
    wanted = {m.name for m in methods if only in f"{name}, {kind}, {m.name}"}
    timed = any(m.equal_time for m in methods if m.name in wanted)
    return [m for m in methods if m.name in wanted or (timed and m.name == OURS)]


def _subject(engine: Engine, name: str) -> Subject:
    """Load a generator and match it with the guides, unless that is in the cache."""
    asked = MatchRequest(name, GUIDES, n_images=MATCH_IMAGES, score="centred")
    known = [i.result for i in engine.results() if set(GUIDES) <= set(i.request.backbones)]
    known = [r for r in known if next(iter(engine.index(r))) == name]
    if known:
        result = known[0]
    else:
        status = engine.wait(engine.start_match(asked))
        if status.state != "done":
            raise BadRequestError(f"The match failed: {status.message}", status.hint)
        result = status.result
    bench = engine.inverting.bench
    generator = bench.models.generator(name)
    blank = np.zeros((64, 64, 3), np.uint8)
    guidance = Guidance(1.0, backbones=GUIDES, result=result)
    request = InversionRequest(name, blank, guidance, psi=generator.card.psi)
    guide = guide_of(bench, engine.pairs, request)
    if guide is None:
        raise ValueError("neurons have a weight, so there is a guide")
    making = tools_of(bench, request, lambda: None)
    while True:
        try:
            next(making)
        except StopIteration as done:
            return Subject(bench, generator, guide, done.value)


def methods_for(card: ModelCard) -> list[Method]:
    """What is compared; ours comes first, as it sets the time."""
    presets = {preset.name: preset for preset in presets_for(card)}
    ours, published = presets["photo"], presets["published"]
    pixels = Guidance(0, pixels=1.0)
    average = replace(ours.settings, start="average")
    return [
        Method(OURS, ours.guidance, ours.settings, quick=True),
        Method("pixels", pixels, ours.settings, quick=True, sketches=True),
        Method("pixels, average start", pixels, average),
        Method("activations", Guidance(1.0), presets["sketch"].settings, sketches=True),
        Method("both", Guidance(0.1, pixels=1.0), ours.settings),
        Method(
            "published, equal time",
            published.guidance,
            published.settings,
            equal_time=True,
            quick=True,
        ),
    ]


def compare(
    subject: Subject, kind: str, targets: Sequence[Picture], methods: Sequence[Method]
) -> Iterator[dict[str, Any]]:
    """One row a method, over some targets."""
    limits = [float("inf")] * len(targets)
    for method in methods:
        found = [
            inverted(subject, method, target, limit if method.equal_time else float("inf"))
            for target, limit in zip(targets, limits, strict=True)
        ]
        if method.name == OURS:
            limits = [seconds for _, seconds in found]
        yield row_of(subject, kind, method.name, found)


def inverted(
    subject: Subject, method: Method, picture: Picture, limit: float = float("inf")
) -> tuple[Inversion, float]:
    """One inversion, and the seconds of its steps and its last picture."""
    request = InversionRequest(
        subject.generator.card.name,
        picture,
        method.guidance,
        method.settings,
        0 if subject.generator.card.n_classes else None,
        subject.generator.card.psi,
    )
    backbones = {name: subject.bench.models.backbone(name) for name in GUIDES}
    begun = time.monotonic()
    target = target_of(subject.tools, request, subject.guide, backbones)
    *_, last = invert(subject.tools, Job(request, target, limit=limit))
    if last.result is None:
        raise ValueError("the last frame has the result")
    return last.result, time.monotonic() - begun


def row_of(
    subject: Subject, kind: str, method: str, found: Sequence[tuple[Inversion, float]]
) -> dict[str, Any]:
    """Medians of one method."""
    numbers = [each.numbers for each, _ in found if each.numbers is not None]

    def median(name: str, digits: int) -> float:
        return round(statistics.median(float(getattr(n, name)) for n in numbers), digits)

    return {
        "generator": subject.generator.card.name,
        "target": kind,
        "method": method,
        "targets": len(found),
        "steps": int(statistics.median(each.steps for each, _ in found)),
        "seconds": round(statistics.median(seconds for _, seconds in found), 2),
        "psnr": median("psnr", 2),
        "ssim": median("ssim", 4),
        "perceptual": median("perceptual", 4),
        "perceptual_name": numbers[0].perceptual_name,
    }


# Sketches


def sketched(
    subject: Subject, originals: Sequence[Picture], methods: Sequence[Method]
) -> Iterator[dict[str, Any]]:
    """Invert the sketches of known pictures; a judge compares with the pictures themselves."""
    sketches = [sketch(picture) for picture in originals]
    for method in methods:
        found = [inverted(subject, method, each) for each in sketches]
        kept = [
            layout(subject, original, each.picture)
            for original, (each, _) in zip(originals, found, strict=True)
        ]
        row = row_of(subject, "sketches", method.name, found)
        row["layout"] = round(statistics.median(kept), 4)
        row["layout_judge"] = f"{LAYOUT_JUDGE}, cosine with the picture that was sketched"
        yield row


def sketch(picture: Picture) -> Picture:
    """Dark lines on white where the brightness changes: HWC uint8.

    Sobel's filter at about 128 px; the strongest twentieth of the edges is black.
    """
    grey = as_images(picture).mean(1, keepdim=True)
    if grey.shape[-1] > 128:
        grey = functional.interpolate(grey, size=(128, 128), mode="area")
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).view(1, 1, 3, 3)
    padded = functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    edges = functional.conv2d(padded, across).square()
    edges = (edges + functional.conv2d(padded, across.transpose(2, 3)).square()).sqrt()
    top = float(edges.flatten().quantile(0.95))
    lines = 255 * (1 - (edges[0, 0] / max(top, 1e-6)).clamp(0, 1))
    return lines.round().to(torch.uint8)[..., None].expand(-1, -1, 3).numpy()


def layout(subject: Subject, original: Picture, picture: Picture) -> float:
    """Mean cosine over positions of two pictures' features, the original's mean removed."""
    judge = subject.bench.models.backbone(LAYOUT_JUDGE)
    with torch.inference_mode():
        first, second = (patch_features(judge, as_images(p)) for p in (original, picture))
        mean = first.mean((-2, -1), keepdim=True)
        return float(functional.cosine_similarity(first - mean, second - mean, dim=1).mean())


# Photographs


def photographs() -> list[Picture]:
    """The photographs, cut to squares.

    Raises:
        BadRequestError: scikit-image is not installed.
    """
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        raise BadRequestError(
            "The photographs of this benchmark come with scikit-image, which is not installed.",
            "Run: pip install scikit-image",
        )
    folder = Path(found.origin).parent / "data"
    return [crop.cut(read_whole(folder / name)) for name, crop in PHOTOS.items()]
