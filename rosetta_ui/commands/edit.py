"""`python -m rosetta_ui edit`: the page's edits without the page.

Exposes `mount(app)`. Progress goes to standard error, the picture and its recipe to files, the two
numbers to standard output.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rosetta_ui.edits import (
    Edit,
    EditFrame,
    EditNumbers,
    EditRequest,
    Mirror,
    Paste,
    Region,
    Rotate,
    Scale,
    Shift,
    Trying,
    UnitChoice,
    Zoom,
)
from rosetta_ui.engine.editing_files import read_recipe, write_picture
from rosetta_ui.engine.engine import Engine
from rosetta_ui.errors import BadRequestError
from rosetta_ui.settings import Settings
from rosetta_ui.types import Unit

USUAL = "dcgan-digiface"
Text = typer.Option


def mount(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command("edit")(edit)


def edit(
    generator: Annotated[str, Text(help="Name of a generator.")] = USUAL,
    seed: Annotated[int, Text(help="Of the picture.")] = 0,
    class_index: Annotated[
        int | None, Text("--class", help="For class-conditional generators.", show_default=False)
    ] = None,
    shift: Annotated[str, Text(help="dx,dy as shares of the width and height: 0.12,0.")] = "",
    zoom: Annotated[str, Text(help="Factor, and about where: 1.25 or 1.25@0.5,0.4.")] = "",
    rotate: Annotated[str, Text(help="Degrees clockwise, and about where: 10@0.5,0.5.")] = "",
    mirror: Annotated[bool, Text(help="Swap left and right.")] = False,
    paste: Annotated[
        str, Text(help="SEED:x0,y0,x1,y1>x,y; an empty SEED copies from the picture itself.")
    ] = "",
    unit: Annotated[
        list[str] | None, Text(help="UNIT*factor[@x0,y0,x1,y1]: a neuron's strength; repeatable.")
    ] = None,
    units: Annotated[
        str, Text(help="Which to move: usual, active@x,y, or units with commas between.")
    ] = "usual",
    steps: Annotated[int | None, Text(help="Of the optimiser.", show_default="measured")] = None,
    restarts: Annotated[int | None, Text(help="Starts side by side.", show_default="1")] = None,
    pull: Annotated[float | None, Text(help="Towards the start.", show_default="measured")] = None,
    recipe: Annotated[
        Path | None, Text(help="Replay this recipe instead.", show_default=False)
    ] = None,
    out: Annotated[Path, Text(help="Picture to write; the recipe goes beside it.")] = Path(
        "edited.png"
    ),
    judge: Annotated[bool, Text(help="Judge the edit: fidelity and realism.")] = True,
    device: Annotated[str | None, Text(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    cache_dir: Annotated[Path | None, Text(help="Where weights are kept.")] = None,
    models: Annotated[str | None, Text(help="A Python file that registers models.")] = None,
) -> None:
    """Edit a generated picture: shift, zoom, turn, mirror, copy, or change neurons' strength."""
    flags = {"device": device, "cache_dir": cache_dir, "models_file": models}
    with Engine(Settings.read(flags)) as engine:
        if recipe is not None:
            state = read_recipe(recipe)
            last = _run(engine.editing.replay(state))
            _write(engine, last, out)
            return
        moves = _moves(shift, zoom, rotate, mirror)
        wanted = _requests(moves, paste, unit or [], units, Trying(steps, restarts, pull))
        if not wanted:
            raise BadRequestError(
                "No edit was asked for.", "Give --shift, --zoom, --rotate, --paste or --unit."
            )
        before, _ = engine.editing.start_picture(generator, seed, class_index)
        for request in wanted:
            last = _run(engine.editing.edit(before, request))
            if last.state is None:
                raise ValueError("the last frame has a state")
            _write(engine, last, out)
            if judge:
                _tell(engine.editing.numbers(before, last.state))
            before = last.state


def _run(frames: Any) -> EditFrame:
    last: EditFrame | None = None
    for frame in frames:
        last = frame
        if sys.stderr.isatty():
            sys.stderr.write(f"\rstep {frame.step} of {frame.steps}  ")
    if last is None:
        raise BadRequestError("There is nothing to replay.", "The recipe has no edits.")
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    return last


def _write(engine: Engine, frame: EditFrame, out: Path) -> None:
    if frame.state is None or frame.picture is None:
        raise ValueError("the last frame has a picture and its state")
    write_picture(out, frame.picture, engine.editing.recipe(frame.state))
    typer.echo(f"{out} and {out.with_suffix('.json')}")


