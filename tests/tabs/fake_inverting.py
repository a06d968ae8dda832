"""Inversions without networks: a target comes out of the mist, in some seconds of the clock."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rosetta_ui.errors import BadRequestError
from rosetta_ui.inversions import (
    Crop,
    Framed,
    GuidingMap,
    GuidingNeuron,
    Inversion,
    InversionNumbers,
    InversionProgress,
    InversionRequest,
    LossPoint,
    Preset,
    ReadPicture,
    presets_for,
)
from rosetta_ui.types import Latents, MatchRequest, ModelCard, ResultInfo, Unit

SIDE = 128
BACKBONES = ("dinov2-s", "efficientnet-lite0", "mobilenetv2", "thin-resnet50")


@dataclass
class Work:
    """One inversion on the clock."""

    ticket: int
    request: InversionRequest
    classes: tuple[int, ...]
    begun: float
    first: int = 0  # steps that were made before
    stopped: float = 0.0
    which: int = 0


@dataclass
class Page:
    """One page: its results and what runs."""

    runs: list[Inversion] = field(default_factory=list)
    work: Work | None = None


class FakeInverting:
    """Answers as the engine's desk of inversions does."""

    def __init__(self, seconds: float = 1.5) -> None:
        self._seconds = seconds
        self._pages: dict[str, Page] = {}
        self._numbers = itertools.count(1)
        self.asked: list[InversionRequest] = []
        self.prepared: list[str] = []
        self.framing = Framed(True)
        self._framed_at = 0.0
        self.stopped: list[str] = []
        self.closed: list[str] = []
        self.fails: BadRequestError | None = None

    def read_picture(self, data: bytes) -> ReadPicture:
        try:
            with Image.open(io.BytesIO(data)) as image:
                return ReadPicture(np.asarray(image.convert("RGB")))
        except OSError as error:
            raise BadRequestError("It is no picture that can be read here.", "Try PNG.") from error

    def presets(self, generator: str) -> tuple[Preset, ...]:
        return presets_for(ModelCard(generator, "generator", "fake", "", "", "", ""))

    def dictionaries(self, generator: str) -> list[ResultInfo]:
        request = MatchRequest(generator, BACKBONES, 256, score="centred")
        return [ResultInfo("bundled", "Faces × four backbones", request, 1.7e9, bundled=True)]

    def open(self, page: str = "") -> str:
        if page in self._pages:
            return page
        name = f"page{next(self._numbers)}"
        self._pages[name] = Page()
        return name

    def _page(self, page: str) -> Page:
        if page not in self._pages:
            raise BadRequestError("This page is no longer open here.", "Start again.")
        return self._pages[page]

    def prepare(
        self,
        page: str,
        generator: str,
        class_index: int | None = None,
        psi: float | None = None,
        picture: NDArray[np.uint8] | None = None,
    ) -> None:
        self._page(page)
        self.prepared.append(generator)
        height, width = (1, 1) if picture is None else picture.shape[:2]
        # What is a strip has a face at its far end.
        crop = Crop(0.75, 0.5, 0.8) if width >= 3 * height else None
        self.framing = Framed(True, crop)
        self._framed_at = time.monotonic() + self._seconds

    def framed(self, page: str) -> Framed:
        self._page(page)
        return self.framing if time.monotonic() >= self._framed_at else Framed(False)

    def ask(self, page: str, request: InversionRequest, classes: Sequence[int] = ()) -> int:
        found = self._page(page)
        if self.fails:
            raise self.fails
        self.asked.append(request)
        ticket = next(self._numbers)
        found.work = Work(ticket, request, tuple(classes), time.monotonic())
        return ticket

    def more(self, page: str, steps: int) -> int:
        found = self._page(page)
        if not found.runs:
            raise BadRequestError("There is nothing to go on with.", "Run an inversion first.")
        last = found.runs[-1]
        settings = replace(last.request.settings, steps=last.steps + steps)
        request = replace(last.request, settings=settings)
        found.work = Work(next(self._numbers), request, (), time.monotonic(), last.steps)
        found.work.which = last.which
        return found.work.ticket

    def progress(self, page: str, seen: int = 0) -> InversionProgress:
        found = self._page(page)
        work = found.work
        if work is None:
            return InversionProgress(0, "stopped")
        steps = work.request.settings.steps
        share = min(1.0, ((work.stopped or time.monotonic()) - work.begun) / self._seconds)
        step = work.first + int(share * (steps - work.first))
        history = tuple(_point(i) for i in range(1, step + 1))
        picture = _frame(work.request.picture, step / steps)
        over = share >= 1 or work.stopped
        if over and picture is not None:
            self._keep(found, work, picture, history)
        return InversionProgress(
            work.ticket,
            ("stopped" if work.stopped else "done") if over else "running",
            step,
            steps,
            self._seconds * (1 - share),
            0,
            step + 1,
            picture if step else None,
            not over,
            history[seen:],
            len(history),
            history[-1].best if history else float("nan"),
            work.which if over else 0,
            "Pixels, features and neurons.",
        )

    def _keep(
        self, page: Page, work: Work, picture: NDArray[np.uint8], history: tuple[LossPoint, ...]
    ) -> None:
        known = {run.which for run in page.runs}
        if work.which in known and not work.first:
            return
        for one in work.classes or (work.request.class_index,):
            which = work.which or next(self._numbers)
            label = "Photo" if one is None else f"Photo, class {one}"
            latents = Latents("z", np.zeros((1, 4), np.float32), one)
            numbers = InversionNumbers(31.4, 0.93, 0.17, "features of dinov2-s", 62.0)
            run = Inversion(
                which, label, work.request, picture, latents, history, 3.2, numbers,
                stopped=bool(work.stopped),
            )  # fmt: skip
            page.runs = [r for r in page.runs if r.which != which] + [run]
            if not work.classes:
                work.which, work.first = which, 0
        if work.classes:
            work.which, work.first = page.runs[-1].which, 0

    def stop(self, page: str) -> None:
        work = self._page(page).work
        self.stopped.append(page)
        if work is not None and not work.stopped:
            work.stopped = time.monotonic()

    def results(self, page: str) -> tuple[Inversion, ...]:
        return tuple(self._page(page).runs)

    def forget(self, page: str, which: int) -> None:
        found = self._page(page)
        found.runs = [run for run in found.runs if run.which != which]

    def heatmaps(self, page: str, which: int, most: int = 12) -> tuple[GuidingNeuron, ...]:
        self._page(page)
        rng = np.random.default_rng(which)

        def blob(x: float, y: float, side: int) -> NDArray[np.uint8]:
            yy, xx = (np.mgrid[0:side, 0:side] + 0.5) / side
            return (255 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 0.03)).astype(np.uint8)

        found: list[GuidingNeuron] = []
        for i in range(min(most, 6)):
            x, y = rng.uniform(0.2, 0.8, 2)
            partners = {
                name: GuidingMap(
                    Unit(name, f"blocks.{i}", 10 * i), blob(x, y, 14), blob(x + 0.04, y, 14), 0.81,
                    0.9,
                )
                for name in BACKBONES[: 2 + i % 3]
            }  # fmt: skip
            own = Unit("mobilestylegan", "layers.2.conv1", 7 * i)
            found.append(GuidingNeuron(own, blob(x, y, 16), partners))
        return tuple(found)

    def latents(self, page: str, which: int) -> Latents:
        return next(run.latents for run in self._page(page).runs if run.which == which)

    def recipe(self, page: str, which: int) -> dict[str, Any]:
        return {"kind": "rosetta-inversion", "which": which}

    def close(self, page: str) -> None:
        self.closed.append(page)
        self._pages.pop(page, None)


def _point(step: int) -> LossPoint:
    fall = np.exp(-step / 40)
    terms = {"neurons": -0.6 + 0.5 * fall, "pixels": 0.2 * fall, "perceptual": 0.1 + 0.3 * fall}
    return LossPoint(step, {k: float(v) for k, v in terms.items()}, float(-0.5 + fall))


def _frame(target: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """A target behind a mist that clears, of the size that the drawn generator has."""
    small = np.asarray(Image.fromarray(target).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    mist = np.random.default_rng(5).normal(128, 60, small.shape)
    return np.clip(mist * (1 - share) + small * share, 0, 255).astype(np.uint8)
