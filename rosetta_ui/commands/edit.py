"""`python -m rosetta_ui edit`: the page's edits without the page.

Exposes `mount(app)`. Progress goes to standard error, the picture and its recipe to files, the two
numbers to standard output.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from rosetta_ui.editing.recipe import trying_of
from rosetta_ui.edits import (
    Blend,
    Edit,
    EditFrame,
    EditNumbers,
    EditRequest,
    Film,
    Frontier,
    Mirror,
    Paste,
    PictureState,
    Region,
    Rotate,
    Scale,
    Shift,
    Trying,
    UnitChoice,
    Zoom,
)
from rosetta_ui.engine.editing_files import read_recipe, read_source, write_file, write_picture
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
        str,
        Text(
            help="FILE or SEED:x0,y0,x1,y1>x,y: copies a box of that picture (a kept recipe or its "
            "PNG); nothing before the colon copies within the picture."
        ),
    ] = "",
    blend: Annotated[
        str, Text(help="FILE or SEED@share: go that share of the way to another picture.")
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
    small_steps: Annotated[
        int | None, Text(help="Walk there in so many parts.", show_default="1")
    ] = None,
    coarse_first: Annotated[
        bool | None,
        Text(
            "--coarse-first/--all-at-once",
            help="In w+, early layers move first.",
            show_default="measured",
        ),
    ] = None,
    colours: Annotated[
        float | None,
        Text(help="Weight of the picture's own colours, moved too.", show_default="measured"),
    ] = None,
    early: Annotated[
        bool | None,
        Text(
            "--early/--latent-only",
            help="Move the maps of early layers, or only the latent.",
            show_default="measured",
        ),
    ] = None,
    space: Annotated[
        str | None, Text(help="Of the latent that moves: z, w or w+.", show_default="measured")
    ] = None,
    strengths: Annotated[
        bool, Text(help="Try several strengths, keep the strongest that stays natural.")
    ] = False,
    film: Annotated[
        Path | None,
        Text(help="Also write a film from state to state: .webp or .gif.", show_default=False),
    ] = None,
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
    kind = "" if film is None else _film_kind(film)  # before anything takes time
    flags = {"device": device, "cache_dir": cache_dir, "models_file": models}
    with Engine(Settings.read(flags)) as engine:
        if recipe is not None:
            state = read_recipe(recipe)
            last = _run(engine.editing.replay(state))
            if last.note:
                typer.echo(last.note)
            _write(engine, last, out, ())
            _film(engine, [replace(state, latents=state.start, steps=()), _state(last)], film, kind)
            return
        moves = _moves(shift, zoom, rotate, mirror)
        given = {"steps": steps, "restarts": restarts, "pull": pull, "stages": small_steps}
        given |= {"coarse_first": coarse_first, "colours": colours, "space": space, "early": early}
        trying = trying_of(given)
        wanted = [
            *_requests(moves, paste, unit or [], units, trying),
            *([blend_of(blend)] if blend else []),
        ]
        if not wanted:
            raise BadRequestError(
                "No edit was asked for.",
                "Give --shift, --zoom, --rotate, --mirror, --paste, --blend or --unit.",
            )
        state, _ = engine.editing.start_picture(generator, seed, class_index)
        states = [state]
        known: list[EditNumbers | None] = []
        for request in wanted:
            if strengths and not any(isinstance(e, Blend) for e in request.edits):
                last, numbers = _strongest(engine, states[-1], request)
            else:
                last = _run(engine.editing.edit(states[-1], request))
                numbers = engine.editing.numbers(states[-1], _state(last)) if judge else None
            states.append(_state(last))
            known.append(numbers)
            _write(engine, last, out, known)
            if numbers is not None:
                _tell(numbers)
        _film(engine, states, film, kind)


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


def _state(frame: EditFrame) -> PictureState:
    if frame.state is None:
        raise ValueError("the last frame has a state")
    return frame.state


def _write(
    engine: Engine, frame: EditFrame, out: Path, numbers: Sequence[EditNumbers | None]
) -> None:
    if frame.picture is None:
        raise ValueError("the last frame has a picture")
    write_picture(out, frame.picture, engine.editing.recipe(_state(frame), numbers))
    typer.echo(f"{out} and {out.with_suffix('.json')}")


def _strongest(
    engine: Engine, state: PictureState, request: EditRequest
) -> tuple[EditFrame, EditNumbers]:
    """The strongest of several strengths that stays natural; says what each gave."""
    found: Frontier | None = None
    for value in engine.editing.frontier(state, request):
        found = value if isinstance(value, Frontier) else None
    if found is None:
        raise ValueError("the last value is the frontier")
    for number, point in enumerate(found.points):
        mark = "*" if number == found.natural else " "
        typer.echo(
            f"{mark} {100 * point.rung.share:3.0f} %, pull {point.rung.pull:g}: fidelity "
            f"{point.numbers.fidelity_after:.3f}, realism percentile "
            f"{point.numbers.realism_percentile:.1f}"
        )
    if found.natural < 0:
        raise BadRequestError(
            f"No strength of '{found.label}' stays natural.", "Ask for a smaller change."
        )
    point = found.points[found.natural]
    return EditFrame(1, 1, 0.0, point.picture, state=point.state), point.numbers


def _film_kind(path: Path) -> str:
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("webp", "gif"):
        raise BadRequestError(f"'{path.name}' is no name of a film.", "End it in .webp or .gif.")
    return kind


def _film(engine: Engine, states: Sequence[PictureState], path: Path | None, kind: str) -> None:
    if path is None:
        return
    found: Film | None = None
    for value in engine.editing.film(states, kind):
        found = value if isinstance(value, Film) else None
    if found is None:
        raise ValueError("the last value is the film")
    write_file(path, found.data)
    typer.echo(f"{path}, {found.frames} pictures")


def _tell(numbers: EditNumbers) -> None:
    if not math.isnan(numbers.fidelity_after):
        typer.echo(
            f"fidelity {numbers.fidelity_before:.3f} before, {numbers.fidelity_after:.3f} after "
            f"(cosine of {numbers.judge})"
        )
    far = numbers.realism_percentile > 95
    if not math.isnan(numbers.partner_corr):
        typer.echo(f"partner correlation {numbers.partner_corr:.3f} (held-out neurons)")
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
    edits, source = list(moves), ""
    if paste:
        copied, source = paste_of(paste)
        edits.append(copied)
    wanted = [_from(source, tuple(edits), choice_of(units), trying)] if edits else []
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


def paste_of(text: str) -> tuple[Paste, str]:
    """Read `--paste SOURCE:x0,y0,x1,y1>x,y`: the copy and its source, a seed, a file or nothing.

    Raises:
        BadRequestError: it is not of that form.
    """
    source, colon, rest = text.rpartition(":")
    box, arrow, place = rest.partition(">")
    if not colon or not arrow:
        raise BadRequestError(f"--paste is '{text}'.", "Write SEED:0.2,0.2,0.6,0.6>0.3,0.2")
    x0, y0, x1, y1 = numbers_of(box, 4, "--paste", "7:0.2,0.2,0.6,0.6>0.3,0.2")
    corners = 4 if place.count(",") == 3 else 2  # a whole box is as good as its first corner
    x, y = numbers_of(place, corners, "--paste", "7:0.2,0.2,0.6,0.6>0.3,0.2")[:2]
    return Paste(Region.box(x0, y0, x1, y1), x, y), source


def blend_of(text: str) -> EditRequest:
    """Read `--blend SOURCE@share`.

    Raises:
        BadRequestError: it is not of that form.
    """
    source, at, share = text.rpartition("@")
    if not at or not source:
        raise BadRequestError(f"--blend is '{text}'.", "Write SEED@0.5")
    (value,) = numbers_of(share, 1, "--blend", "7@0.5")
    return _from(source, (Blend(value),), UnitChoice(), None)


def _from(
    source: str, edits: tuple[Edit, ...], choice: UnitChoice, trying: Trying | None
) -> EditRequest:
    """A request whose other picture is a seed, a file or the picture itself."""
    if source.isdigit() or not source:
        return EditRequest(edits, choice, trying, int(source) if source else None)
    return EditRequest(edits, choice, trying, source=read_source(Path(source)))


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
