"""Cards of models that a person adds from a file. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rosetta_ui.models.cards_published_generators import PUBLISHED_GENERATORS
from rosetta_ui.models.foreign import corrected_card
from rosetta_ui.types import ModelCard

UNKNOWN_LICENCE = "unknown: see where the file came from"
UNKNOWN_TERMS = "Look the licence up where the file came from before you use it."

FAMILY_TITLES = {
    "stylegan2": "StyleGAN2",
    "stylegan3": "StyleGAN3",
    "styleganxl": "StyleGAN-XL",
    "biggan": "BigGAN-deep",
    "fastgan": "FastGAN",
}


def new_generator(name: str, family: str, facts: Mapping[str, Any]) -> ModelCard:
    """The card of a generator that nobody has described.

    Args:
        name: of the model.
        family: what its file's entries say.
        facts: of `convert_state`.

    Sampling and default ψ are those of the family's published generators.
    """
    like = next(card for card in PUBLISHED_GENERATORS if card.family == family)
    card = replace(
        like,
        name=name,
        about=f"A {FAMILY_TITLES[family]} generator from a file that a person added.",
        licence=UNKNOWN_LICENCE,
        terms=UNKNOWN_TERMS,
        source=None,
        verified=False,
        options={},
    )
    height, width = (shaped := _shaped(card, facts)).image_size
    size = f"{width} px" if height == width else f"{width} × {height} px"
    return replace(shaped, title=f"{name} ({FAMILY_TITLES[family]}, {size})")


def shaped_generator(card: ModelCard, family: str, facts: Mapping[str, Any]) -> ModelCard:
    """A published generator's card with the shape of the file that was added.

    Args:
        card: of the catalogue.
        family: of the file; Projected GAN's may be a StyleGAN2.
        facts: of `convert_state`.
    """
    shaped = _shaped(replace(card, family=family), facts)
    if shaped.image_size == card.image_size:
        return shaped
    (old, _), (height, width) = card.image_size, shaped.image_size
    return replace(
        shaped,
        title=re.sub(rf"\b{old} px\b", f"{width} px", card.title),
        about=re.sub(rf"\b{old} × {old}\b", f"{width} × {height}", card.about),
    )


def _shaped(card: ModelCard, facts: Mapping[str, Any]) -> ModelCard:
    # The facts lie beside the weights and are merged into the options on loading.
    return replace(corrected_card(card, facts), options=card.options)


def new_backbone(name: str, like: ModelCard) -> ModelCard:
    """The card of a backbone whose architecture is known.

    Args:
        name: of the model.
        like: of a backbone that timm builds.
    """
    architecture = like.options["model"]
    return replace(
        like,
        name=name,
        family="timm",
        title=f"{name} ({architecture})",
        about=f"The architecture {architecture} with weights from a file that a person added.",
        licence=UNKNOWN_LICENCE,
        terms=UNKNOWN_TERMS,
        source=None,
        embedded=False,
        verified=False,
        options={key: value for key, value in like.options.items() if key != "random_seed"},
    )


def without_classifier(card: ModelCard, classifier: tuple[str, ...]) -> ModelCard:
    """The card of the same backbone without its classifier, which holds no units.

    Args:
        card: of a backbone that timm builds.
        classifier: paths of its classifiers; their entries in a file are left out.
    """
    options = dict(card.options)
    options["create"] = {**options.get("create", {}), "num_classes": 0}
    options["ignore"] = (*options.get("ignore", ()), *(f"{path}." for path in classifier))
    return replace(
        card, about=f"{card.about} Its classifier is left out: it has no units.", options=options
    )
