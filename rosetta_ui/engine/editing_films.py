"""Moving pictures: from state to state of a history, through the latents between them.

The task `edit-film` of `dispatch`.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from rosetta_ui.editing.blending import blended
from rosetta_ui.editing.session import drawn
from rosetta_ui.edits import EditFrame, Film, PictureState
from rosetta_ui.engine.editing_work import cancel_check, check_fits
from rosetta_ui.engine.workbench import Workbench
from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.generator import Generator

KINDS = ("webp", "gif")
BETWEEN_SMALL, BETWEEN_LARGE = 12, 6
"""Pictures from one state to the next; a 1024 px one takes half a second to draw."""

MOST_FRAMES = 240
SIDE = 512
STILL_MS, MOVE_MS = 700, 60
"""How long a state and a picture between two states stand."""


def run(bench: Workbench, values: Mapping[str, Any]) -> Iterator[EditFrame | Film]:
    """Draw a film.

    Args:
        bench: has the models; the caller holds the device's lock.
        values: `states` (two or more of one generator), `kind` (webp or gif), `job`.

    Yields:
        A frame for every picture, then the film.

    Raises:
        BadRequestError: fewer than two states, or another kind of file.
    """
    check = cancel_check(bench, values)
    states: Sequence[PictureState] = values["states"]
    if len(states) < 2 or values["kind"] not in KINDS:
        raise BadRequestError(
            "A film needs two pictures and a kind of file.", f"Make an edit, choose {KINDS}."
        )
    generator = bench.models.generator(states[0].generator)
    for state in states:
        check_fits(generator, state)
    pictures: list[NDArray[np.uint8]] = []
    stands: list[int] = []
    plan = _plan(generator, states)
    for number, (one, other, share) in enumerate(plan, 1):
        check()
        with torch.inference_mode():
            picture = drawn(generator, blended(generator, one, other, share))
        pictures.append(picture)
        stands.append(STILL_MS if share in (0.0, 1.0) else MOVE_MS)
        yield EditFrame(number, len(plan), 0.0, picture, True, note="Drawing the film.")
    yield Film(encoded(pictures, stands, values["kind"]), values["kind"], len(pictures))


def _plan(
    generator: Generator, states: Sequence[PictureState]
) -> list[tuple[PictureState, PictureState, float]]:
    """Every picture of a film: between which two states, and how far."""
    usual = BETWEEN_SMALL if max(generator.card.image_size) <= 128 else BETWEEN_LARGE
    between = max(1, min(usual, MOST_FRAMES // len(states)))
    plan = [
        (one, other, step / between)
        for one, other in itertools.pairwise(states)
        for step in range(between)
    ]
    return [*plan, (states[-2], states[-1], 1.0)]


def encoded(pictures: Sequence[NDArray[np.uint8]], stands: Sequence[int], kind: str) -> bytes:
    """Pictures as one animated file that plays for ever.

    Args:
        pictures: HWC uint8, all of one size; reduced to 512 px.
        stands: milliseconds that each is shown.
        kind: webp or gif.
    """
    frames: list[Image.Image] = []
    for picture in pictures:
        image = Image.fromarray(picture)
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        frames.append(image)
    buffer = io.BytesIO()
    more: dict[str, Any] = {"quality": 86, "method": 2} if kind == "webp" else {"optimize": False}
    frames[0].save(
        buffer,
        kind.upper(),
        save_all=True,
        append_images=frames[1:],
        duration=list(stands),
        loop=0,
        **more,
    )
    return buffer.getvalue()
