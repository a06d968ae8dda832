"""One edit from a state to the next: targets from the picture, descent, frames, the new state.

Knows a generator and its `EditSetup`; knows no page, no cache and no backbone. Everything that the
outcome depends on is in the state and the step, so that a replay gives the same latent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rosetta_ui.editing.edit import Coordinates, EditProblem, chosen_maps, targets_of
from rosetta_ui.editing.optimise import Descent, Schedule, descend
from rosetta_ui.editing.preview_head import PreviewHead
from rosetta_ui.editing.setup import EditSetup
from rosetta_ui.edits import EditFrame, EditStep, Paste, PictureState
from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.generator import Generator
from rosetta_ui.types import Latents, Space

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
    """The picture of one latent: HWC uint8."""
    return as_picture(generator.synthesise(latents))


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
    problem, origin = _problem(bench, state, step, check)
    settings = step.settings
    schedule = Schedule(settings.steps, settings.learning_rate, patience=settings.patience)
    last: Descent | None = None
    next_frame = 0.0
    for last in descend(problem, origin, schedule):
        check()
        frame = EditFrame(last.step, last.steps, float(last.best_total.min()))
        begun = time.monotonic()
        if begun >= next_frame and last.step > 1:
            latents = problem.coordinates.latents(last.best)[_best(last)]
            frame = replace(frame, picture=_frame(bench, state, latents, settings.space))
            frame = replace(frame, preview=True)
            took = time.monotonic() - begun
            next_frame = time.monotonic() + max(FRAME_SECONDS, FRAME_SHARE * took)
        yield frame
    if last is None:
        raise BadRequestError("An edit needs at least one step.", "Give 1 to 5000 steps.")
    values = problem.coordinates.latents(last.best)[_best(last)].detach()
    latents = Latents(
        settings.space, values.cpu().numpy().astype(np.float32), state.class_index, state.psi
    )
    after = replace(state, latents=latents, steps=(*state.steps, step))
    check()
    picture = drawn(bench.generator, latents)
    yield EditFrame(last.step, last.steps, float(last.best_total.min()), picture, False, after)


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


def _best(descent: Descent) -> slice:
    best = int(descent.best_total.argmin())
    return slice(best, best + 1)


def _problem(
    bench: EditBench, state: PictureState, step: EditStep, check: Check
) -> tuple[EditProblem, Tensor]:
    generator, setup, settings = bench.generator, bench.setup, step.settings
    if settings.space not in generator.card.spaces:
        raise BadRequestError(
            f"'{generator.card.name}' has no {settings.space} space.",
            f"It has {', '.join(generator.card.spaces)}.",
        )
    chosen = setup.choose(generator, step.units)
    start = in_space(generator, state.latents, settings.space)
    where = Coordinates(settings.space, start, setup.prior, state.class_index, state.psi)
    with torch.no_grad():
        maps = chosen_maps(generator, chosen, where, check=lambda _spec: check())
        source = maps
        if step.source is not None and any(isinstance(e, Paste) for e in step.edits):
            other = step.source
            there = Coordinates(
                other.latents.space,
                torch.from_numpy(other.latents.values).to(generator.device),
                setup.prior,
                other.class_index,
                other.psi,
            )
            source = chosen_maps(generator, chosen, there, check=lambda _spec: check())
        lowest = {name: setup.lowest[name][index] for name, index in chosen.channels.items()}
        targets = targets_of(maps, step.edits, lowest=lowest, source=source)
    many = replace(where, start=start.expand(settings.restarts, *start.shape[1:]).contiguous())
    problem = EditProblem(
        generator, chosen, targets, many, pull=settings.pull, check=lambda _spec: check()
    )
    return problem, _starts(many, settings.restarts)


def _starts(where: Coordinates, restarts: int) -> Tensor:
    """The picture itself, then as many places around it; the same every time."""
    origin = where.origin()
    if restarts == 1:
        return origin
    stream = torch.Generator().manual_seed(0)
    noise = torch.randn(origin.shape, generator=stream).to(origin)
    noise[0] = 0
    return origin + (noise if where.space == "z" else 0.3 * noise)


def in_space(generator: Generator, latents: Latents, space: Space) -> Tensor:
    """Latents [1, ...] in another space of the same generator.

    Raises:
        BadRequestError: there is no way back, as from w to z.
    """
    values = torch.from_numpy(np.ascontiguousarray(latents.values)).to(generator.device)
    if latents.space == space:
        return values
    if latents.space == "z":
        with torch.no_grad():
            w = generator.to_w(values, class_index=latents.class_index, psi=latents.psi)
            return (w if space == "w+" else w[:, 0]).clone()
    if (latents.space, space) == ("w", "w+"):
        return values[:, None].expand(-1, generator.n_ws, -1).clone()
    raise BadRequestError(
        f"This picture's latent is in {latents.space}, from which there is no way to {space}.",
        f"Edit it in {latents.space}.",
    )


def _frame(
    bench: EditBench, state: PictureState, values: Tensor, space: Space
) -> NDArray[np.uint8]:
    with torch.no_grad():
        if bench.head is not None:
            return as_picture(bench.head.draw(bench.generator, values, space, state))
        image = bench.generator.synthesise_from(
            values, space, class_index=state.class_index, psi=state.psi
        )
    return as_picture(image)
