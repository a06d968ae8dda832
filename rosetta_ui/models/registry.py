"""Which models there are and how each family is loaded. Imports no torch.

A card says everything about a model; a family says which code loads such cards and, for published
files, which code converts them. Both are named as "module:function" and imported on first use.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rosetta_ui.errors import BadRequestError, UnknownModelError
from rosetta_ui.types import ModelCard, Role

if TYPE_CHECKING:
    from rosetta_ui.models.backbone import Backbone
    from rosetta_ui.models.generator import Generator

Loader = Callable[[ModelCard, Mapping[str, Any]], "Generator | Backbone"]
"""Takes the card and its weights (name → tensor, on the CPU) and returns the model in eval mode."""


@dataclass(frozen=True)
class Family:
    """How cards of one family become models.

    Attributes:
        load: "module:function", a `Loader`.
        convert: "module:function" that takes `Mapping[str, bytes]` (member or file name → content)
            and the card, and returns (tensors, facts). Facts are JSON values, kept beside the
            tensors and merged into `card.options`. Empty for families without published files.
        convert_state: "module:function" that takes a `models.foreign.ForeignGenerator` and returns
            (tensors, facts): for generators whose file a person brings.
        schema: raised by one whenever the converter's output changes; converted files of another
            number are made anew.
    """

    load: str
    convert: str = ""
    convert_state: str = ""
    schema: int = 1


def _published(module: str) -> Family:
    """A family of published generators, read by `models.published_files`."""
    path = f"rosetta_ui.models.{module}"
    return Family(f"{path}:load", convert_state=f"{path}:convert_state")


FAMILIES: dict[str, Family] = {
    "mobile_stylegan": Family(
        "rosetta_ui.models.mobile_stylegan:load", "rosetta_ui.models.mobile_stylegan:convert"
    ),
    "dcgan": Family("rosetta_ui.models.dcgan:load", "rosetta_ui.models.dcgan:convert"),
    "stylegan2": _published("stylegan2"),
    "stylegan3": _published("stylegan3"),
    "styleganxl": _published("styleganxl"),
    "biggan": _published("biggan"),
    "fastgan": _published("fastgan"),
    "timm": Family(
        "rosetta_ui.models.timm_backbones:load", "rosetta_ui.models.timm_backbones:convert"
    ),
    "timm_in_order": Family(
        "rosetta_ui.models.timm_backbones:load",
        "rosetta_ui.models.embedded_backbones:convert_in_order",
    ),
    "dinov2_onnx": Family(
        "rosetta_ui.models.timm_backbones:load",
        "rosetta_ui.models.embedded_backbones:convert_dinov2",
    ),
    "thin_resnet50": Family(
        "rosetta_ui.models.thin_resnet50:load", "rosetta_ui.models.thin_resnet50:convert"
    ),
}


def resolve(target: str) -> Callable[..., Any]:
    """Import "module:function"."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


class Registry:
    """The models that this process knows: built in, added as files, and registered by the user."""

    def __init__(self) -> None:
        self._cards: dict[str, ModelCard] = {}
        self._loaders: dict[str, Loader] = {}
        self._made: dict[str, ModelCard] = {}

    def add(self, card: ModelCard, loader: Loader | None = None) -> None:
        """Add or replace a card; the loader defaults to its family's.

        Raises:
            BadRequestError: the family is unknown and no loader is given.
        """
        if loader is None and card.family not in FAMILIES:
            raise BadRequestError(
                f"Model '{card.name}' is of unknown family '{card.family}'.",
                f"Families are {', '.join(FAMILIES)}; or register a loader with the card.",
            )
        self._cards[card.name] = card
        if loader is not None:
            self._loaders[card.name] = loader

    def names(self, role: Role | None = None) -> list[str]:
        """Names in the order they were added."""
        return [c.name for c in self._cards.values() if role is None or c.role == role]

    def cards(self, role: Role | None = None) -> list[ModelCard]:
        """Cards in the order they were added."""
        return [c for c in self._cards.values() if role is None or c.role == role]

    def card(self, name: str, role: Role | None = None) -> ModelCard:
        """The card of this name.

        Raises:
            UnknownModelError: there is none of this role.
        """
        card = self._cards.get(name)
        if card is None and role != "generator":
            card = self._by_rule(name)
        if card is None or (role is not None and card.role != role):
            known = self.names(role)
            if card is None and role != "generator":
                known += _nearest_timm_names(name)
            raise UnknownModelError(name, known, role or "model")
        return card

    def _by_rule(self, name: str) -> ModelCard | None:
        """The card that a timm name or `NAME.random` describes; made once, and not listed."""
        from rosetta_ui.models.timm_cards import card_by_rule  # it needs this module's FAMILIES

        if name not in self._made and (card := card_by_rule(name, self._cards.get)):
            self._made[name] = card
        return self._made.get(name)

    def loader(self, name: str) -> Loader:
        """The function that turns this card and its weights into a model."""
        card = self.card(name)
        return self._loaders.get(name) or resolve(FAMILIES[card.family].load)

    def read_added(self, folder: Path) -> None:
        """Add the cards that `zoo add` left in `folder/NAME/card.json`."""
        for path in sorted(folder.glob("*/card.json")):
            self.add(ModelCard.from_json(json.loads(path.read_text("utf-8"))))


def _nearest_timm_names(name: str) -> list[str]:
    from rosetta_ui.models.timm_cards import nearest_names

    return nearest_names(name)


_registered: list[tuple[ModelCard, Loader]] = []


def register(card: ModelCard) -> Callable[[Loader], Loader]:
    """Decorate a loader in a models file of one's own (`--models my_models.py`)."""

    def keep(loader: Loader) -> Loader:
        _registered.append((card, loader))
        return loader

    return keep


def run_models_file(path: Path) -> list[tuple[ModelCard, Loader]]:
    """Run a user's own models file and return what it registered.

    The file's digest becomes a card option, `models_file`: a changed file is another model, whose
    results are not taken from the cache. Weights that it reads from elsewhere are not looked at.

    Raises:
        BadRequestError: the file is missing or registers nothing.
    """
    if not path.is_file():
        raise BadRequestError(
            f"There is no models file '{path}'.", "Give a Python file to --models."
        )
    _registered.clear()
    spec = importlib.util.spec_from_file_location("rosetta_user_models", path)
    if spec is None or spec.loader is None:
        raise BadRequestError(f"'{path}' is not a Python file.", "Give a .py file to --models.")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    if not _registered:
        raise BadRequestError(
            f"'{path}' registers no model.", "Decorate a loader with @register(card)."
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return [
        (replace(card, options={**card.options, "models_file": digest}), loader)
        for card, loader in _registered
    ]


def build_registry(added: Path | None = None, models_file: str = "") -> Registry:
    """Every model there is: the catalogue, files added under `added`, the user's own file."""
    from rosetta_ui.models import catalogue  # the catalogue needs this module's types first

    registry = Registry()
    for card in catalogue.CARDS:
        registry.add(card)
    if added is not None:
        registry.read_added(added)
    if models_file:
        for card, loader in run_models_file(Path(models_file)):
            registry.add(card, loader)
    return registry
