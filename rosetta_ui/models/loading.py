"""From a name to a network that runs."""

from __future__ import annotations

from dataclasses import replace

import torch

from rosetta_ui.errors import UnknownModelError
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.registry import Registry
from rosetta_ui.models.weights import WeightStore


def load_model(
    registry: Registry, name: str, store: WeightStore, device: torch.device | str = "cpu"
) -> Generator | Backbone:
    """Read a model's weights and build it; nothing is fetched (see `WeightStore.ensure`).

    Args:
        registry: knows the name.
        name: of a model.
        store: has its weights.
        device: where it goes.

    Raises:
        UnknownModelError: no model has this name.
        WeightsUnavailableError: its weights are not here.
        WeightsCorruptError: its weights are damaged.
    """
    card = registry.card(name)
    tensors = store.tensors(card)
    if facts := store.facts(card):
        card = replace(card, options={**card.options, **facts})
    return registry.loader(name)(card, tensors).to(device)


def load_generator(
    registry: Registry, name: str, store: WeightStore, device: torch.device | str = "cpu"
) -> Generator:
    """`load_model` for a generator.

    Raises:
        UnknownModelError: no generator has this name.
    """
    registry.card(name, "generator")
    model = load_model(registry, name, store, device)
    if not isinstance(model, Generator):
        raise UnknownModelError(name, registry.names("generator"), "generator")
    return model


def load_backbone(
    registry: Registry, name: str, store: WeightStore, device: torch.device | str = "cpu"
) -> Backbone:
    """`load_model` for a backbone.

    Raises:
        UnknownModelError: no backbone has this name.
    """
    registry.card(name, "backbone")
    model = load_model(registry, name, store, device)
    if not isinstance(model, Backbone):
        raise UnknownModelError(name, registry.names("backbone"), "backbone")
    return model
