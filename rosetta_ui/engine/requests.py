"""A match request at the door: every value checked and filled in, and what its result is called.

Imports no torch; models are known by their cards only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.registry import Registry
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.store.keys import digest
from rosetta_ui.types import MOST_IMAGES, SCORES, MatchRequest, ModelCard

MOST_BATCH = 4_096
MOST_SEED = (1 << 63) - 1
MOST_PSI = 2.0

SCHEMA = 1
"""Raised with every change of the match that moves a score: earlier results are not found then."""

DEFAULT_GENERATOR = "dcgan-digiface"
"""The fast one: milliseconds an image on a CPU."""

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_DTYPES = ("float32", "float64")


def default_backbones(registry: Registry) -> tuple[str, ...]:
    """Every embedded backbone."""
    return tuple(card.name for card in registry.cards("backbone") if card.embedded)


def checked(request: MatchRequest, registry: Registry) -> MatchRequest:
    """A request with every default filled in, so that equal matches are equal requests.

    Without backbones it takes every embedded one; ψ and class come from the generator's card.

    Raises:
        BadRequestError: a value cannot be used; says which, and what is allowed.
        UnknownModelError: a model is not known.
    """
    _whole("number of images", request.n_images, 1, MOST_IMAGES)
    _whole("batch size", request.batch_size, 1, MOST_BATCH)
    _whole("seed", request.seed, 0, MOST_SEED)
    _choice("score", request.score, SCORES)
    _choice("number type", request.dtype, _DTYPES)
    backbones = tuple(request.backbones) or default_backbones(registry)
    for name in backbones:
        registry.card(name, "backbone")
    if twice := {name for name in backbones if backbones.count(name) > 1}:
        raise BadRequestError(f"Backbone '{min(twice)}' is named twice.", "Name each once.")
    if not backbones:
        raise BadRequestError("No backbone was chosen.", "Choose at least one.")
    request = replace(request, backbones=backbones)
    if request.photos:
        return _checked_photos(request)
    return _checked_generator(request, registry)


def _checked_generator(request: MatchRequest, registry: Registry) -> MatchRequest:
    if not request.generator:
        raise BadRequestError(
            "Neither a generator nor a folder of photos was chosen.", "Choose one of the two."
        )
    card = registry.card(request.generator, "generator")
    psi = card.psi if request.psi is None else float(request.psi)
    if not (math.isfinite(psi) and 0 < psi <= MOST_PSI):
        raise BadRequestError(f"ψ is {request.psi}.", f"Give a number above 0, up to {MOST_PSI:g}.")
    return replace(request, psi=psi, class_index=_class(card, request.class_index))


def _class(card: ModelCard, index: int | None) -> int | None:
    if card.n_classes == 0:
        if index is not None:
            raise BadRequestError(
                f"'{card.name}' has no classes, but class {index} was asked for.",
                "Leave the class out.",
            )
        return None
    if index is None:
        return 0
    _whole(f"class of '{card.name}'", index, 0, card.n_classes - 1)
    return index


def _checked_photos(request: MatchRequest) -> MatchRequest:
    if request.class_index is not None:
        raise BadRequestError(
            f"Photos have no classes, but class {request.class_index} was asked for.",
            "Leave the class out.",
        )
    if len(request.backbones) < 2:
        raise BadRequestError(
            "Photos are matched between two or more backbones, and one was chosen.",
            "Choose another backbone beside it.",
        )
    folder = Path(request.photos).expanduser().resolve()
    if not folder.is_dir():
        raise BadRequestError(f"There is no folder '{folder}'.", "Give a folder of pictures.")
    return replace(request, generator="", psi=None, photos=str(folder))


def _whole(what: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadRequestError(
            f"The {what} is {value!r}.", f"Give a whole number from {low} to {high:,}."
        )


def _choice(what: str, value: str, known: Iterable[str]) -> None:
    names = tuple(known)
    if value not in names:
        raise BadRequestError(f"There is no {what} '{value}'.", f"Choose {', '.join(names)}.")


def checked_device(device: str) -> str:
    """A device's name, if it is one; whether this machine has it shows once torch is loaded.

    Raises:
        BadRequestError: there is no such kind of device.
    """
    if not _DEVICE.fullmatch(device):
        raise BadRequestError(
            f"There is no device '{device}'.", "Choose auto, cpu, cuda, cuda:1 or mps."
        )
    return device


def job_id(request: MatchRequest) -> str:
    """The id of a request's job: the same request, the same id, also after a restart."""
    return f"match-{digest('job', _numbers(request))[:12]}"


def result_key(
    request: MatchRequest, registry: Registry, weights: WeightStore, photos: str = ""
) -> str:
    """The id of a request's result: a digest of everything that its numbers depend on.

    Args:
        request: checked.
        registry: has the cards.
        weights: has the digests; every model must be there.
        photos: digest of the pictures in visiting order.

    Raises:
        WeightsUnavailableError: a model's weights are not here yet.
    """
    inputs = {**_numbers(request), "code": SCHEMA, "photos": photos}
    names = [name for name in (request.generator, *request.backbones) if name]
    inputs["models"] = [model_key(registry.card(name), weights) for name in names]
    return digest("match", inputs)


def model_key(card: ModelCard, weights: WeightStore) -> dict[str, Any]:
    """What a model's maps depend on: its weights, and how its card says images are prepared."""
    return {
        "name": card.name,
        "weights": weights.digest(card),
        "image_size": card.image_size,
        "mean": card.mean,
        "std": card.std,
        "interpolation": card.interpolation,
        "latents": card.latent_distribution,
        "options": {name: repr(value) for name, value in sorted(card.options.items())},
    }


def _numbers(request: MatchRequest) -> dict[str, Any]:
    """A request without what does not move its numbers.

    pearson and centred are always both kept; batches matter to the published score only.
    """
    values = asdict(request)
    published = values.pop("score") == "published"
    if not published:
        del values["batch_size"]
    if not request.half:  # an addition of version 0.2, where earlier results stay as they were
        del values["half"]
    return {**values, "published": published}


def anchor_of(request: MatchRequest) -> str:
    """Name of the model whose units are matched with all others."""
    return request.generator or request.backbones[0]


def pairs_of(request: MatchRequest) -> tuple[tuple[str, str], ...]:
    """The tables of a request: anchor × each backbone, then backbone × backbone if asked for."""
    anchor = anchor_of(request)
    others = [name for name in request.backbones if name != anchor]
    pairs = [(anchor, name) for name in others]
    if request.backbone_pairs:
        pairs += [(a, b) for i, a in enumerate(others) for b in others[i + 1 :]]
    return tuple(pairs)
