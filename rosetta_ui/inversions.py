"""What an inversion asks for and what comes of it: frozen values, numpy only, no torch, no gradio.

An inversion looks for the latent whose generated picture is most like a person's own. Positions are
fractions of width (x, right) and height (y, down), origin top left; pictures are HWC uint8.

What `engine.inverting` offers a page (every method may be called from any thread; each raises a
`RosettaError` whose sentence is fit for a person):

- `read_picture(data: bytes) -> ReadPicture`: decode an upload, by content and with limits.
- `presets(generator) -> tuple[Preset, ...]`: `photo`, `sketch`, `other-class`, `published`.
- `dictionaries(generator) -> list[ResultInfo]`: results whose matched pairs can guide.
- `open(page="") -> str`: a page's id, which nobody can guess; all below need it. One that is
  known stays, with what it has. A page that has not been
  heard of for 300 s, or has said `close(page)`, is forgotten with everything in it.
- `ask(page, request, classes=()) -> int`: start; the ticket. A page's older inversion ends. With
  classes, the same target is inverted once for each, and each becomes a result.
- `progress(page, seen=0) -> InversionProgress`: to be polled; `seen` is `history_end` of the last
  answer, so that only new points come.
- `stop(page)`: end it; the best so far is kept as a result.
- `more(page, steps) -> int`: go on from the best of the newest result; it is the same result.
- `results(page) -> tuple[Inversion, ...]`: kept beside each other, oldest first.
- `forget(page, which)`: drop one of them.
- `heatmaps(page, which, most=12) -> tuple[GuidingNeuron, ...]`: where do the models agree?
- `latents(page, which) -> Latents`: for `engine.editing.open_latents(generator, latents, page)`.
- `recipe(page, which) -> dict`: JSON values; the latent and the settings, nothing of the target.
- `prepare(page, generator, class_index=None, psi=None, picture=None)`: make in the background what
  the first inversion of a generator stands on (seconds to a minute, once; then it is in the cache),
  and then look for the square of a picture that is most like what the generator draws.
- `framed(page) -> Framed`: what came of that.
- `close(page)`.

Without a page: `frame(generator, picture) -> Crop`, the square to ask for;
`invert(request, cancel) -> Iterator[InversionFrame]`, whose last frame has the
result, and `class_grid(request, classes, cancel) -> Iterator[Inversion]`, one a class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import BadRequestError
from rosetta_ui.types import Framing, JobState, Latents, ModelCard, Space, Unit

Start = Literal["nearest", "average", "random"]
STARTS: tuple[Start, ...] = ("nearest", "average", "random")

MOST_STEPS = 5000
MOST_RESTARTS = 16
LEAST_SIDE = 8
"""Pixels that a target needs: nothing can be recognised in fewer."""


@dataclass(frozen=True)
class Crop:
    """A square part of an upright picture.

    Attributes:
        x, y: its centre, as shares of the picture's width and height.
        side: as a share of the picture's shorter side, above 0, at most 1.
    """

    x: float = 0.5
    y: float = 0.5
    side: float = 1.0

    def __post_init__(self) -> None:
        finite = all(math.isfinite(v) for v in (self.x, self.y, self.side))
        if not finite or not (0 <= self.x <= 1 and 0 <= self.y <= 1 and 0 < self.side <= 1):
            raise BadRequestError(
                f"The crop ({self.x:g}, {self.y:g}, {self.side:g}) lies outside the picture.",
                "Give a centre from 0 to 1 and a side above 0, at most 1.",
            )

    def box(self, width: int, height: int) -> tuple[int, int, int]:
        """(left, top, side) in pixels; one that would stick out is moved inside."""
        side = min(max(round(self.side * min(width, height)), 1), width, height)
        left = round(self.x * width - side / 2)
        top = round(self.y * height - side / 2)
        return min(max(left, 0), width - side), min(max(top, 0), height - side), side

    def cut(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part of a picture (HWC): square, a copy."""
        left, top, side = self.box(picture.shape[1], picture.shape[0])
        return picture[top : top + side, left : left + side].copy()


