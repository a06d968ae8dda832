"""Between the page and the engine's values of an inversion: JSON values in, JSON values out."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import BadRequestError
from rosetta_ui.inversions import (
    Crop,
    Guidance,
    GuidingNeuron,
    Inversion,
    InversionNumbers,
    InversionProgress,
    InversionSettings,
    LossPoint,
    Preset,
    ReadPicture,
    default_crop,
)
from rosetta_ui.tabs.present import Json, decimal_of, number, text_of, whole_of
from rosetta_ui.types import Framing
from rosetta_ui.widgets.factory import packed, picture_uri, png_uri

MOST_BYTES = 10_000_000
"""Of an upload; the page says so before it sends anything."""

SENT = 1536  # px of the longer side of a picture on its way to the page and back
LARGE = 768  # px of a picture that is looked at
EXACT = 256  # px up to which a picture is sent without loss
THUMB = 256
MOST_POINTS = 240  # of a loss: a screen shows no more
MOST_CLASSES = 12
FRAMINGS: tuple[Framing, ...] = ("centre", "portrait")


def picture_bytes(text: str) -> bytes:
    """The file that the page sent.

    Args:
        text: base64, alone or in a data address.

    Raises:
        BadRequestError: it is neither, or the file is too large.
    """
    head, comma, body = text.partition(",")
    encoded = body if comma and head.startswith("data:") else text
    if len(encoded) > 4 * (MOST_BYTES // 3 + 2):
        raise BadRequestError(
            "This file has more than 10 MB.", "Save the picture smaller, or as JPEG."
        )
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequestError("No picture arrived.", "Choose it again.") from error


def sent_json(read: ReadPicture, face: Crop | None = None) -> Json:
    """A picture for the page, with the square that is proposed for each framing.

    Args:
        read: the picture.
        face: where its face is, if that is known.
    """
    height, width = read.picture.shape[:2]
    crops = {name: default_crop(width, height, name) for name in FRAMINGS}
    if face is not None:
        crops["portrait"] = face
    small = max(height, width) <= EXACT
    return {
        "picture": png_uri(read.picture) if small else picture_uri(read.picture, SENT, 95),
        "width": width,
        "height": height,
        "notes": list(read.notes),
        "crops": {name: asdict(crop) for name, crop in crops.items()},
    }


def crop_of(asked: Mapping[str, Any]) -> Crop:
    """The square that the page asked for; the largest in the middle where it gave none.

    Raises:
        BadRequestError: it is malformed or lies outside the picture.
    """
    given = asked.get("crop")
    if given is None:
        return Crop()
    if not isinstance(given, Mapping):
        raise BadRequestError(f"'crop' is {given!r}.", "Give {x, y, side}.")
    return Crop(*(min(decimal_of(given, key), 1.0) for key in ("x", "y", "side")))


def guidance_of(asked: Mapping[str, Any], usual: Guidance) -> Guidance:
    """What guides: weights, backbones and result; what is not given is the usual.

    Raises:
        BadRequestError: a part is malformed.
    """
    weights = _mapping(asked, "weights")
    given = {
        key: decimal_of(weights, key)
        for key in ("neurons", "pixels", "perceptual")
        if weights.get(key) is not None
    }
    backbones = asked.get("backbones") or []
    if not isinstance(backbones, list) or not all(isinstance(name, str) for name in backbones):
        raise BadRequestError("'backbones' is no list of names.", "Tick some of them.")
    return replace(usual, **given, backbones=tuple(backbones), result=text_of(asked, "result"))


def settings_of(asked: Mapping[str, Any], usual: InversionSettings) -> InversionSettings:
    """How hard to try; what is not given is the usual.

    Raises:
        BadRequestError: a part is malformed or out of range.
    """
    wanted = _mapping(asked, "settings")
    given: dict[str, Any] = {}
    for key in ("steps", "restarts"):
        if wanted.get(key) is not None:
            given[key] = whole_of(wanted, key, 1)
    for key in ("learning_rate", "pull"):
        if wanted.get(key) is not None:
            given[key] = decimal_of(wanted, key)
    for key in ("space", "start"):
        if text_of(wanted, key):
            given[key] = text_of(wanted, key)
    for key in ("coarse_first", "polish", "plain"):
        if wanted.get(key) is not None:
            given[key] = bool(wanted[key])
    return replace(usual, **given)


def classes_of(text: str) -> tuple[int, ...]:
    """Class numbers in a text, separated by commas or spaces.

    Raises:
        BadRequestError: a part is no number, or there are too many.
    """
    parts = re.split(r"[\s,;]+", text.strip())
    if any(not part.isdecimal() for part in parts):
        raise BadRequestError(f"'{text[:60]}' is no list of classes.", "Write 207, or 207, 281.")
    found = tuple(dict.fromkeys(int(part) for part in parts))
    if len(found) > MOST_CLASSES:
        raise BadRequestError(
            f"{len(found)} classes are too many at once.", f"Give at most {MOST_CLASSES}."
        )
    return found


def preset_json(preset: Preset) -> Json:
    """One preset."""
    guidance = preset.guidance
    return {
        "name": preset.name,
        "title": preset.title,
        "about": preset.about,
        "weights": {
            "neurons": guidance.neurons,
            "pixels": guidance.pixels,
            "perceptual": guidance.perceptual,
        },
        "settings": asdict(preset.settings),
    }


def progress_json(now: InversionProgress, frame: int) -> Json:
    """A snapshot of an inversion.

    Args:
        now: the snapshot.
        frame: number of the newest picture that the page has.
    """
    fresh = now.picture is not None and now.frame > frame
    return {
        "ticket": now.ticket,
        "state": now.state,
        "step": now.step,
        "steps": now.steps,
        "left": number(now.left, 1),
        "place": now.place,
        "frame": now.frame,
        "picture": shown(now.picture) if fresh and now.picture is not None else None,
        "preview": now.preview,
        "points": _points(now.history),
        "seen": now.history_end,
        "which": now.which,
        "message": now.message,
        "hint": now.hint,
    }


def run_json(run: Inversion) -> Json:
    """One result as a card: small, and with its settings in words."""
    return {
        "which": run.which,
        "label": run.label,
        "generator": run.request.generator,
        "thumb": picture_uri(run.picture, THUMB),
        "words": settings_words(run),
        "numbers": None if run.numbers is None else numbers_json(run.numbers),
        "note": run.note,
        "steps": run.steps,
        "stopped": run.stopped,
    }


def whole_run_json(run: Inversion) -> Json:
    """One result with both pictures and its loss."""
    every = max(1, -(-len(run.history) // MOST_POINTS))
    history = run.history
    kept = [p for i, p in enumerate(history) if i % every == 0 or i == len(history) - 1]
    return {
        **run_json(run),
        "picture": shown(run.picture),
        "target": shown(run.request.picture),
        "points": _points(kept),
    }


def settings_words(run: Inversion) -> str:
    """What a result was made with, in a line."""
    guidance, settings = run.request.guidance, run.request.settings
    weights = (
        ("neurons", guidance.neurons),
        ("pixels", guidance.pixels),
        ("features", guidance.perceptual),
    )
    pulls = ", ".join(f"{name} {weight:g}" for name, weight in weights if weight)
    starts = "1 start" if settings.restarts == 1 else f"{settings.restarts} starts"
    ended = ", stopped" if run.stopped else ""
    return f"{pulls}; {settings.space}, {run.steps} steps{ended}, {starts}, {run.seconds:.1f} s"


def numbers_json(numbers: InversionNumbers) -> Json:
    """How like the target a result is."""
    return {
        "psnr": number(numbers.psnr, 2),
        "ssim": number(numbers.ssim),
        "perceptual": number(numbers.perceptual),
        "perceptual_name": numbers.perceptual_name,
        "realism": number(numbers.realism_percentile, 1),
        "lpips": number(numbers.lpips),
    }


def neurons_json(neurons: Sequence[GuidingNeuron]) -> Json:
    """The guiding neurons with their maps, and the backbones that any of them is matched with."""
    return {
        "backbones": list(dict.fromkeys(name for n in neurons for name in n.partners)),
        "neurons": [
            {
                "unit": str(neuron.unit),
                "own": _map(neuron.own),
                "partners": {
                    name: {
                        "unit": str(seen.unit),
                        "target": _map(seen.target),
                        "inversion": _map(seen.inversion),
                        "agreement": number(seen.agreement),
                        "repeated": number(seen.repeated),
                    }
                    for name, seen in neuron.partners.items()
                },
            }
            for neuron in neurons
        ],
    }


def shown(picture: NDArray[np.uint8]) -> str:
    """A picture that a person looks at, as a data address."""
    return png_uri(picture) if max(picture.shape) <= EXACT else picture_uri(picture, LARGE)


def _map(values: NDArray[np.uint8]) -> Json:
    return {"size": list(values.shape), "data": packed(values)}


def _points(history: Sequence[LossPoint]) -> list[Json]:
    return [
        {
            "step": point.step,
            "best": number(point.best, 6),
            "terms": {name: number(value, 6) for name, value in point.terms.items()},
        }
        for point in history
    ]


def _mapping(asked: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    given = asked.get(key)
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise BadRequestError(f"'{key}' is {given!r}, but an object was expected.")
    return given