def _tell(numbers: EditNumbers) -> None:
    if not math.isnan(numbers.fidelity_after):
        typer.echo(
            f"fidelity {numbers.fidelity_before:.3f} before, {numbers.fidelity_after:.3f} after "
            f"(cosine of {numbers.judge})"
        )
    far = numbers.realism_percentile > 95
    typer.echo(
        f"realism percentile {numbers.realism_percentile:.1f} (latent "
        f"{numbers.latent_percentile:.1f}, picture {numbers.picture_percentile:.1f})"
        + (": further out than 95 % of natural pictures" if far else "")
    )


def _moves(shift: str, zoom: str, rotate: str, mirror: bool) -> list[Edit]:
    edits: list[Edit] = []
    if shift:
        dx, dy = numbers_of(shift, 2, "--shift", "0.12,0")
        edits.append(Shift(dx, dy))
    if zoom:
        factor, (x, y) = _about(zoom, "--zoom", "1.25@0.5,0.5")
        edits.append(Zoom(factor, x, y))
    if rotate:
        degrees, (x, y) = _about(rotate, "--rotate", "10@0.5,0.5")
        edits.append(Rotate(degrees, x, y))
    if mirror:
        edits.append(Mirror())
    return edits


def _requests(
    moves: Sequence[Edit], paste: str, strengths: Sequence[str], units: str, trying: Trying
) -> list[EditRequest]:
    """Edits in the order they are made: moves and copies together, then each neuron's strength."""
    edits, source = list(moves), None
    if paste:
        copied, source = paste_of(paste)
        edits.append(copied)
    wanted = [EditRequest(tuple(edits), choice_of(units), trying, source)] if edits else []
    for text in strengths:
        changed, scaled = strength_of(text)
        wanted.append(EditRequest((scaled,), UnitChoice("units", units=(changed,)), trying))
    return wanted


def choice_of(text: str) -> UnitChoice:
    """Read `--units`.

    Raises:
        BadRequestError: it is neither usual, active@x,y nor units.
    """
    if text == "usual":
        return UnitChoice()
    if text.startswith("active@"):
        x, y = numbers_of(text.removeprefix("active@"), 2, "--units", "active@0.5,0.4")
        return UnitChoice("active", x=x, y=y)
    return UnitChoice("units", units=tuple(Unit.parse(part) for part in text.split(",")))


def paste_of(text: str) -> tuple[Paste, int | None]:
    """Read `--paste SEED:x0,y0,x1,y1>x,y`.

    Raises:
        BadRequestError: it is not of that form.
    """
    seed, colon, rest = text.partition(":")
    box, arrow, place = rest.partition(">")
    if not colon or not arrow or not (seed == "" or seed.isdigit()):
        raise BadRequestError(f"--paste is '{text}'.", "Write SEED:0.2,0.2,0.6,0.6>0.3,0.2")
    x0, y0, x1, y1 = numbers_of(box, 4, "--paste", "7:0.2,0.2,0.6,0.6>0.3,0.2")
    corners = 4 if place.count(",") == 3 else 2  # a whole box is as good as its first corner
    x, y = numbers_of(place, corners, "--paste", "7:0.2,0.2,0.6,0.6>0.3,0.2")[:2]
    return Paste(Region.box(x0, y0, x1, y1), x, y), int(seed) if seed else None


def strength_of(text: str) -> tuple[Unit, Scale]:
    """Read `--unit UNIT*factor[@x0,y0,x1,y1]`.

    Raises:
        BadRequestError: it is not of that form.
    """
    name, star, rest = text.partition("*")
    factor, at, box = rest.partition("@")
    if not star:
        raise BadRequestError(f"--unit is '{text}'.", "Write dcgan-digiface/main.8:17*0")
    (value,) = numbers_of(factor, 1, "--unit", "dcgan-digiface/main.8:17*2@0.2,0.2,0.6,0.6")
    region = None
    if at:
        x0, y0, x1, y1 = numbers_of(box, 4, "--unit", "dcgan-digiface/main.8:17*2@0,0,0.5,0.5")
        region = Region.box(x0, y0, x1, y1)
    return Unit.parse(name), Scale(value, region)


def _about(text: str, option: str, example: str) -> tuple[float, tuple[float, float]]:
    amount, at, place = text.partition("@")
    (value,) = numbers_of(amount, 1, option, example)
    x, y = numbers_of(place, 2, option, example) if at else (0.5, 0.5)
    return value, (x, y)


def numbers_of(text: str, count: int, option: str, example: str) -> list[float]:
    """Numbers with commas between.

    Raises:
        BadRequestError: there are not as many, or one is no number.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise BadRequestError(f"{option} is '{text}'.", f"Write {option} {example}") from error
    if len(values) != count or not all(abs(v) < float("inf") for v in values):
        raise BadRequestError(f"{option} is '{text}'.", f"Write {option} {example}")
    return values
