"""What is inside a file that a person adds: a generator of a known family, or a backbone of timm's.

Read by `checkpoints`, so nothing inside runs. Knows no store and no addresses (`adding` does), and
names of files for sentences only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from rosetta_ui.errors import BadRequestError, WeightsCorruptError
from rosetta_ui.models import added_cards
from rosetta_ui.models.added_cards import FAMILY_TITLES
from rosetta_ui.models.checkpoints import read_config, read_content, read_generator
from rosetta_ui.models.foreign import ForeignGenerator, guess_family
from rosetta_ui.models.published_files import convert_foreign
from rosetta_ui.models.registry import FAMILIES, resolve
from rosetta_ui.models.stand_ins import PersistentModule
from rosetta_ui.models.timm_backbones import convert_state, layers_of
from rosetta_ui.models.timm_cards import timm_facts
from rosetta_ui.types import ModelCard

_ALSO = {"fastgan": ("stylegan2",)}
"""Families that a published name of one family may also have: Projected GAN came in two."""


@dataclass(frozen=True)
class Content:
    """What was read.

    Attributes:
        file: its name, for sentences.
        family: of the generator inside; empty for a backbone.
        generator: what the reader found of one.
        value: what a backbone's file holds.
    """

    file: str
    family: str = ""
    generator: ForeignGenerator | None = None
    value: Any = None


@dataclass(frozen=True)
class Converted:
    """A model that is ready to be kept.

    Attributes:
        card: without a source.
        tensors, facts: see `models.registry.Family`.
    """

    card: ModelCard
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def read(path: Path, base: ModelCard | None, name: str) -> Content:
    """Read a file as what its name stands for.

    Args:
        path: the file; its format is told by its content.
        base: the card that the name has already, None for a new generator.
        name: of the model.

    Raises:
        BadRequestError: it holds something else: which, and what was expected.
        UnsafeFileError: it asks for more than numbers.
        WeightsCorruptError: it is damaged.
    """
    if base is not None and base.role == "backbone":
        value = read_content(path)
        if generator := _generator_in(value):
            raise BadRequestError(
                f"'{name}' is a backbone, but '{path.name}' holds a {generator}.",
                "Add it under a name of its own.",
            )
        return Content(path.name, value=value)
    try:
        generator = read_generator(path)
        family = guess_family(generator.state)
    except BadRequestError as error:
        if base is not None:
            what = f"'{name}' is a generator"
            raise BadRequestError(f"{what}, but {_lower(error.message)}", error.hint) from error
        raise BadRequestError(
            error.message,
            f"{error.hint} If it is a backbone, name its architecture, such as "
            "--backbone resnet50.",
        ) from error
    if base is not None and family not in (base.family, *_ALSO.get(base.family, ())):
        raise BadRequestError(
            f"'{name}' is a {FAMILY_TITLES[base.family]} generator, but '{path.name}' holds a "
            f"{FAMILY_TITLES[family]}.",
            "Add it under a name of its own.",
        )
    return Content(path.name, family, generator)


def convert(
    content: Content, base: ModelCard | None, name: str, config: Path | None = None
) -> Converted:
    """Bring a file's content to our names, and check that the model can be built of it.

    Args:
        content: as `read` gives it.
        base: as `read` was given it.
        name: of the model.
        config: BigGAN's config.json.

    Raises:
        BadRequestError: the config is no JSON object, or is needed and missing.
        WeightsCorruptError: entries are missing or surplus; names them.
    """
    if content.generator is None:
        if base is None:
            raise ValueError("a backbone needs a card that names its architecture")
        return _backbone(content, base)
    generator = content.generator
    if config is not None:
        settings = {**generator.attributes, "": read_config(config)}
        generator = ForeignGenerator(generator.state, settings)
    family, tensors, facts = convert_foreign(generator)
    if family == "biggan" and config is None and not _doubles_as_published(facts):
        raise BadRequestError(
            f"'{content.file}' is a BigGAN of a shape of its own, and its config.json, which says "
            "where pictures double, is not beside it.",
            "Give it with --config.",
        )
    if base is None:
        card = added_cards.new_generator(name, family, facts)
    else:
        card = added_cards.shaped_generator(base, family, facts)
    merged = replace(card, options={**card.options, **facts})
    resolve(FAMILIES[family].load)(merged, tensors)
    return Converted(card, tensors, facts)


def _doubles_as_published(facts: Mapping[str, Any]) -> bool:
    """Whether a BigGAN is one of the published three, which all double in every second block."""
    sizes = tuple(facts[name] for name in ("z_size", "embed_size", "n_classes", "n_stats"))
    # 128, 256 and 512 px have 10, 12 and 14 blocks.
    return sizes == (128, 128, 1000, 51) and len(facts["blocks"]) in (10, 12, 14)


def _backbone(content: Content, base: ModelCard) -> Converted:
    card = base
    try:
        tensors = convert_state(content.value, card, content.file)
    except WeightsCorruptError as first:
        # A file of one's own may have other classes than the architecture, or no classifier; a
        # published name stands for the published file.
        if not _is_new(base) or (card := _without_classifier(base)) is None:
            raise
        try:
            tensors = convert_state(content.value, card, content.file)
        except WeightsCorruptError:
            raise first from None
    units = sum(layer.channels for layer in layers_of(card))
    return Converted(replace(card, units=units), tensors, {})


def _is_new(card: ModelCard) -> bool:
    return card.licence == added_cards.UNKNOWN_LICENCE


def _without_classifier(card: ModelCard) -> ModelCard | None:
    facts = timm_facts(str(card.options["model"]))
    paths: Any = facts.classifier if facts is not None else None
    listed = (paths,) if isinstance(paths, str) else tuple(paths or ())
    return added_cards.without_classifier(card, listed) if listed else None


def _generator_in(value: Any) -> str:
    """What kind of generator a file holds, in words; nothing if none is seen in it."""
    if isinstance(value, Mapping):
        value = value.get("G_ema", value.get("g_ema", value))
    if isinstance(value, PersistentModule):
        return "generator"
    if not isinstance(value, Mapping):
        return ""
    try:
        return f"{FAMILY_TITLES[guess_family(str(key) for key in value)]} generator"
    except BadRequestError:
        return ""


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
