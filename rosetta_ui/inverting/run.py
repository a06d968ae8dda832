"""One inversion from a target to a result: starts, descent in stages, frames, the best kept.

Knows a generator and what is known of it; knows no page, no cache and no result folder. Everything
that the outcome depends on is in the job, so the same job gives the same latent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.editing.drawer import Drawer
from rosetta_ui.editing.edit import Coordinates, early_rows_first
from rosetta_ui.editing.optimise import Descent, Problem, Schedule, descend, polish
from rosetta_ui.editing.preview_head import PreviewHead
from rosetta_ui.editing.session import FRAME_SECONDS, FRAME_SHARE, as_picture, drawn
from rosetta_ui.editing.setup import EditSetup, editable
from rosetta_ui.errors import BadRequestError, Cancelled, OptimisationDivergedError
from rosetta_ui.inversions import Inversion, InversionFrame, InversionRequest, LossPoint
from rosetta_ui.inverting.features import FeatureDistance
from rosetta_ui.inverting.guide import Guide
from rosetta_ui.inverting.metrics import as_images, compare
from rosetta_ui.inverting.neurons import Agreement, look, partner_layers
from rosetta_ui.inverting.problem import (
    BAND,
    InversionProblem,
    PlainCoordinates,
    Target,
    reduced,
)
from rosetta_ui.inverting.starts import Bank, average_latents, bank_latents, random_latents
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.generator import Generator
from rosetta_ui.types import Latents

STAGES = ((0.2, 1.0), (0.3, 0.25), (0.5, 0.0))
"""(share of the steps, share of the starts that goes on, at least one): which of several starts
wins shows early, and a step of one costs an eighth of a step of eight."""

FEW_STEPS = 20
"""Fewer are not cut into stages."""


@dataclass(frozen=True)
class Stage:
    """A part of the steps.

    Attributes:
        first: the step that it begins with, 0 for the first of all.
        steps: how many.
        starts: how many go on.
        polish: by L-BFGS, from the only start.
    """

    first: int
    steps: int
    starts: int
    polish: bool = False


LOOP_SIDE = 64
"""Side of the pictures that the perceptual term's network is fed in the loop."""


@dataclass(frozen=True)
class Tools:
    """What inversions of a generator work with.

    Attributes:
        generator: draws.
        setup: its units' statistics and the prior of its latents, at the ψ and class in use.
        head: draws small pictures of a large generator; None draws full ones.
        loop: the perceptual distance in the loop, also the bank's.
        judge: the perceptual distance that is reported; another backbone's.
        bank: natural samples to start from; None where no start needs them.
    """

    generator: Generator
    setup: EditSetup
    head: PreviewHead | None
    loop: FeatureDistance
    judge: FeatureDistance
    bank: Bank | None = None

    @property
    def side(self) -> int:
        """Of the pictures in the loop."""
        if self.head is None:
            return min(self.generator.card.image_size)
        layer = self.head.layer
        return min(next(s for s in self.generator.layers if s.name == layer).size)


@dataclass(frozen=True)
class Job:
    """One inversion.

    Attributes:
        request: what is asked, with ψ and class filled in.
        target: what each term wants, from `target_of`.
        label: of the result, for a person.
        resume: an earlier result to go on from; its history goes on too.
        limit: seconds after which it ends, for benchmarks.
        check: called inside every forward pass; may raise `Cancelled`.
    """

    request: InversionRequest
    target: Target
    label: str = ""
    resume: Inversion | None = None
    limit: float = float("inf")
    check: Callable[[], None] = field(default=lambda: None)


def target_of(
    tools: Tools,
    request: InversionRequest,
    guide: Guide | None,
    backbones: Mapping[str, Backbone],
    check: Callable[[], None] = lambda: None,
) -> Target:
    """What each term wants of a picture; the backbones look at it once.

    Args:
        tools: of the generator.
        request: has the picture.
        guide: pairs; needed where neurons have a weight.
        backbones: the partners' models.
        check: called between layers; may raise.

    Raises:
        BadRequestError: neurons have a weight, but there is no guide.
    """
    guidance = request.guidance
    image = as_images(request.picture, tools.generator.device)
    agreement = None
    if guidance.neurons:
        if guide is None:
            raise BadRequestError(
                "No result says which neurons guide.", "Match this generator, or use pixels only."
            )
        layers = partner_layers(guide)
        seen = {name: look(backbones[name], image, layers[name], check) for name in guide.backbones}
        agreement = Agreement(guide, editable(tools.generator.layers), seen)
    small = reduced(image, tools.side)
    distance = None
    if guidance.perceptual:
        with torch.no_grad():
            distance = tools.loop, tools.loop.features(small, check)
    return Target(small, guidance, agreement, distance)


