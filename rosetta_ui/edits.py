"""What an edit asks for and what comes of it: frozen values, numpy only, no torch, no gradio.

Positions and displacements are fractions of width (x, right) and height (y, down), origin top left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import BadRequestError
from rosetta_ui.types import JobState, Latents, Space, Unit


@dataclass(frozen=True)
class Region:
    """A part of a picture: a polygon, corners as (x, y) fractions, origin top left.

    `Region.box` makes the usual rectangle; a lasso has more corners.
    """

    corners: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if len(self.corners) < 3:
            raise BadRequestError("A region needs at least three corners.", "Draw a larger one.")

    @classmethod
    def box(cls, x0: float, y0: float, x1: float, y1: float) -> Self:
        """The rectangle between two corners, in any order."""
        (left, right), (top, bottom) = sorted((x0, x1)), sorted((y0, y1))
        return cls(((left, top), (right, top), (right, bottom), (left, bottom)))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) of the smallest rectangle around it."""
        xs, ys = zip(*self.corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True)
class Shift:
    """Move what the units see by fractions of the width (right) and the height (down)."""

    dx: float
    dy: float = 0.0


@dataclass(frozen=True)
class Zoom:
    """Magnify about a point; factor 0.5 to 2, above 1 enlarges."""

    factor: float
    x: float = 0.5
    y: float = 0.5


@dataclass(frozen=True)
class Rotate:
    """Turn clockwise about a point, in degrees."""

    degrees: float
    x: float = 0.5
    y: float = 0.5


@dataclass(frozen=True)
class Mirror:
    """Reflect left and right about the middle."""


@dataclass(frozen=True)
class Scale:
    """Multiply how far the units stand above their mean; 0 removes, above 1 strengthens.

    Attributes:
        factor: 0 to 4.
        region: where; None is everywhere.
    """

    factor: float
    region: Region | None = None


@dataclass(frozen=True)
class Paste:
    """Copy a region of a source picture's maps to a place in this one.

    Attributes:
        region: in the source.
        x, y: where the region's top left corner goes.
    """

    region: Region
    x: float
    y: float


@dataclass(frozen=True)
class Blend:
    """Go from this picture towards the source picture, in latents; no map is asked for.

    Attributes:
        share: 0 is this picture, 1 the source.
    """

    share: float


Move = Shift | Zoom | Rotate | Mirror
Edit = Move | Scale | Paste | Blend


def part_of(edit: Edit, share: float) -> Edit:
    """A share of an edit: 0 asks for nothing, 1 for all of it; a mirror or a copy has no parts."""
    match edit:
        case Shift(dx, dy):
            return Shift(dx * share, dy * share)
        case Zoom(factor, x, y):
            return Zoom(factor**share, x, y)
        case Rotate(degrees, x, y):
            return Rotate(degrees * share, x, y)
        case Scale(factor, region):
            return Scale(1 + (factor - 1) * share, region)
        case Blend(all_of_it):
            return Blend(all_of_it * share)
        case Mirror() | Paste():
            return edit


def only_moves(edits: Iterable[Edit]) -> bool:
    """Whether the edits do nothing but move what is there."""
    return all(isinstance(edit, Move) for edit in edits)


def only_strengths(edits: Iterable[Edit]) -> bool:
    """Whether the edits do nothing but make neurons stronger or weaker."""
    return all(isinstance(edit, Scale) for edit in edits)


def has_parts(edits: Iterable[Edit]) -> bool:
    """Whether some of the edits can be done in part."""
    return any(not isinstance(edit, Mirror | Paste) for edit in edits)


