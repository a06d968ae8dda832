"""Recipes: a picture's history as JSON that a person keeps, and back. Imports no torch.

A recipe holds both how a picture was made (seed, edits, units, settings) and the latents at its
ends, so that it can be replayed on the same machine and shown as it was on any other.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, get_args

import numpy as np

from rosetta_ui.affine import STILL, Affine, area
from rosetta_ui.edits import (
    Blend,
    Edit,
    EditNumbers,
    EditRequest,
    EditSettings,
    EditStep,
    Mirror,
    Paste,
    PictureState,
    Region,
    Rotate,
    Rung,
    Scale,
    Shift,
    Trying,
    UnitChoice,
    Zoom,
)
from rosetta_ui.errors import BadRequestError
from rosetta_ui.types import Latents, Space, Unit

SCHEMA = 2
READ = (1, SCHEMA)
"""Versions that are read; those of 1 move no early maps."""

MOST_STEPS = 1000
MOST_RUNGS = 16
MOST_NATURAL = 8192
MOST_MOVED = 1000.0
"""Largest entry of a move, and what share of the picture it must show at least; an edit stops far
before (`targets.MOST_ENLARGED`)."""

MOST_VALUES = 1 << 20
"""Entries that a latent in a foreign recipe may have; the largest known w+ has 12 thousand."""

_KINDS: dict[str, type[Edit]] = {
    "shift": Shift,
    "zoom": Zoom,
    "rotate": Rotate,
    "mirror": Mirror,
    "scale": Scale,
    "paste": Paste,
    "blend": Blend,
}


def edit_json(edit: Edit) -> dict[str, Any]:
    """One edit as JSON values: its kind and its numbers."""
    kind = next(name for name, made in _KINDS.items() if isinstance(edit, made))
    values = {k: v for k, v in asdict(edit).items() if k != "region"}
    region = getattr(edit, "region", None)
    if region is not None:
        values["region"] = [list(corner) for corner in region.corners]
    return {"kind": kind, **values}


def edit_of(data: object) -> Edit:
    """Read `edit_json`'s output, or what a page asks for.

    Raises:
        BadRequestError: there is no such edit, or a number is missing or not finite.
    """
    if not isinstance(data, Mapping) or data.get("kind") not in _KINDS:
        raise _wrong("an edit", f"one of {', '.join(_KINDS)}")
    kind = _KINDS[str(data["kind"])]
    values: dict[str, Any] = {}
    for name, value in data.items():
        if name == "region":
            values[name] = None if value is None else region_of(value)
        elif name != "kind":
            values[str(name)] = _number(value)
    try:
        return kind(**values)
    except TypeError as error:
        raise BadRequestError(f"The edit '{data['kind']}' is incomplete: {error}.") from error


def request_of(data: object) -> EditRequest:
    """Read what a page asks for: edits, choice of units, settings, source_seed, source_recipe.

    Raises:
        BadRequestError: a part is missing or malformed.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("edits"), list):
        raise _wrong("the request", "a list of edits")
    seed, settings = data.get("source_seed"), data.get("settings")
    source = data.get("source_recipe")
    return EditRequest(
        tuple(edit_of(edit) for edit in data["edits"][:16]),
        choice_of(data.get("choice") or {}),
        trying_of(settings) if isinstance(settings, Mapping) else None,
        None if seed is None else _whole(seed),
        None if source is None else recipe_state(source),
    )


def choice_of(data: object) -> UnitChoice:
    """Read a choice of units.

    Raises:
        BadRequestError: there is no such kind, or a unit is misspelled.
    """
    kinds = ("usual", "matched", "concept", "units", "active")
    if not isinstance(data, Mapping) or data.get("kind", "usual") not in kinds:
        raise _wrong("the choice of neurons", f"one of {', '.join(kinds)}")
    units, result = data.get("units") or [], data.get("result") or ""
    if not isinstance(units, list) or len(units) > 100_000 or not isinstance(result, str):
        raise _wrong("the choice of neurons", "a list of units")
    return UnitChoice(
        data.get("kind", "usual"),
        result,
        _whole(data.get("concept", -1)),
        tuple(Unit.parse(str(unit)) for unit in units),
        _number(data.get("x", 0.5)),
        _number(data.get("y", 0.5)),
    )