def invert(tools: Tools, job: Job) -> Iterator[InversionFrame]:
    """Invert; one frame a step, the last with the result.

    A stop keeps the best so far: the last frame then says so. So does a loss that is not finite,
    and then it is raised.

    Raises:
        Cancelled: stopped before the first step was made.
        OptimisationDivergedError: the loss stopped being finite.
    """
    course = Course(tools, job)
    broken: OptimisationDivergedError | None = None
    stopped = False
    try:
        yield from course.frames()
    except Cancelled:
        if course.best is None:
            raise
        stopped = True
    except OptimisationDivergedError as error:
        if course.best is None:
            raise
        broken, stopped = error, True
    yield course.last(stopped)
    if broken is not None:
        raise broken


class Course:
    """The way of one inversion, and the best that it has seen."""

    def __init__(self, tools: Tools, job: Job) -> None:
        self._tools, self._job = tools, job
        self._request = job.request
        self._began = time.monotonic()
        self._next_frame = 0.0
        self._history = list(job.resume.history) if job.resume else []
        self._done = self._history[-1].step if self._history else 0
        self._steps = self._done + job.request.settings.steps
        self.best: Tensor | None = None
        self._best_total = float("inf")

    def frames(self) -> Iterator[InversionFrame]:
        """One frame a step."""
        where, at = self._starts()
        settings = self._request.settings
        for stage in self._stages(len(at)):
            if stage.starts < len(at):
                where, at = self._pruned(where, at, stage.starts)
            problem = self._problem(where, stage.first)
            last: Descent | None = None
            for last in self._descents(problem, at, stage):
                yield self._frame(where, last)
                if time.monotonic() - self._began > self._job.limit:
                    return
            if last is None:
                raise BadRequestError(f"{settings.steps} steps are none.", "Give at least one.")
            at, self._totals = last.best, last.best_total

    def _descents(self, problem: Problem, at: Tensor, stage: Stage) -> Iterator[Descent]:
        if stage.polish:
            return polish(problem, at, stage.steps)
        return descend(problem, at, self._schedule(stage))

    def last(self, stopped: bool) -> InversionFrame:
        """The frame with the result; draws the full picture and compares it."""
        if self.best is None:
            raise ValueError("no step was made")
        tools, request = self._tools, self._request
        latents = Latents(
            request.settings.space,
            self.best.detach().cpu().numpy().astype(np.float32),
            request.class_index,
            tools.generator.card.psi if request.psi is None else request.psi,
        )
        picture = drawn(tools.generator, latents)
        seconds = time.monotonic() - self._began
        before = self._job.resume.seconds if self._job.resume else 0.0
        result = Inversion(
            which=self._job.resume.which if self._job.resume else 0,
            label=self._job.label,
            request=request,
            picture=picture,
            latents=latents,
            history=tuple(self._history),
            seconds=seconds + before,
            numbers=compare(request.picture, picture, tools.judge),
            stopped=stopped,
        )
        done = self._history[-1]
        frame = InversionFrame(done.step, self._steps, seconds, 0.0, picture, done.terms, done.best)
        return replace(frame, class_index=request.class_index, result=result)

    # Starts

    def _starts(self) -> tuple[Coordinates, Tensor]:
        """Where it begins: coordinates whose origin is each start, and the first values."""
        settings = self._request.settings
        n = 1 if self._job.resume else settings.restarts
        where = self._around(self._start_latents(n))
        origin = where.origin()
        if self._job.resume is None and settings.start == "average":
            stream = torch.Generator().manual_seed(self._request.seed)
            noise = torch.randn(origin.shape, generator=stream).to(origin)
            if settings.space != "z":
                noise[0] = 0  # z = 0 itself has no direction to go
            origin = origin + 0.1 * noise
        return where, origin

    def _start_latents(self, n: int) -> Tensor:
        tools, request = self._tools, self._request
        generator, settings = tools.generator, request.settings
        psi = generator.card.psi if request.psi is None else request.psi
        if self._job.resume is not None:
            known = self._job.resume.latents.values
            return torch.from_numpy(known).to(generator.device)
        if settings.start == "nearest":
            if tools.bank is None:
                raise ValueError("a start at the nearest sample needs the bank")
            colours = bool(request.guidance.pixels)
            found = tools.bank.nearest(self._job.target.image, tools.loop, n, colours=colours)
            return bank_latents(generator, found, settings.space, psi, request.class_index)
        if settings.start == "average":
            return average_latents(generator, tools.setup.prior.mean, n, settings.space)
        return random_latents(generator, n, request.seed, settings.space, psi, request.class_index)

    def _around(self, latents: Tensor) -> Coordinates:
        request = self._request
        kind = PlainCoordinates if request.settings.plain else Coordinates
        return kind(
            request.settings.space,
            latents,
            self._tools.setup.prior,
            request.class_index,
            self._tools.generator.card.psi if request.psi is None else request.psi,
            BAND,
        )

    # Stages

    def _stages(self, n: int) -> list[Stage]:
        settings = self._request.settings
        total, polished = settings.steps, settings.polish and not settings.plain
        if total < FEW_STEPS or (n == 1 and not polished):
            return [Stage(0, total, n)]
        if self._job.resume is not None:
            return [Stage(0, total, 1, polish=True)]
        ends = np.rint(np.cumsum([share for share, _ in STAGES]) * total).astype(int).tolist()
        kept = [max(round(share * n), 1) for _, share in STAGES]
        begins = [0, *ends[:-1]]
        cut = [Stage(b, e - b, k) for b, e, k in zip(begins, ends, kept, strict=True)]
        return [*cut[:-1], replace(cut[-1], polish=polished)]

    def _pruned(self, where: Coordinates, at: Tensor, n: int) -> tuple[Coordinates, Tensor]:
        """The starts that are ahead."""
        ahead = self._totals.argsort()[:n]
        return replace(where, start=where.start[ahead]), at[ahead]

    def _problem(self, where: Coordinates, first: int) -> Problem:
        request, target = self._request, self._job.target
        guidance, settings = request.guidance, request.settings
        drawer = Drawer(
            self._tools.generator,
            () if target.agreement is None else target.agreement.layers,
            bool(guidance.pixels or guidance.perceptual),
            self._tools.head,
            request.class_index,
            where.psi,
            self._job.check,
        )
        problem = InversionProblem(target, drawer, where, pull=settings.pull)
        coarse = settings.coarse_first and settings.space == "w+" and self._job.resume is None
        return early_rows_first(problem, first, settings.steps) if coarse else problem

    def _schedule(self, stage: Stage) -> Schedule:
        settings = self._request.settings
        if settings.plain:
            return Schedule(stage.steps, settings.learning_rate, (0.5, 0.999), 0, 0)
        last = stage.first + stage.steps == settings.steps
        return Schedule(stage.steps, settings.learning_rate, cool_down=0.5 if last else 0)

    # Frames

    def _frame(self, where: Coordinates, descent: Descent) -> InversionFrame:
        ahead = int(descent.best_total.argmin())
        if float(descent.best_total[ahead]) < self._best_total:
            self._best_total = float(descent.best_total[ahead])
            with torch.no_grad():
                self.best = where.latents(descent.best)[ahead : ahead + 1].detach()
        terms = {name: float(term[ahead]) for name, term in descent.terms.items()}
        step = (self._history[-1].step if self._history else 0) + 1
        self._history.append(LossPoint(step, terms, self._best_total))
        now = time.monotonic()
        seconds = now - self._began
        left = seconds / (step - self._done) * (self._steps - step)
        frame = InversionFrame(step, self._steps, seconds, left, None, terms, self._best_total)
        frame = replace(frame, class_index=self._request.class_index)
        if now < self._next_frame or self.best is None:
            return frame
        picture = self._preview(where, self.best)
        took = time.monotonic() - now
        self._next_frame = now + took + max(FRAME_SECONDS, FRAME_SHARE * took)
        return replace(frame, picture=picture, preview=True)

    def _preview(self, where: Coordinates, latents: Tensor) -> NDArray[np.uint8]:
        drawer = Drawer(
            self._tools.generator, (), True, self._tools.head, where.class_index, where.psi
        )
        with torch.no_grad():
            images, _ = drawer.draw(latents, where.space)
        if images is None:
            raise ValueError("a drawer of pictures gives one")
        return as_picture(images)
