"""An engine without networks: drawn faces, blobs for maps, jobs that run on a clock.

It answers the page's calls in the engine's own types, so that a tab can be seen and tested without
weights. Names of models and units are chosen to look like the real ones, hostile ones included.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from fake_desk import FakeDesk
from fake_inverting import FakeInverting
from fake_plots import FakePlots
from numpy.typing import NDArray

from rosetta_ui.errors import BadRequestError, StoreError
from rosetta_ui.store.exchange import export_json
from rosetta_ui.types import (
    CONCEPT_THRESHOLD,
    ActiveUnits,
    AddRequest,
    BackboneSummary,
    ClassFavour,
    ConceptInfo,
    ConceptLabel,
    Estimate,
    ExpressedImage,
    Expression,
    FoundSoFar,
    HeatmapRow,
    Imported,
    JobStatus,
    LayerSpec,
    MatchRequest,
    MatchSummary,
    ModelCard,
    ModelState,
    ModelStatus,
    Partner,
    PersonNames,
    Readiness,
    ResultInfo,
    RosettaNeuron,
    Selection,
    Unit,
    UnitIndex,
    WeightSource,
)

HOSTILE = "<img src=x onerror=alert(1)> ${alert(2)} {{value}}"
PARTS = ("hair", "left eye", "right eye", "mouth", "nose", "chin", "neck", "left", "right", "shirt")
GENERATOR = "mobilestylegan"
LAYERS: dict[str, tuple[tuple[str, int, int], ...]] = {
    GENERATOR: (
        ("conv0", 512, 4),
        ("layers.0.conv1", 512, 8),
        ("layers.1.conv2", 512, 16),
        ("layers.2.conv1", 512, 32),
        ("layers.3.conv2", 512, 64),
    ),
    "dinov2-s": tuple((f"blocks.{i}.mlp.act", 1536, 16) for i in range(12)),
    "efficientnet-lite0": (("blocks.2", 40, 28), ("blocks.4", 112, 14), ("blocks.6", 320, 7)),
    "mobilenetv2": (("blocks.2", 144, 28), ("blocks.4", 576, 14), ("blocks.6", 960, 7)),
    "thin-resnet50": (("layer1", 128, 56), ("layer2", 256, 28), ("layer3", 512, 14)),
}
N_IMAGES = 48


def face(image: int) -> dict[str, tuple[float, float, float]]:
    """Where the parts of one drawn face are: part → (x, y, radius) as fractions."""
    rng = np.random.default_rng(image)
    x, y = 0.5 + rng.uniform(-0.09, 0.09), 0.52 + rng.uniform(-0.06, 0.06)
    s = rng.uniform(0.85, 1.15)
    return {
        "hair": (x, y - 0.27 * s, 0.17 * s),
        "left eye": (x - 0.1 * s, y - 0.05 * s, 0.05 * s),
        "right eye": (x + 0.1 * s, y - 0.05 * s, 0.05 * s),
        "nose": (x, y + 0.03 * s, 0.05 * s),
        "mouth": (x, y + 0.14 * s, 0.07 * s),
        "chin": (x, y + 0.24 * s, 0.06 * s),
        "neck": (x, y + 0.33 * s, 0.1 * s),
        "left": (0.12, 0.3, 0.2),
        "right": (0.88, 0.3, 0.2),
        "shirt": (x, 0.95, 0.22),
    }


def blob(xx: NDArray, yy: NDArray, x: float, y: float, r: float, stretch: float = 1.0) -> NDArray:
    return np.exp(-(((xx - x) ** 2) + ((yy - y) * stretch) ** 2) / (2 * r * r))


def draw(image: int, side: int = 256) -> NDArray[np.uint8]:
    """A soft portrait: HWC uint8."""
    rng = np.random.default_rng(1000 + image)
    yy, xx = (np.mgrid[0:side, 0:side] + 0.5) / side
    parts = face(image)
    back, hair, skin, shirt = (rng.uniform(0.15, 0.85, 3) for _ in range(4))
    hair = hair * np.array([0.6, 0.45, 0.35])
    skin = np.array([0.92, 0.72, 0.6]) * rng.uniform(0.5, 1.05)
    picture = back[None, None] * (0.55 + 0.5 * yy[..., None]) + 0.1 * xx[..., None]

    def lay(mask: NDArray, colour: NDArray, sharp: float = 14.0) -> None:
        nonlocal picture
        alpha = 1 / (1 + np.exp(-sharp * (mask - 0.5)))
        picture = picture * (1 - alpha[..., None]) + colour * alpha[..., None]

    x, y, _ = parts["nose"]
    lay(blob(xx, yy, *parts["shirt"][:2], 0.3, 1.6), shirt)
    lay(blob(xx, yy, *parts["neck"][:2], 0.08, 0.6), skin * 0.85)
    lay(blob(xx, yy, x, y - 0.12, 0.22, 0.9), hair)
    lay(blob(xx, yy, x, y + 0.02, 0.165, 0.78), skin)
    for eye in ("left eye", "right eye"):
        lay(blob(xx, yy, *parts[eye][:2], 0.035, 1.8), np.array([0.95, 0.95, 0.95]))
        lay(blob(xx, yy, *parts[eye][:2], 0.016), np.array([0.1, 0.12, 0.2]))
    lay(blob(xx, yy, *parts["mouth"][:2], 0.06, 2.6), np.array([0.7, 0.25, 0.28]))
    lay(blob(xx, yy, x, y + 0.01, 0.018, 0.7), skin * 0.9, 8)
    grain = rng.normal(0, 0.012, picture.shape)
    return (np.clip(picture + grain, 0, 1) * 255).astype(np.uint8)


def card(name: str, role: str, **facts: object) -> ModelCard:
    values: dict[str, object] = {
        "family": "fake",
        "title": name,
        "about": "A drawn stand-in.",
        "licence": "MIT",
        "terms": "Free to use.",
        "embedded": True,
        **facts,
    }
    return ModelCard(name=name, role=role, **values)  # pyright: ignore


def units_of(name: str) -> int:
    return sum(channels for _, channels, _ in LAYERS[name])


class FakeEngine(FakePlots):
    """Answers like the engine; every answer is drawn from seeds."""

    def __init__(self, n_neurons: int = 160, seconds: float = 6.0, hostile: bool = False) -> None:
        self.n_neurons, self.seconds, self.started = n_neurons, seconds, time.monotonic()
        self.calls: list[str] = []
        self.editing = FakeDesk(draw)
        self.inverting = FakeInverting()
        self._jobs: dict[str, tuple[float, MatchRequest | None, float | None]] = {}
        self._expressed: dict[str, tuple[str, RosettaNeuron]] = {}
        request = MatchRequest(GENERATOR, tuple(LAYERS)[1:], 256, seed=0, psi=0.7, score="centred")
        self._results = [
            ResultInfo("bundled", "Faces × four backbones", request, 1.7e9, bundled=True),
            ResultInfo(
                "second",
                HOSTILE if hostile else "Faces, another seed",
                replace(request, n_images=128, seed=7, score="pearson"),
                1.76e9,
                bytes=48_000_000,
            ),
        ]

    # Models

    def readiness(self) -> Readiness:
        passed = time.monotonic() - self.started
        if passed < 1.5:
            return Readiness("loading", "Loading torch and timm")
        if passed < 3:
            return Readiness("fetching", "Fetching dinov2-s, 41 of 90 MB", (passed - 1.5) / 1.5)
        return Readiness("ready", "Ready on the CPU")

    def warm(self) -> None:
        self.calls.append("warm")

    def models(self, role: str | None = None) -> list[ModelStatus]:
        wheel = WeightSource("wheel", "somewhere", "1.0", size=37_588_926)
        cards: list[tuple[ModelCard, ModelState]] = [
            (
                card(
                    GENERATOR,
                    "generator",
                    title="MobileStyleGAN (faces, 1024 px)",
                    terms="Use it for non-commercial work only: FFHQ is licensed that way.",
                    image_size=(1024, 1024),
                    psi=0.7,
                    spaces=("z", "w", "w+"),
                    units=5504,
                    source=wheel,
                ),
                "ready",
            ),
            (card("dcgan-digiface", "generator", title="DCGAN on DigiFace-1M (64 px)"), "fetch"),
            (card("biggan", "generator", title="BigGAN-deep 256", n_classes=1000), "add"),
        ]
        cards += [(card(n, "backbone", units=units_of(n)), "ready") for n in tuple(LAYERS)[1:]]
        cards.append((card("dino", "backbone", embedded=False, title="DINO ResNet-50"), "add"))
        statuses = [
            ModelStatus(
                c,
                state,
                "" if state == "ready" else f"The weights of {c.name} are not here.",
                "" if state == "ready" else f"python -m rosetta_ui zoo fetch {c.name}",
            )
            for c, state in cards
        ]
        return [s for s in statuses if role is None or s.card.role == role]

    def default_request(self) -> MatchRequest:
        return MatchRequest("dcgan-digiface", tuple(LAYERS)[1:])

    # Jobs

    def start_fetch(self, names: Sequence[str]) -> str:
        self.calls.append(f"fetch {list(names)}")
        return self._start(None)

    def start_match(self, request: MatchRequest) -> str:
        if request.n_images < 2:
            raise BadRequestError(f"{request.n_images} images are too few.", "Give at least 2.")
        return self._start(request)

    def start_add(self, request: AddRequest) -> str:
        self.calls.append(f"add {request.name} {request.file} {request.backbone}")
        return self._start(None)

    def _start(self, request: MatchRequest | None) -> str:
        job = f"job{len(self._jobs) + 1}"
        self._jobs[job] = (time.monotonic(), request, None)
        return job

    def estimate(self, request: MatchRequest) -> Estimate:
        if request.n_images < 2:
            raise BadRequestError(f"{request.n_images} images are too few.", "Give at least 2.")
        return Estimate(request.n_images, request.n_images * 0.9, 900 << 20, 61 << 20)

    def job(self, job: str) -> JobStatus:
        if job not in self._jobs:
            raise BadRequestError(f"There is no job '{job}'.")
        begun, request, stopped = self._jobs[job]
        total = request.n_images if request else 90
        passed = (stopped or time.monotonic()) - begun
        done = min(total, int(total * passed / self.seconds))
        state = "done" if done == total else "stopped" if stopped else "running"
        left = self.seconds - passed
        return JobStatus(
            job,
            "match" if request else "fetch",
            state,
            done,
            total,
            "images" if request else "MB",
            total / self.seconds,
            left,
            "Correlating",
            result="second" if request and done == total else "",
            request=request,
            found=self._found(done, total) if request else (),
            log=("Batch halved to 4: the device was short of memory.",),
        )

    def _found(self, done: int, total: int) -> tuple[FoundSoFar, ...]:
        best = tuple(
            (n.anchor, {name: p.unit for name, p in n.partners.items()}, n.score_min)
            for n in self.neurons("bundled", Selection())[:5]
        )
        looks = [n for n in (total // 8, total // 4, total // 2) if 0 < n <= done]
        return tuple(
            FoundSoFar(n, 20 + n, dict.fromkeys(tuple(LAYERS)[1:], 100 + n), best) for n in looks
        )

    def jobs(self) -> list[JobStatus]:
        return [self.job(job) for job in reversed(self._jobs)]

    def stop(self, job: str) -> None:
        begun, request, _ = self._jobs[job]
        self._jobs[job] = (begun, request, time.monotonic())

    # Results

    def results(self) -> list[ResultInfo]:
        return list(self._results)

    def _info(self, result: str) -> ResultInfo:
        found = next((r for r in self._results if r.result == result), None)
        if found is None:
            raise StoreError(f"There is no result '{result}'.", "Choose another in the Gallery.")
        return found

    def _put(self, result: str, **values: object) -> None:
        info = self._info(result)
        self._results[self._results.index(info)] = replace(info, **values)  # pyright: ignore

    def keep(self, result: str, saved: bool) -> None:
        self._put(result, saved=saved)

    def rename(self, result: str, title: str) -> None:
        if not title.strip():
            raise BadRequestError("The title is empty.", "Give it a name.")
        self._put(result, title=title)

    def delete(self, result: str) -> None:
        self._results.remove(self._info(result))

    def index(self, result: str) -> dict[str, UnitIndex]:
        self._info(result)
        return {
            model: UnitIndex([LayerSpec(model, n, c, (side, side)) for n, c, side in layers])
            for model, layers in LAYERS.items()
        }

    def summary(self, result: str, selection: Selection) -> MatchSummary:
        info = self._info(result)
        tables = tuple(
            BackboneSummary(name, units_of(name), 12, 412 - 40 * i, 31, 0.11, 0.34, 0.62, 0.04, 0.7)
            for i, name in enumerate(tuple(LAYERS)[1:])
        )
        found = self.neurons(result, selection)
        return MatchSummary(
            result=result,
            request=info.request,
            selection=selection,
            anchor_model=GENERATOR,
            anchor_units=units_of(GENERATOR),
            anchor_dead=3,
            tables=tables,
            rosetta=len(found),
            rosetta_above_null=sum(n.above_null for n in found),
            null_rosetta=9,
            threshold=0.34,
            seconds=147.2,
            images_per_second=1.74,
            peak_bytes=1_900_000_000,
            created=info.created,
        )

    def _part(self, unit: Unit) -> str:
        return PARTS[(unit.channel * 7 + len(unit.layer)) % len(PARTS)]

    def neurons(self, result: str, selection: Selection) -> list[RosettaNeuron]:
        self._info(result)
        self.calls.append("neurons")
        rng = np.random.default_rng(len(result) + selection.k)
        index = self.index(result)
        found: list[RosettaNeuron] = []
        chosen = rng.permutation(np.arange(512, units_of(GENERATOR)))[: self.n_neurons]
        for i, flat in enumerate(chosen):
            anchor = index[GENERATOR].unit(int(flat))
            partners: dict[str, Partner] = {}
            level = 0.86 - 0.6 * i / self.n_neurons
            for model in tuple(LAYERS)[1:]:
                unit = index[model].unit(int(rng.integers(0, units_of(model))))
                r = float(np.clip(level + rng.uniform(0, 0.1), -1, 1))
                null = float(0.28 + rng.uniform(-0.05, 0.08))
                halves = (r - 0.02, r + 0.015)
                partners[model] = Partner(unit, r, null, int(rng.integers(1, 6)), halves, 0.01)
            found.append(RosettaNeuron(anchor, partners, i % 14, level > 0.34))
        kept = [n for n in found if n.score_min >= selection.lowest]
        kept = [n for n in kept if n.above_null or not selection.above_null]
        return sorted(kept, key=lambda n: -n.score_min)

    def concepts(
        self, result: str, selection: Selection, threshold: float = CONCEPT_THRESHOLD
    ) -> list[ConceptInfo]:
        """The drawn parts; a high threshold joins two parts each, a low one parts them again."""
        self.calls.append(f"concepts {threshold:.2f}")
        found = self.neurons(result, selection)
        groups: dict[int, list[Unit]] = {}
        for place, neuron in enumerate(found):
            by = neuron.concept // 2 if threshold > 0.9 else neuron.concept
            groups.setdefault(by if threshold > 0.4 else place, []).append(neuron.anchor)
        sizes = ("small", "medium", "large")
        return [
            ConceptInfo(
                at,
                tuple(units),
                units[0],
                0.41 if len(units) > 1 else float("nan"),
                ConceptLabel(
                    "top left", sizes[at % 3], 0.07, "dark brown", "darker than the rest", 0.2, 0.3
                ),
            )
            for at, units in enumerate(groups.values())
        ]

    def classes(
        self, result: str, selection: Selection, threshold: float = CONCEPT_THRESHOLD
    ) -> dict[int, list[ClassFavour]]:
        return {0: [ClassFavour("mobilenetv2", HOSTILE, 0.81, 0.6)]}

    def pairs(self, result: str, backbone: str, selection: Selection) -> list[tuple[Unit, Partner]]:
        """Those of the neurons, and one pair in each backbone that no neuron has."""
        index = self.index(result)
        found = [(n.anchor, n.partners[backbone]) for n in self.neurons(result, selection)]
        alone = Partner(index[backbone].unit(0), 0.41, 0.3, 2, (0.4, 0.42), 0.02)
        return [*found, (index[GENERATOR].unit(0), alone)]

    def active_units(
        self, result: str, image: int, box: tuple[float, float, float, float], most: int = 12
    ) -> list[ActiveUnits]:
        """Every other unit is a matched one's."""
        self.preview(result, image)
        matched = self.neurons(result, Selection())
        index = self.index(result)
        found: list[ActiveUnits] = []
        for at, (model, units) in enumerate(index.items()):
            mine = [n.anchor if at == 0 else n.partners[model].unit for n in matched[:most]]
            listed = [unit if i % 2 else units.unit(i) for i, unit in enumerate(mine)]
            ranked = tuple((unit, 6 - 0.3 * i) for i, unit in enumerate(listed))
            found.append(ActiveUnits(model, ranked, len(units), every=at != 4))
        return found

    def start_expression(self, result: str, neuron: RosettaNeuron) -> str:
        job = self._start(None)
        self._expressed[job] = (result, neuron)
        return job

    def expression(self, job: str) -> Expression:
        """Drawn faces; the second half of the job has other pictures than the first."""
        result, neuron = self._expressed[job]
        status = self.job(job)
        late = 2 * status.done >= status.total
        units = [neuron.anchor, *(p.unit for p in neuron.partners.values())]
        images = tuple(
            ExpressedImage(
                start,
                self.preview(result, start),
                self.preview(result, start + 9 if late else start),
                {u: self._map(self._part(neuron.anchor), u, start + 9, 16) for u in units},
                dict.fromkeys(units, 0.8),
                dict.fromkeys(units, 2.4 if late else 0.8),
            )
            for start in range(4)
        )
        step = status.total if status.state == "done" else status.total // 2 if late else 0
        return Expression(result, neuron.anchor, images, step, status.total)

    def import_file(self, data: bytes) -> Imported:
        if not data.startswith(b"{"):
            raise StoreError("This file is no dictionary: it is not JSON.", "Choose another.")
        selection = Selection("mutual", 3, "pearson")
        info = replace(self._results[1], result="imported", title="From elsewhere", fixed=selection)
        self._results.append(info)
        first = str(self.neurons("imported", selection)[0].anchor)
        return Imported("imported", selection, PersonNames({first: "fringe"}), "No maps.")

    def export(self, result: str, selection: Selection) -> dict[str, object]:
        return export_json(self.neurons(result, selection))

    # Views

    def images(self, result: str) -> int:
        self._info(result)
        return 0 if result == "imported" else N_IMAGES

    def preview(self, result: str, image: int) -> NDArray[np.uint8]:
        if not 0 <= image < self.images(result):
            raise BadRequestError(f"There is no image {image}.", f"Give 0 to {N_IMAGES - 1}.")
        return draw(image)

    def best_images(self, result: str, neuron: RosettaNeuron, n: int = 8) -> list[int]:
        rng = np.random.default_rng(neuron.anchor.channel)
        return [int(i) for i in rng.permutation(N_IMAGES)[:n]]

    def _map(self, part: str, unit: Unit, image: int, side: int) -> NDArray[np.float32]:
        yy, xx = (np.mgrid[0:side, 0:side] + 0.5) / side
        x, y, r = face(image)[part]
        rng = np.random.default_rng([unit.channel, image, side])
        clean = blob(xx, yy, x, y, r * 0.9) + 0.05 * rng.random((side, side))
        return (4.0 * clean).astype(np.float32)

    def thumbs(
        self, result: str, neurons: Sequence[RosettaNeuron], image: int | None = None
    ) -> tuple[NDArray[np.uint8], list[int]]:
        self.calls.append(f"thumbs {len(neurons)}")
        shown = [self.best_images(result, n, 1)[0] if image is None else image for n in neurons]
        maps = np.zeros((len(neurons), len(LAYERS), 16, 16), np.uint8)
        for row, (neuron, at) in enumerate(zip(neurons, shown, strict=True)):
            units = [neuron.anchor, *(p.unit for p in neuron.partners.values())]
            for column, unit in enumerate(units):
                raw = self._map(self._part(neuron.anchor), unit, at, 16)
                maps[row, column] = np.clip(raw / 4.2 * 255, 0, 255).astype(np.uint8)
        return maps, shown

    def heatmaps(
        self, result: str, units: Sequence[Unit], image: int, size: int = 64
    ) -> HeatmapRow:
        self.calls.append(f"heatmaps {image}")
        sides = {(m, n): side for m, layers in LAYERS.items() for n, _, side in layers}
        part = self._part(units[0])
        maps = {u: self._map(part, u, image, min(size, sides[u.model, u.layer])) for u in units}
        return HeatmapRow(image, self.preview(result, image), maps, {u: (0.0, 4.2) for u in units})