def trying_of(data: Mapping[Any, Any]) -> Trying:
    """Read how hard to try; what is missing is left to the generator's own."""
    whole: dict[str, Any] = {
        k: _whole(data[k]) for k in ("steps", "restarts", "stages") if data.get(k) is not None
    }
    pull, colours = (data.get(name) for name in ("pull", "colours"))
    coarse, space, early = (data.get(name) for name in ("coarse_first", "space", "early"))
    if space is not None and space not in get_args(Space):
        raise _wrong(f"{space!r}", f"a space out of {', '.join(get_args(Space))}")
    return Trying(
        **whole,
        pull=None if pull is None else _number(pull),
        coarse_first=None if coarse is None else _flag(coarse),
        colours=None if colours is None else _number(colours),
        space=space,
        early=None if early is None else _flag(early),
    )


def region_of(data: object) -> Region:
    """Read a list of corners.

    Raises:
        BadRequestError: it is no list of 3 to 2,000 pairs of finite numbers.
    """
    if not isinstance(data, Sequence) or isinstance(data, str) or not 3 <= len(data) <= 2000:
        raise BadRequestError("A region needs 3 to 2,000 corners.", "Draw it again.")
    corners: list[tuple[float, float]] = []
    for corner in data:
        if not isinstance(corner, Sequence) or isinstance(corner, str) or len(corner) != 2:
            raise BadRequestError("A corner of a region is not a pair of numbers.")
        corners.append((_number(corner[0]), _number(corner[1])))
    return Region(tuple(corners))


def units_json(units: Sequence[Unit]) -> dict[str, list[int]]:
    """Units of one model, by layer."""
    grouped: dict[str, list[int]] = {}
    for unit in units:
        grouped.setdefault(unit.layer, []).append(unit.channel)
    return grouped


def recipe_json(state: PictureState, numbers: Sequence[EditNumbers | None] = ()) -> dict[str, Any]:
    """A picture and its history as JSON values; `recipe_state` reads them back.

    Args:
        state: the picture.
        numbers: of its edits, oldest first, as far as they are known; `recipe_numbers` reads them.
    """
    found = [None if each is None else _numbers_json(each) for each in numbers]
    return {"schema": SCHEMA, "kind": "rosetta-edit", **_state_json(state), "numbers": found}


def recipe_numbers(data: Mapping[str, Any]) -> EditNumbers | None:
    """The numbers of a recipe's last edit, where it has them.

    Raises:
        BadRequestError: they are damaged.
    """
    kept, steps = data.get("numbers"), data.get("steps")
    if not isinstance(kept, list) or not isinstance(steps, list) or len(kept) != len(steps):
        return None
    if not kept or not isinstance(kept[-1], Mapping):
        return None
    names = [f.name for f in fields(EditNumbers) if f.name != "judge"]
    values = {
        name: math.nan if kept[-1].get(name) is None else _number(kept[-1][name]) for name in names
    }
    return EditNumbers(**values, judge=str(kept[-1].get("judge", ""))[:80])