def default_crop(width: int, height: int, framing: Framing = "centre") -> Crop:
    """Where a picture is cut before anybody looks: a guess, to be shown and moved.

    Generators of aligned faces draw heads that fill the frame, and people stand in the upper part
    of tall pictures: the square's centre lies at a third of the height there. No face is detected.

    Args:
        width: of the upright picture, in pixels.
        height: likewise.
        framing: of the generator's card.
    """
    if framing == "centre" or height <= width:
        return Crop()
    share = width / height / 2  # half the square's side, as a share of the height
    return Crop(0.5, max(1 / 3, share), 1.0)


@dataclass(frozen=True)
class ReadPicture:
    """A person's picture, decoded.

    Attributes:
        picture: HWC uint8, upright.
        notes: what was done to it, as sentences: turned, first frame only, put on white, reduced.
    """

    picture: NDArray[np.uint8] = field(repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Framed:
    """Where a picture has what a generator draws.

    Attributes:
        ready: it was looked for, or was not asked for.
        crop: the square; None where nothing is more like the generator's pictures than the guess.
    """

    ready: bool
    crop: Crop | None = None


@dataclass(frozen=True)
class Guidance:
    """What pulls the latent: weights of the loss terms, each at least 0, one of them above.

    Attributes:
        neurons: of the matched pairs; the term is −(mean correlation) of the generator's maps with
            the partners' maps of the target.
        pixels: of the mean squared difference, pictures in [-1, 1].
        perceptual: of the distance in a backbone's features.
        backbones: whose pairs guide; empty takes all of the result's.
        result: id of the result that has the pairs; empty takes the bundled or the newest one.
    """

    neurons: float = 1.0
    pixels: float = 0.0
    perceptual: float = 0.0
    backbones: tuple[str, ...] = ()
    result: str = ""

    def __post_init__(self) -> None:
        weights = (self.neurons, self.pixels, self.perceptual)
        if not all(math.isfinite(w) and 0 <= w <= 1e6 for w in weights):
            raise BadRequestError(
                f"The weights {weights} cannot be used.", "Give numbers from 0 to a million."
            )
        if not any(weights):
            raise BadRequestError(
                "Nothing guides the inversion: all weights are 0.",
                "Give neurons, pixels or the perceptual term a weight.",
            )


@dataclass(frozen=True)
class InversionSettings:
    """How hard an inversion tries.

    Attributes:
        space: of the latent.
        steps: of the optimiser.
        learning_rate: of Adam; in w and w+ in natural deviations.
        restarts: starts that run beside each other; the best is kept.
        pull: weight of the pull towards natural w (in w+ also of the rows towards each other).
        start: nearest of many natural samples, the average (z = 0, or w's mean), or random.
        coarse_first: in w+, the first rows move at once and the others later.
        polish: the second half of the steps goes by L-BFGS, from the best start.
        plain: as published: no whitening, constant rate, betas (0.5, 0.999), Adam to the end.
    """

    space: Space = "z"
    steps: int = 200
    learning_rate: float = 0.1
    restarts: int = 4
    pull: float = 0.0
    start: Start = "nearest"
    coarse_first: bool = False
    polish: bool = True
    plain: bool = False

    def __post_init__(self) -> None:
        fits = (
            1 <= self.steps <= MOST_STEPS
            and 1 <= self.restarts <= MOST_RESTARTS
            and 0 < self.learning_rate <= 10
            and 0 <= self.pull <= 1000
        )
        if not fits:
            raise BadRequestError(
                f"{self.steps} steps, {self.restarts} restarts, rate {self.learning_rate:g} and "
                f"pull {self.pull:g} do not work.",
                f"Give 1 to {MOST_STEPS} steps, 1 to {MOST_RESTARTS} restarts, a rate above 0 up "
                "to 10 and a pull from 0 to 1000.",
            )
        if self.start not in STARTS or self.space not in ("z", "w", "w+"):
            raise BadRequestError(
                f"The start '{self.start}' in '{self.space}' is unknown.",
                f"Start at {', '.join(STARTS)}; spaces are z, w and w+.",
            )


@dataclass(frozen=True)
class Preset:
    """Guidance and settings that belong together.

    Attributes:
        name: photo, sketch, other-class or published.
        title: for people.
        about: one sentence: what it is for.
    """

    name: str
    title: str
    about: str
    guidance: Guidance
    settings: InversionSettings


def presets_for(card: ModelCard) -> tuple[Preset, ...]:
    """The presets for a generator; the first is the usual one.

    Args:
        card: its spaces decide which latent moves.
    """
    styled = "w+" in card.spaces
    photo = InversionSettings("z", 200, 0.1, restarts=16)
    free = InversionSettings("z", 150, 0.1, restarts=4, polish=False)
    if styled:
        photo = InversionSettings("w+", 120, 0.05, restarts=1, pull=0.02, coarse_first=True)
        free = InversionSettings(
            "w+", 100, 0.05, restarts=1, pull=0.1, coarse_first=True, polish=False
        )
    published = InversionSettings(
        "w" if styled else "z", 1000, 0.01, restarts=1, start="average", plain=True
    )
    if not styled:
        published = replace(published, start="random")
    return (
        Preset(
            "photo",
            "Photo",
            "A photo of what the generator draws: pixels, features and neurons together.",
            # On four photographs more neurons cost 0.5 dB and gain nothing; none costs 0.3 dB.
            Guidance(neurons=0.02, pixels=1.0, perceptual=0.1),
            photo,
        ),
        Preset(
            "sketch",
            "Sketch or cartoon",
            "Neurons only: where things are counts, colours and strokes do not.",
            Guidance(neurons=1.0),
            free,
        ),
        Preset(
            "other-class",
            "Another class or domain",
            "Neurons and a little of the features: the layout of a thing the generator never drew.",
            Guidance(neurons=1.0, perceptual=0.1),
            free,
        ),
        Preset(
            "published",
            "As published",
            "Dravid et al. 2023: Adam, rate 0.01, 1000 steps, neurons and 100 times the pixels.",
            Guidance(neurons=1.0, pixels=100.0),
            published,
        ),
    )


@dataclass(frozen=True)
class InversionRequest:
    """Everything that an inversion's outcome depends on.

    Attributes:
        generator: its name.
        class_index: for class-conditional generators; None takes 0 there.
        psi: truncation; None takes the card's.
        picture: the target, HWC uint8, square, cut already (`Crop.cut`).
        guidance: what pulls.
        settings: how hard.
        seed: of the random starts.
    """

    generator: str
    picture: NDArray[np.uint8] = field(repr=False)
    guidance: Guidance = field(default_factory=Guidance)
    settings: InversionSettings = field(default_factory=InversionSettings)
    class_index: int | None = None
    psi: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        shape, kind = self.picture.shape, self.picture.dtype
        if len(shape) != 3 or shape[2] != 3 or kind != np.uint8 or shape[0] != shape[1]:
            raise BadRequestError(
                f"The target is an array of shape {shape} and type {kind}.",
                "Give a square HWC uint8 picture.",
            )
        if shape[0] < LEAST_SIDE:
            raise BadRequestError(
                f"The target has {shape[0]}×{shape[1]} pixels.",
                f"Choose a part of at least {LEAST_SIDE}×{LEAST_SIDE}.",
            )
        if not 0 <= self.seed < 2**31:
            raise BadRequestError(
                f"The seed is {self.seed}.", f"Give a number from 0 to {2**31 - 1}."
            )


@dataclass(frozen=True)
class InversionNumbers:
    """How like the target the result is, and how like the generator's own pictures.

    Attributes:
        psnr: dB, at the generator's size or the target's, whichever is smaller.
        ssim: up to 1, likewise.
        perceptual: distance in a backbone's features, 0 for the same picture.
        perceptual_name: which distance that is.
        realism_percentile: how far out among natural samples, 0 to 100; NaN while unknown.
        lpips: LPIPS itself, NaN where it is not installed.
    """

    psnr: float
    ssim: float
    perceptual: float
    perceptual_name: str
    realism_percentile: float = float("nan")
    lpips: float = float("nan")


@dataclass(frozen=True)
class LossPoint:
    """The loss of one step, of the start that was best there.

    Attributes:
        step: 1 for the first.
        terms: name (neurons, pixels, perceptual, pull) → weighted loss.
        best: the lowest total so far.
    """

    step: int
    terms: Mapping[str, float]
    best: float


@dataclass(frozen=True)
class Inversion:
    """One result.

    Attributes:
        which: its number on the page; 0 without one.
        label: for a person: preset or space, steps, class.
        request: what was asked, with the target; it goes with the page.
        picture: the generated picture, HWC uint8, full size.
        latents: of the picture, one sample.
        history: the loss, step by step.
        seconds: that it took.
        numbers: once they are known.
        note: why they are not known yet, or not at all.
        stopped: ended by a person before all steps were made.
    """

    which: int
    label: str
    request: InversionRequest
    picture: NDArray[np.uint8] = field(repr=False)
    latents: Latents = field(repr=False)
    history: tuple[LossPoint, ...] = field(repr=False)
    seconds: float = 0.0
    numbers: InversionNumbers | None = None
    note: str = ""
    stopped: bool = False

    @property
    def steps(self) -> int:
        """Steps that were made."""
        return self.history[-1].step if self.history else 0


@dataclass(frozen=True)
class InversionFrame:
    """What an inversion shows while it runs; one a step, the last one carries the result.

    Attributes:
        step: done so far.
        steps: at most.
        seconds: since it began.
        seconds_left: estimate, NaN while unknown.
        picture: HWC uint8, at most ten a second; None where nothing new is drawn.
        terms: name → weighted loss of this step, of the start that is best.
        best: the lowest total so far.
        preview: the picture is a small or approximate one.
        class_index: that it belongs to.
        message: what happens before the first step.
        result: of the finished inversion.
    """

    step: int
    steps: int
    seconds: float
    seconds_left: float
    picture: NDArray[np.uint8] | None = field(default=None, repr=False)
    terms: Mapping[str, float] = field(default_factory=dict[str, float])
    best: float = float("nan")
    preview: bool = False
    class_index: int | None = None
    message: str = ""
    result: Inversion | None = field(default=None, repr=False)


@dataclass(frozen=True)
class InversionProgress:
    """A snapshot of a page's newest inversion.

    Attributes:
        ticket: its number; 0 where none was asked.
        state: queued, running, stopped, done or failed.
        step, steps: of the optimiser (of all classes together).
        left: seconds, NaN while unknown.
        place: how many are in front while it is queued.
        frame: number of the newest picture.
        picture: it, HWC uint8, or None.
        preview: it is small or approximate.
        history: points of the loss from `seen` on.
        history_end: the `seen` of the next question.
        best: lowest total so far.
        which: number of the result that it left, 0 before.
        message, hint: what happens now; of a failure, the error and the next step.
    """

    ticket: int
    state: JobState
    step: int = 0
    steps: int = 0
    left: float = float("nan")
    place: int = 0
    frame: int = 0
    picture: NDArray[np.uint8] | None = field(default=None, repr=False)
    preview: bool = False
    history: tuple[LossPoint, ...] = field(default=(), repr=False)
    history_end: int = 0
    best: float = float("nan")
    which: int = 0
    message: str = ""
    hint: str = ""


@dataclass(frozen=True)
class GuidingMap:
    """A backbone's unit that guided, on both pictures.

    Attributes:
        unit: the backbone's.
        target: uint8 [h, w], its map of the target.
        inversion: uint8 [h, w], its map of the generated picture, on the same scale.
        agreement: correlation of the generator's own map with `target`, on their common grid: what
            was optimised.
        repeated: correlation of `inversion` with `target`.
    """

    unit: Unit
    target: NDArray[np.uint8] = field(repr=False)
    inversion: NDArray[np.uint8] = field(repr=False)
    agreement: float = float("nan")
    repeated: float = float("nan")


@dataclass(frozen=True)
class GuidingNeuron:
    """A generator's unit that was guided, and what each backbone sees.

    Attributes:
        unit: the generator's.
        own: uint8 [h, w], its map while it drew the inversion.
        partners: by backbone name; only those that are matched with it.
    """

    unit: Unit
    own: NDArray[np.uint8] = field(repr=False)
    partners: Mapping[str, GuidingMap] = field(default_factory=dict[str, GuidingMap])
