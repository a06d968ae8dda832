"""Cards made from a name: any architecture of timm, and networks with random weights.

    convnext_tiny.fb_in22k     that architecture with those weights
    convnext_tiny              that architecture with timm's default weights
    convnext_tiny.random7      random weights from seed 7 (no number: seed 0)
    dino_vitb16.random         the same for a model that has a card

Importing this module imports neither timm nor torch; only a name that no card has does.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rosetta_ui.errors import UnknownModelError
from rosetta_ui.models.registry import FAMILIES
from rosetta_ui.types import ModelCard, WeightSource

_TIMM_NAME = re.compile(r"^[a-z][a-z0-9_]*(\.[A-Za-z0-9_]+)?$")
_RANDOM = re.compile(r"^(?P<base>.+)\.random(?P<seed>\d{0,9})$")
_LOADER = FAMILIES["timm"].load

_OPEN = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0")
_NON_COMMERCIAL = ("cc-by-nc-4.0", "fair-noncommercial-research-license", "seer-license")
_UNKNOWN = ("", "unknown")


def card_by_rule(name: str, known: Callable[[str], ModelCard | None]) -> ModelCard | None:
    """The card that a name describes, or None where it describes none.

    Args:
        name: see this module.
        known: gives the card of a name that has one.

    Raises:
        NotSpatialError: timm has it, but none of its layers is a map over positions.
    """
    random = _RANDOM.match(name)
    if random is None:
        return card_for_timm(name) if may_be_timm(name) else None
    base = known(random["base"])
    if base is None and may_be_timm(random["base"]):
        base = card_for_timm(random["base"])
    if base is None or FAMILIES[base.family].load != _LOADER:
        return None
    return random_card(base, name, int(random["seed"] or 0))


def may_be_timm(name: str) -> bool:
    """Whether a name is spelled like timm's; costs nothing."""
    return _TIMM_NAME.match(name) is not None


def card_for_timm(name: str) -> ModelCard | None:
    """The card of a timm model by its own name, from what timm knows about it.

    Args:
        name: architecture, or architecture.weights.

    Returns:
        None where timm has no such architecture or no such weights.

    Raises:
        NotSpatialError: none of its layers is a map over positions.
    """
    facts = timm_facts(name)
    if facts is None:
        return None
    architecture, tag = str(facts.architecture), str(facts.tag or "")
    # timm's default weights may change between versions; the card names them.
    full = f"{architecture}.{tag}" if tag else architecture
    licence = str(facts.license or "")
    card = ModelCard(
        name=name,
        role="backbone",
        family="timm",
        title=f"{architecture} ({tag})" if tag else architecture,
        about=str(facts.description or "")
        or f"timm's architecture {architecture}"
        + (f" with the weights '{tag}'." if tag else ", for which timm has no weights."),
        licence="not stated" if licence in _UNKNOWN else licence,
        terms=_terms(licence),
        paper=_paper(facts),
        source=_source(facts),
        image_size=(int(facts.input_size[1]), int(facts.input_size[2])),
        mean=_three(facts.mean),
        std=_three(facts.std),
        interpolation=str(facts.interpolation),
        verified=False,
        options={"model": full},
    )
    from rosetta_ui.models.timm_backbones import layers_of

    return replace(card, units=sum(layer.channels for layer in layers_of(card)))


def random_card(card: ModelCard, name: str, seed: int) -> ModelCard:
    """A model's card with random weights in place of trained ones.

    Args:
        card: of a family that `timm_backbones` loads.
        name: of the new card.
        seed: of the weights.
    """
    return replace(
        card,
        name=name,
        title=f"{card.title}, random weights (seed {seed})",
        about=f"The architecture of '{card.name}', untrained: what it shares with a generator "
        "comes from architecture and images alone.",
        licence="none (random numbers)",
        terms="Free to use.",
        source=None,
        embedded=False,
        options={**card.options, "random_seed": seed},
    )


def timm_facts(name: str) -> Any:
    """What timm knows about a model's weights and input (its PretrainedCfg).

    Returns:
        None where timm has no such architecture or no such weights.
    """
    from timm.models import get_pretrained_cfg, is_model

    architecture, _, tag = name.partition(".")
    if not is_model(architecture):
        return None
    try:
        facts = get_pretrained_cfg(name if tag else architecture)
    except RuntimeError as error:
        if "tag" not in str(error):
            raise
        return None
    return facts


def nearest_names(name: str) -> list[str]:
    """Up to three of timm's names like one that nobody has; none if it is not spelled like one."""
    if not may_be_timm(name):
        return []
    from timm.models import list_models, list_pretrained

    return difflib.get_close_matches(name, [*list_models(), *list_pretrained()], n=3)


def unknown_timm(name: str) -> UnknownModelError:
    """The error for an architecture or weights that timm does not have."""
    return UnknownModelError(name, nearest_names(name), "timm model")


def _source(facts: Any) -> WeightSource:
    if facts.hf_hub_id:
        return WeightSource(
            kind="timm",
            filename=facts.hf_hub_filename or "model.safetensors",
            origin=f"https://huggingface.co/{facts.hf_hub_id}",
        )
    if facts.url:
        address = str(facts.url)
        return WeightSource(kind="timm", filename=address.rpartition("/")[2], origin=address)
    return WeightSource(kind="file", filename=f"{facts.architecture}.safetensors")


def _terms(licence: str) -> str:
    if licence in _OPEN:
        return "Free to use, also commercially, with attribution."
    if licence in _NON_COMMERCIAL:
        return "Non-commercial use only."
    if licence in _UNKNOWN:
        return "Its publisher states no licence; ask before use."
    return "Under its publisher's own licence; read it before use."


def _paper(facts: Any) -> str:
    ids = facts.paper_ids or ()
    listed = [ids] if isinstance(ids, str) else [str(one) for one in ids]
    return ", ".join(part for part in (str(facts.paper_name or ""), *listed) if part)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