@dataclass(frozen=True)
class EditSettings:
    """How hard an edit tries.

    Attributes:
        space: of the latent that moves.
        steps: of the optimiser, at most.
        learning_rate: of Adam, in natural deviations of the latent.
        restarts: starts that run beside each other; the best is kept. The first is the picture.
        pull: weight of the mean squared step in natural deviations.
        patience: stop early after so many steps without improvement; 0 never does.
        natural: the other starts are the best fitting of so many natural pictures; 0 takes places
            around the picture.
        stages: walk there in so many small steps, each with its own part of the target.
        band: how far the mean square of z may lie from 1, in natural deviations; 0 keeps its norm.
        coarse_first: in w+, the rows of the early layers move at once and the others later.
        colours: weight of the mean squared difference of the picture itself, in [-1, 1], moved as
            the maps are; of a small one where the full one is slow. Where strengths change in a
            region, of the picture outside it, which stays.
        keep: weight of the units whose strength is not asked to change: they should go on seeing
            what they saw; 0 leaves them free. Only where an edit changes nothing but strength.
        early: the maps of early layers are moved as asked (`Latents.moved`), and the latent makes
            up for what is left. Only where an edit does nothing but move. One step leaves the
            latent as it is.
    """

    space: Space
    steps: int
    learning_rate: float
    restarts: int = 1
    pull: float = 0.0
    patience: int = 30
    natural: int = 0
    stages: int = 1
    band: float = 0.0
    coarse_first: bool = False
    colours: float = 0.0
    keep: float = 0.0
    early: bool = False


@dataclass(frozen=True)
class Rung:
    """One of several strengths of an edit that are tried beside each other.

    Attributes:
        share: of the edit.
        pull: as in `EditSettings`.
    """

    share: float
    pull: float


@dataclass(frozen=True)
class EditStep:
    """One edit that was made, with everything that its outcome depends on.

    Attributes:
        edits: applied to the maps in this order, then asked for together.
        units: whose maps are moved.
        settings: how hard it tried.
        source: the picture that a `Paste` copies from and a `Blend` goes to; None is the picture
            itself.
        ladder: strengths that were tried beside each other in one batch, or none.
        rung: which of them this is.
    """

    edits: tuple[Edit, ...]
    units: tuple[Unit, ...]
    settings: EditSettings
    source: PictureState | None = None
    ladder: tuple[Rung, ...] = ()
    rung: int = 0


@dataclass(frozen=True)
class PictureState:
    """A picture that can be edited: where it came from, what was done to it, where it is now.

    Attributes:
        generator: draws it.
        seed: of the first picture; -1 where the first latent was not drawn (an inverted photo).
        psi: truncation.
        class_index: for class-conditional generators.
        start: latent of the first picture.
        latents: latent of this picture, one sample.
        steps: the edits between the two, oldest first.
    """

    generator: str
    seed: int
    psi: float
    class_index: int | None
    start: Latents
    latents: Latents
    steps: tuple[EditStep, ...] = ()


@dataclass(frozen=True)
class EditFrame:
    """What an edit shows while it runs; the last one carries the state.

    Attributes:
        step: done so far.
        steps: at most.
        loss: the best total so far.
        picture: HWC uint8, or None where nothing new is drawn.
        preview: the picture is a small or approximate one.
        error: of small pictures read from an early layer: root mean square difference from the full
            ones made as small, in [0, 1]; NaN where pictures are drawn in full.
        state: of the finished edit.
        note: what is being done, where it is not the optimiser's steps.
    """

    step: int
    steps: int
    loss: float
    picture: NDArray[np.uint8] | None = None
    preview: bool = False
    state: PictureState | None = None
    note: str = ""
    error: float = float("nan")


@dataclass(frozen=True)
class EditNumbers:
    """The two numbers of an edit: did it do what it says, and is it still natural.

    Attributes:
        fidelity_before, fidelity_after: `judge_cosine` to the original moved as asked, of the
            unedited and of the edited picture; NaN where an edit moves nothing (strength).
        partner_corr: the same in the maps of held-out partners: units of the judge that see what
            the generator's units see; NaN where an edit moves nothing.
        realism_percentile: how far out among natural samples, 0 to 100; NaN without a yardstick.
        latent_percentile, picture_percentile: its two parts.
        judge: the backbone that was asked.
    """

    fidelity_before: float
    fidelity_after: float
    partner_corr: float
    realism_percentile: float
    latent_percentile: float
    picture_percentile: float
    judge: str


