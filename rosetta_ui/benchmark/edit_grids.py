"""Pictures of every kind of edit, for people to look at: before, as asked, as it came out."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rosetta_ui.editing.targets import affine_of, mask_of, paste, warp
from rosetta_ui.edits import (
    Blend,
    Edit,
    EditNumbers,
    EditRequest,
    Mirror,
    Paste,
    PictureState,
    Region,
    Rotate,
    Scale,
    Shift,
    UnitChoice,
    Zoom,
)
from rosetta_ui.engine.editing import Editing
from rosetta_ui.engine.engine import Engine
from rosetta_ui.settings import Settings

SIDE = 148
MARGIN = 230
GAP = 6
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """One row of a grid.

    Attributes:
        words: at its left.
        edit: what is asked.
        choice: what is moved.
        source: seed that a copy comes from or a blend goes to.
    """

    words: str
    edit: Edit
    choice: UnitChoice = field(default_factory=UnitChoice)
    source: int | None = None


EYES, MOUTH = Region.box(0.22, 0.38, 0.78, 0.55), Region.box(0.33, 0.66, 0.67, 0.84)
HAIR = Region.box(0.15, 0.0, 0.85, 0.26)


def _at(x: float, y: float) -> UnitChoice:
    return UnitChoice("active", x=x, y=y)


ROWS = (
    Shown("shift 12 % to the right", Shift(0.12)),
    Shown("shift 6 % up", Shift(0.0, -0.06)),
    Shown("zoom 1.25", Zoom(1.25)),
    Shown("zoom 0.8", Zoom(0.8)),
    Shown("turn 10°", Rotate(10)),
    Shown("mirror", Mirror()),
    Shown("copy the eyes of seed 7", Paste(EYES, 0.22, 0.38), source=7),
    Shown("copy the mouth of seed 11", Paste(MOUTH, 0.33, 0.66), source=11),
    Shown("active at the eyes off there", Scale(0.0, EYES), _at(0.38, 0.47)),
    Shown("active at the mouth doubled there", Scale(2.0, MOUTH), _at(0.5, 0.75)),
    Shown("active at the hair off there", Scale(0.0, HAIR), _at(0.5, 0.1)),
    Shown("blend half way to seed 7", Blend(0.5), source=7),
)
SEEDS: Mapping[str, Sequence[int]] = {"dcgan-digiface": (0, 1, 3), "mobilestylegan": (0, 1, 3)}


def run(folder: Path, only: str = "") -> None:
    """Write one picture a generator; each grows row by row, so that Ctrl-C keeps what is there.

    Args:
        folder: where to write `edits-GENERATOR.webp`.
        only: draw rows whose "generator, words" has this in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with Engine(Settings.read()) as engine:
        for generator, seeds in SEEDS.items():
            strips: list[Image.Image] = []
            for shown in ROWS:
                if only not in f"{generator}, {shown.words}":
                    continue
                strips.append(_strip(shown, _tiles(engine.editing, generator, seeds, shown)))
                path = folder / f"edits-{generator}.webp"
                _stacked(strips).save(path, "WEBP", quality=88)
                sys.stdout.write(f"{path}: {shown.words}\n")
                sys.stdout.flush()


def _tiles(
    editing: Editing, generator: str, seeds: Sequence[int], shown: Shown
) -> Iterator[tuple[Picture, Picture, Picture, str]]:
    """Before, asked, got and its numbers, for each seed."""
    for seed in seeds:
        state, before = editing.start_picture(generator, seed)
        other = before
        if shown.source is not None:
            _, other = editing.start_picture(generator, shown.source)
        request = EditRequest((shown.edit,), shown.choice, source_seed=shown.source)
        *_, last = editing.edit(state, request)
        if last.state is None or last.picture is None:
            raise ValueError("the last frame has a state")
        numbers = _told(editing, state, last.state)
        yield before, asked_picture(before, other, shown.edit), last.picture, numbers


def _told(editing: Editing, before: PictureState, after: PictureState) -> str:
    numbers: EditNumbers = editing.numbers(before, after)
    words = [] if math.isnan(numbers.fidelity_after) else [f"did {numbers.fidelity_after:.2f}"]
    return ", ".join([*words, f"percentile {numbers.realism_percentile:.0f}"])


def asked_picture(before: Picture, other: Picture, edit: Edit) -> Picture:
    """A picture as an edit asks for it: its pixels moved, black where nothing is known.

    Strength cannot be asked for in pixels: the region that changes is framed.

    Args:
        before: HWC uint8.
        other: the picture that a copy comes from or a blend goes to, of the same size.
        edit: what is asked.
    """
    pixels = torch.from_numpy(before.copy()).permute(2, 0, 1).float()
    others = torch.from_numpy(other.copy()).permute(2, 0, 1).float()
    match edit:
        case Paste():
            moved = paste(pixels, others, edit)
        case Blend(share):
            moved = pixels + share * (others - pixels)
        case Scale(_, region):
            moved = pixels
            if region is not None:
                inside = mask_of(region, (before.shape[0], before.shape[1]))
                moved = torch.where(inside, pixels, pixels * 0.35)
        case _:
            moved = warp(pixels, affine_of(edit))
    return moved.clamp(0, 255).byte().permute(1, 2, 0).numpy()


def _strip(shown: Shown, tiles: Iterator[tuple[Picture, Picture, Picture, str]]) -> Image.Image:
    found = list(tiles)
    width = MARGIN + len(found) * (3 * SIDE + 4 * GAP)
    strip = Image.new("RGB", (width, SIDE + 26), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(15)
    draw.text((8, SIDE // 2 - 10), shown.words, "black", font)
    for i, (*pictures, told) in enumerate(found):
        left = MARGIN + i * (3 * SIDE + 4 * GAP)
        for k, picture in enumerate(pictures):
            tile = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            strip.paste(tile, (left + k * (SIDE + GAP), 0))
        draw.text((left + 2 * (SIDE + GAP), SIDE + 3), told, "black", ImageFont.load_default(12))
    return strip


def _stacked(strips: Sequence[Image.Image]) -> Image.Image:
    head = 30
    sheet = Image.new(
        "RGB", (strips[0].width, head + sum(strip.height for strip in strips)), "white"
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    columns = (strips[0].width - MARGIN) // (3 * SIDE + 4 * GAP)
    for i in range(columns):
        for k, words in enumerate(("before", "asked", "got")):
            left = MARGIN + i * (3 * SIDE + 4 * GAP) + k * (SIDE + GAP)
            draw.text((left, 7), words, "black", font)
    top = head
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    return sheet