def _numbers_json(numbers: EditNumbers) -> dict[str, Any]:
    """JSON has no NaN: what is not known is null."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(numbers).items()
    }


def recipe_state(data: object) -> PictureState:
    """Read a recipe.

    Raises:
        BadRequestError: it is none, of another version, or damaged.
    """
    if not isinstance(data, Mapping) or data.get("kind") != "rosetta-edit":
        raise BadRequestError("This file is no recipe of an edit.", "Choose a downloaded recipe.")
    if data.get("schema") not in READ:
        raise BadRequestError(
            f"This recipe has version {data.get('schema')!r}, but version {SCHEMA} is read here."
        )
    return _state_of(data, depth=0)


def _state_json(state: PictureState) -> dict[str, Any]:
    return {
        "generator": state.generator,
        "seed": state.seed,
        "psi": state.psi,
        "class": state.class_index,
        "start": _latents_json(state.start),
        "latents": _latents_json(state.latents),
        "steps": [
            {
                "edits": [edit_json(edit) for edit in step.edits],
                "units": units_json(step.units),
                "settings": asdict(step.settings),
                "source": None if step.source is None else _state_json(step.source),
                "ladder": [[rung.share, rung.pull] for rung in step.ladder],
                "rung": step.rung,
            }
            for step in state.steps
        ],
    }


def _state_of(data: Mapping[Any, Any], depth: int) -> PictureState:
    if depth > 4:
        raise BadRequestError("This recipe copies from copies of copies.", "Use fewer of them.")
    steps, generator = data.get("steps"), data.get("generator")
    if not isinstance(steps, list) or len(steps) > MOST_STEPS or not isinstance(generator, str):
        raise _wrong("the list of steps or the generator", "those of a downloaded recipe")
    psi, class_index = _number(data.get("psi")), data.get("class")
    index = None if class_index is None else _whole(class_index)
    return PictureState(
        generator,
        _whole(data.get("seed")),
        psi,
        index,
        _latents_of(data.get("start"), index, psi),
        _latents_of(data.get("latents"), index, psi),
        tuple(_step_of(step, generator, depth) for step in steps),
    )


def _step_of(data: object, generator: str, depth: int) -> EditStep:
    if not isinstance(data, Mapping):
        raise _wrong("a step", "an object")
    edits, units, source = data.get("edits"), data.get("units"), data.get("source")
    ladder, rung = _ladder_of(data.get("ladder") or []), _whole(data.get("rung", 0))
    if ladder and not 0 <= rung < len(ladder):
        raise _wrong("the rung", f"a number from 0 to {len(ladder) - 1}")
    if not isinstance(edits, list) or not isinstance(units, Mapping):
        raise _wrong("a step", "edits and units")
    return EditStep(
        tuple(edit_of(edit) for edit in edits),
        tuple(
            Unit(generator, str(layer), _whole(channel))
            for layer, channels in units.items()
            for channel in (channels if isinstance(channels, list) else [])
        ),
        settings_of(data.get("settings")),
        _state_of(source, depth + 1) if isinstance(source, Mapping) else None,
        ladder,
        rung,
    )


def _ladder_of(data: object) -> tuple[Rung, ...]:
    if not isinstance(data, list) or len(data) > MOST_RUNGS:
        raise _wrong("the ladder", f"a list of up to {MOST_RUNGS} strengths")
    rungs: list[Rung] = []
    for each in data:
        if not isinstance(each, list) or len(each) != 2:
            raise _wrong("a rung of the ladder", "a share and a pull")
        rungs.append(Rung(_number(each[0]), _number(each[1])))
    return tuple(rungs)


def settings_of(data: object) -> EditSettings:
    """Read settings from JSON values.

    Raises:
        BadRequestError: a value is missing or out of range.
    """
    if not isinstance(data, Mapping) or data.get("space") not in get_args(Space):
        raise _wrong("the settings", f"a space out of {', '.join(get_args(Space))}")
    steps, restarts = _whole(data.get("steps")), _whole(data.get("restarts", 1))
    rate, pull = _number(data.get("learning_rate")), _number(data.get("pull", 0))
    more: dict[str, Any] = {k: _whole(data[k]) for k in ("natural", "stages") if k in data}
    more["patience"] = _whole(data.get("patience", 30))
    more |= {name: _number(data.get(name, 0)) for name in ("band", "colours", "keep")}
    more |= {name: _flag(data.get(name, False)) for name in ("coarse_first", "early")}
    return checked_settings(EditSettings(data["space"], steps, rate, restarts, pull, **more))


def checked_settings(settings: EditSettings) -> EditSettings:
    """The settings, if they can be used.

    Raises:
        BadRequestError: a value is out of range.
    """
    steps, restarts = settings.steps, settings.restarts
    rate, pull = settings.learning_rate, settings.pull
    if not (1 <= steps <= 5000 and 1 <= restarts <= 16 and 0 < rate <= 10 and 0 <= pull <= 1000):
        raise BadRequestError(
            f"{steps} steps, {restarts} restarts, rate {rate:g} and pull {pull:g} do not work.",
            "Give 1 to 5000 steps, 1 to 16 restarts, a rate up to 10 and a pull up to 1000.",
        )
    for name, weight in (("colours", settings.colours), ("other units", settings.keep)):
        if not 0 <= weight <= 1000:
            raise BadRequestError(
                f"A weight of {weight:g} for the {name} does not work.", "Give one from 0 to 1000."
            )
    natural, stages, band = settings.natural, settings.stages, settings.band
    if not (0 <= natural <= MOST_NATURAL and 1 <= stages <= 100 and 0 <= band <= 10):
        raise BadRequestError(
            f"{natural} natural starts, {stages} small steps and a band of {band:g} do not work.",
            f"Give 0 to {MOST_NATURAL} natural starts, 1 to 100 small steps, a band up to 10.",
        )
    return settings


def _latents_json(latents: Latents) -> dict[str, Any]:
    values = np.ascontiguousarray(latents.values, "<f4")
    return {
        "space": latents.space,
        "shape": list(values.shape),
        "values": base64.b64encode(values.tobytes()).decode("ascii"),
        "moved": [list(row) for row in latents.moved],
    }


def _latents_of(data: object, class_index: int | None, psi: float) -> Latents:
    if not isinstance(data, Mapping) or data.get("space") not in get_args(Space):
        raise _wrong("a latent", "a space, a shape and values")
    shape = tuple(_whole(side) for side in data.get("shape") or ())
    size = math.prod(shape)
    if len(shape) not in (2, 3) or not 0 < size <= MOST_VALUES or shape[0] != 1:
        raise _wrong("a latent", "one sample")
    try:
        content = base64.b64decode(str(data.get("values")), validate=True)
    except binascii.Error as error:
        raise BadRequestError("A latent in the recipe is not base64.") from error
    if len(content) != 4 * size:
        raise BadRequestError(
            f"A latent in the recipe has {len(content)} bytes, but its shape asks for {4 * size}."
        )
    values = np.frombuffer(content, "<f4").reshape(shape).astype(np.float32)
    if not np.isfinite(values).all():
        raise BadRequestError("A latent in the recipe is not finite.")
    return Latents(data["space"], values, class_index, psi, _moved_of(data.get("moved")))


def _moved_of(data: object) -> Affine:
    if data is None:
        return STILL
    if not isinstance(data, list) or [len(r) if isinstance(r, list) else 0 for r in data] != [3, 3]:
        raise _wrong("the move of a latent's early maps", "two rows of three numbers")
    (a, b, c), (d, e, f) = ([_number(value) for value in row] for row in data)
    largest = max(abs(value) for value in (a, b, c, d, e, f))
    moved: Affine = (a, b, c), (d, e, f)
    if largest > MOST_MOVED or abs(area(moved)) < 1 / MOST_MOVED:
        raise _wrong("the move of a latent's early maps", "one that leaves a picture")
    return moved


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong(f"{value!r}", "a number")
    return float(value)


def _whole(value: object) -> int:
    number = _number(value)
    if number % 1 or abs(number) > 2**53:
        raise _wrong(f"{value!r}", "a whole number")
    return int(number)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(f"{value!r}", "true or false")
    return value


def _wrong(what: str, expected: str) -> BadRequestError:
    return BadRequestError(f"In what was given, {what} is not as expected.", f"Give {expected}.")
