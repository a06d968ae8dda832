"""`python -m rosetta_ui invert`: the page's inversions without the page.

Exposes `mount(app)`. Progress goes to standard error, the picture and its recipe to files, the
numbers to standard output.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from rosetta_ui.commands.edit import numbers_of
from rosetta_ui.engine.editing_files import write_picture
from rosetta_ui.engine.engine import Engine
from rosetta_ui.errors import BadRequestError
from rosetta_ui.inversions import (
    STARTS,
    Crop,
    Guidance,
    Inversion,
    InversionFrame,
    InversionRequest,
    InversionSettings,
    Preset,
    ReadPicture,
)
from rosetta_ui.inverting.pictures import read_file
from rosetta_ui.settings import Settings

USUAL = "dcgan-digiface"
Text = typer.Option


def mount(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command("invert")(invert)


def invert(
    image: Annotated[Path, typer.Argument(help="The picture to invert.")],
    generator: Annotated[str, Text(help="Name of a generator.")] = USUAL,
    preset: Annotated[str, Text(help="photo, sketch, other-class or published.")] = "photo",
    crop: Annotated[str, Text(help="x,y,side: a square; shares of width, height, side.")] = "",
    class_index: Annotated[
        int | None, Text("--class", help="For class-conditional generators.", show_default=False)
    ] = None,
    classes: Annotated[str, Text(help="Several, with commas between: one result each.")] = "",
    psi: Annotated[float | None, Text(help="Truncation.", show_default="the card's")] = None,
    neurons: Annotated[float | None, Text(help="Weight.", show_default="the preset's")] = None,
    pixels: Annotated[float | None, Text(help="Weight.", show_default="the preset's")] = None,
    perceptual: Annotated[float | None, Text(help="Weight.", show_default="the preset's")] = None,
    result: Annotated[str, Text(help="Result whose pairs guide; empty takes the usual.")] = "",
    backbone: Annotated[
        list[str] | None, Text(help="Whose pairs guide; repeatable.", show_default="all")
    ] = None,
    space: Annotated[str, Text(help="z, w or w+.", show_default="the preset's")] = "",
    steps: Annotated[int | None, Text(help="Of Adam.", show_default="the preset's")] = None,
    rate: Annotated[float | None, Text(help="Of Adam.", show_default="the preset's")] = None,
    restarts: Annotated[int | None, Text(help="Beside.", show_default="the preset's")] = None,
    pull: Annotated[float | None, Text(help="To natural.", show_default="the preset's")] = None,
    start: Annotated[str, Text(help=f"{', '.join(STARTS)}.", show_default="the preset's")] = "",
    seed: Annotated[int, Text(help="Of random starts.")] = 0,
    out: Annotated[Path, Text(help="Picture to write; the recipe goes beside it.")] = Path(
        "inverted.png"
    ),
    device: Annotated[str | None, Text(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    cache_dir: Annotated[Path | None, Text(help="Where weights are kept.")] = None,
    models: Annotated[str | None, Text(help="A Python file that registers models.")] = None,
) -> None:
    """Invert a picture: find the latent whose generated picture, or whose neurons, match it."""
    flags = {"device": device, "cache_dir": cache_dir, "models_file": models}
    with Engine(Settings.read(flags)) as engine:
        chosen = _preset(engine.inverting.presets(generator), preset)
        read = read_file(image)
        for note in read.notes:
            sys.stderr.write(f"note: {note}\n")
        guidance = _guidance(
            chosen.guidance,
            {"neurons": neurons, "pixels": pixels, "perceptual": perceptual},
            result,
            tuple(backbone or ()),
        )
        settings = _settings(
            chosen.settings,
            {
                "space": space or None,
                "steps": steps,
                "learning_rate": rate,
                "restarts": restarts,
                "pull": pull,
                "start": start or None,
            },
        )
        grid = _classes(classes) if classes else []
        # Last of all: where nothing is named, the picture is searched, which takes a while.
        square = _crop(crop) if crop else _framed(engine, generator, read)
        picture = square.cut(read.picture)
        request = InversionRequest(generator, picture, guidance, settings, class_index, psi, seed)
        if grid:
            for each in engine.inverting.class_grid(request, grid):
                _write(engine, each, out.with_stem(f"{out.stem}-{each.request.class_index}"))
        else:
            _write(engine, _run(engine.inverting.invert(request)), out)


def _run(frames: Iterable[InversionFrame]) -> Inversion:
    last: InversionFrame | None = None
    for last in frames:
        if sys.stderr.isatty():
            text = last.message or f"step {last.step} of {last.steps}  loss {last.best:.4f}"
            sys.stderr.write(f"\r\033[K{text}")
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    if last is None or last.result is None:
        raise ValueError("the last frame has the result")
    return last.result


def _write(engine: Engine, found: Inversion, out: Path) -> None:
    write_picture(out, found.picture, engine.inverting.recipe_of(found))
    typer.echo(f"{out} and {out.with_suffix('.json')}")
    numbers = found.numbers
    if numbers is not None:
        lpips = "" if math.isnan(numbers.lpips) else f", LPIPS {numbers.lpips:.4f}"
        shown = "inf" if math.isinf(numbers.psnr) else f"{numbers.psnr:.2f}"
        typer.echo(
            f"PSNR {shown} dB, SSIM {numbers.ssim:.3f}, {numbers.perceptual_name} "
            f"{numbers.perceptual:.4f}{lpips}; {found.steps} steps in {found.seconds:.1f} s"
        )


def _preset(known: tuple[Preset, ...], name: str) -> Preset:
    for preset in known:
        if preset.name == name:
            return preset
    raise BadRequestError(
        f"There is no preset '{name}'.", f"Choose {', '.join(each.name for each in known)}."
    )


def _framed(engine: Engine, generator: str, read: ReadPicture) -> Crop:
    found = engine.inverting.frame(generator, read.picture)
    sys.stderr.write(f"note: cut to --crop {found.x:.3f},{found.y:.3f},{found.side:.3f}\n")
    return found


def _crop(text: str) -> Crop:
    x, y, side = numbers_of(text, 3, "--crop", "0.5,0.4,1")
    return Crop(x, y, side)


def _guidance(
    usual: Guidance, weights: dict[str, float | None], result: str, backbones: tuple[str, ...]
) -> Guidance:
    given = {name: value for name, value in weights.items() if value is not None}
    return replace(usual, **given, result=result, backbones=backbones)


def _settings(usual: InversionSettings, values: dict[str, object]) -> InversionSettings:
    given = {name: value for name, value in values.items() if value is not None}
    return replace(usual, **given)


def _classes(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise BadRequestError(f"--classes is '{text}'.", "Write --classes 3,207,980") from error
