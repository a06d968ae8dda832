"""One edit from a state to the next: targets from the picture, descent, frames, the new state.

Knows a generator and its `EditSetup`; knows no page, no cache and no backbone. Everything that the
outcome depends on is in the state and the step, so that a replay gives the same latent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from collections.abc import Generator as Generator_
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.editing.blending import blended
from rosetta_ui.editing.course import Course
from rosetta_ui.editing.drawer import Drawer
from rosetta_ui.editing.edit import Coordinates
from rosetta_ui.editing.optimise import Descent, descend
from rosetta_ui.editing.preview_head import PreviewHead
from rosetta_ui.editing.setup import EditSetup
from rosetta_ui.edits import Blend, EditFrame, EditStep, PictureState
from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.generator import Generator
from rosetta_ui.types import Latents

Check = Callable[[], None]

FRAME_SECONDS = 0.1
"""At most ten frames a second."""

FRAME_SHARE = 5
"""A frame may take a fifth of the time: the next waits five times as long as the last took."""


@dataclass(frozen=True)
class EditBench:
    """What an edit works with.

    Attributes:
        generator: draws.
        setup: statistics for the state's ψ and class.
        head: draws a small preview from an early layer; None draws full pictures as frames.
    """

    generator: Generator
    setup: EditSetup
    head: PreviewHead | None = None


def start_state(
    generator: Generator, seed: int, class_index: int | None = None, psi: float | None = None
) -> PictureState:
    """The first picture of a seed, unedited.

    Raises:
        BadRequestError: a class that the generator does not have.
    """
    latents = generator.sample([0], seed, class_index, psi)
    return PictureState(
        generator.card.name, seed, latents.psi, latents.class_index, latents, latents
    )


def drawn(generator: Generator, latents: Latents) -> NDArray[np.uint8]:
    """The picture of one latent: HWC uint8.

    Raises:
        BadRequestError: it lies so far out that the numbers of the picture are not finite.
    """
    images = generator.synthesise(latents)
    if not bool(images.isfinite().all()):
        raise BadRequestError(
            f"This latent lies so far out that '{generator.card.name}' draws no picture from it.",
            "Choose a seed, or another recipe.",
        )
    return as_picture(images)


def as_picture(images: Tensor) -> NDArray[np.uint8]:
    """The first of [n, 3, H, W] in [-1, 1] as HWC uint8."""
    scaled = (images[0].detach().float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def edit(
    bench: EditBench, state: PictureState, step: EditStep, check: Check = lambda: None
) -> Iterator[EditFrame]:
    """Edit a picture; yields after every step of the optimiser, the last frame has the state.

    Args:
        bench: the generator and what is known of it.
        state: where it begins; stays as it is.
        step: what is asked.
        check: called inside every forward pass; may raise `Cancelled`.

    Raises:
        BadRequestError: an impossible edit, no unit, or a space that the generator lacks.
        OptimisationDivergedError: the loss is not finite.
    """
    if any(isinstance(each, Blend) for each in step.edits):
        yield _blend(bench, state, step)
        return
    last, where = yield from _descended(bench, state, step, check)
    latents = best_latents(last, where, _best(last, step))
    after = replace(state, latents=latents, steps=(*state.steps, step))
    check()
    picture = drawn(bench.generator, latents)
    yield EditFrame(last.step, last.steps, float(last.best_total.min()), picture, False, after)


def ladder(
    bench: EditBench, state: PictureState, step: EditStep, check: Check = lambda: None
) -> Generator_[EditFrame, None, tuple[PictureState, ...]]:
    """Do an edit at every strength of its ladder in one batch.

    Args:
        bench: the generator and what is known of it.
        state: where all of them begin.
        step: what is asked, with a ladder; its rung is the one that the frames show.
        check: called inside every forward pass; may raise `Cancelled`.

    Yields:
        Frames without a state.

    Returns:
        The states, one a rung; each replays by itself to the same latent.
    """
    last, where = yield from _descended(bench, state, step, check)
    return tuple(
        replace(
            state,
            latents=best_latents(last, where, rung),
            steps=(*state.steps, replace(step, rung=rung)),
        )
        for rung in range(len(step.ladder))
    )


def _descended(
    bench: EditBench, state: PictureState, step: EditStep, check: Check
) -> Generator_[EditFrame, None, tuple[Descent, Coordinates]]:
    """Descend through every stage; frames as it goes."""
    course = Course(bench.generator, bench.setup, state, step, check, bench.head)
    at, done, last = course.origin(), 0, None
    next_frame = 0.0
    for stage in range(course.stages):
        problem, schedule = course.problem(stage), course.schedule(stage)
        for last in descend(problem, at, schedule):
            check()
            number = done + last.step
            best = _best(last, step)
            frame = EditFrame(number, step.settings.steps, float(last.best_total[best]))
            begun = time.monotonic()
            if begun >= next_frame and number > 1:
                shown = _frame(bench, course.where, last.best, best)
                error = float("nan") if bench.head is None else bench.head.error
                frame = replace(frame, picture=shown, preview=True, error=error)
                took = time.monotonic() - begun
                next_frame = time.monotonic() + max(FRAME_SECONDS, FRAME_SHARE * took)
            yield frame
        at, done = at if last is None else last.best, done + schedule.steps
    if last is None:
        raise BadRequestError("An edit needs at least one step.", "Give 1 to 5000 steps.")
    return replace(last, step=done, steps=step.settings.steps), course.where


def best_latents(descent: Descent, where: Coordinates, which: int) -> Latents:
    """The best latent of one of a descent's starts."""
    values = where.latents(descent.best)[which : which + 1].detach()
    return Latents(
        where.space,
        values.cpu().numpy().astype(np.float32),
        where.class_index,
        where.psi,
        where.moved_of(which),
    )


def _blend(bench: EditBench, state: PictureState, step: EditStep) -> EditFrame:
    if len(step.edits) != 1 or step.source is None:
        raise BadRequestError(
            "A blend goes alone, from this picture to another.", "Choose the other picture."
        )
    (edit,) = step.edits
    share = edit.share if isinstance(edit, Blend) else 0.0
    latents = blended(bench.generator, state, step.source, share)
    after = replace(state, latents=latents, steps=(*state.steps, step))
    return EditFrame(1, 1, 0.0, drawn(bench.generator, latents), False, after)


def replay(
    bench: EditBench, state: PictureState, check: Check = lambda: None
) -> Iterator[EditFrame]:
    """Make every edit of a state again from its start; the last frame has the state."""
    at = replace(state, latents=state.start, steps=())
    for step in state.steps:
        for frame in edit(bench, at, step, check):
            yield frame
            if frame.state is not None:
                at = frame.state


def _best(descent: Descent, step: EditStep) -> int:
    return step.rung if step.ladder else int(descent.best_total.argmin())


def _frame(bench: EditBench, where: Coordinates, at: Tensor, which: int) -> NDArray[np.uint8]:
    drawer = Drawer(
        bench.generator,
        (),
        True,
        bench.head,
        where.class_index,
        where.psi,
        moved=(where.moved_of(which),),
    )
    with torch.no_grad():
        images, _ = drawer.draw(where.latents(at)[which : which + 1], where.space)
    if images is None:
        raise ValueError("a drawer of pictures gives one")
    return as_picture(images)