@dataclass(frozen=True)
class UnitChoice:
    """Which units an edit moves, as a person says it.

    Attributes:
        kind: usual (the middle layers), matched (all matched units of a result), concept (one
            concept of a result), units (those named), active (the most active at a place).
        result: id, for matched and concept.
        concept: its number.
        units: those named.
        x, y: the place, as fractions.
    """

    kind: Literal["usual", "matched", "concept", "units", "active"] = "usual"
    result: str = ""
    concept: int = -1
    units: tuple[Unit, ...] = ()
    x: float = 0.5
    y: float = 0.5


@dataclass(frozen=True)
class Trying:
    """How hard to try, as far as a person says it; None takes what works for the generator.

    Attributes:
        steps, restarts, pull, learning_rate, stages, coarse_first, colours, space, early: as in
            `EditSettings`.
    """

    steps: int | None = None
    restarts: int | None = None
    pull: float | None = None
    learning_rate: float | None = None
    stages: int | None = None
    coarse_first: bool | None = None
    colours: float | None = None
    space: Space | None = None
    early: bool | None = None


@dataclass(frozen=True)
class EditRequest:
    """What a person asks to be done to the picture on their page.

    Attributes:
        edits: applied in this order, then asked for together.
        choice: what is moved.
        trying: how hard; None takes what works for the generator.
        source_seed: picture that a `Paste` copies from or a `Blend` goes to; None is the picture
            itself.
        source: the same as a state, such as that of a recipe; it comes before `source_seed`.
    """

    edits: tuple[Edit, ...]
    choice: UnitChoice = field(default_factory=UnitChoice)
    trying: Trying | None = None
    source_seed: int | None = None
    source: PictureState | None = None


@dataclass(frozen=True)
class EditEntry:
    """One state in the history of a page.

    Attributes:
        label: what was done, for a person.
        picture: HWC uint8.
        state: latent and recipe.
        numbers: once they are known.
        note: why they are not known yet, or not at all.
    """

    label: str
    picture: NDArray[np.uint8]
    state: PictureState
    numbers: EditNumbers | None = None
    note: str = ""


@dataclass(frozen=True)
class FrontierPoint:
    """One strength of an edit, with what came of it.

    Attributes:
        rung: its strength.
        picture: HWC uint8.
        state: latent and recipe.
        numbers: its fidelity is to the whole edit that was asked for.
    """

    rung: Rung
    picture: NDArray[np.uint8]
    state: PictureState
    numbers: EditNumbers


@dataclass(frozen=True)
class Frontier:
    """Fidelity against realism: what an edit gives at several strengths.

    Attributes:
        label: of the whole edit.
        points: weakest first.
        natural: number of the strongest that stays natural, -1 where none does.
    """

    label: str
    points: tuple[FrontierPoint, ...]
    natural: int


@dataclass(frozen=True)
class Film:
    """A moving picture as a file.

    Attributes:
        data: WebP or GIF.
        kind: webp or gif.
        frames: how many.
    """

    data: bytes
    kind: str
    frames: int


@dataclass(frozen=True)
class EditView:
    """The history of a page.

    Attributes:
        page: id of the page.
        entries: oldest first.
        at: the current one.
    """

    page: str
    entries: tuple[EditEntry, ...]
    at: int


@dataclass(frozen=True)
class EditProgress:
    """A snapshot of the edit that runs for a page.

    Attributes:
        ticket: number of the edit; 0 where none was asked.
        state: queued, running, stopped, done or failed.
        step, steps: of the optimiser.
        loss: best so far.
        seconds_left: estimate, NaN while unknown.
        place: how many are in front while it is queued.
        frame: number of the newest picture.
        picture: it, HWC uint8, or None.
        preview: it is small or approximate.
        error: as in `EditFrame`.
        message, hint: of a failure.
        note: what is being done, where it is not the optimiser's steps.
    """

    ticket: int
    state: JobState
    step: int = 0
    steps: int = 0
    loss: float = float("nan")
    seconds_left: float = float("nan")
    place: int = 0
    frame: int = 0
    picture: NDArray[np.uint8] | None = None
    preview: bool = False
    message: str = ""
    hint: str = ""
    note: str = ""
    error: float = float("nan")
