"""Tools over the planted models: the partners are known, and nothing has to be fetched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rosetta_ui.editing.drawer import Drawer
from rosetta_ui.editing.session import drawn
from rosetta_ui.editing.setup import EditSetup
from rosetta_ui.inversions import Guidance, InversionRequest, InversionSettings
from rosetta_ui.inverting.features import FeatureDistance
from rosetta_ui.inverting.guide import Guide, Pair
from rosetta_ui.inverting.run import Tools
from rosetta_ui.inverting.starts import fill
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.loading import load_backbone, load_generator
from rosetta_ui.models.registry import Registry
from rosetta_ui.models.tiny import PLANTED_UNITS, planted_partner, tiny_cards
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.types import Unit

Ask = Callable[..., InversionRequest]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Generator, Backbone]:
    registry, store = Registry(), WeightStore(tmp_path_factory.mktemp("planted"))
    for card, loader in tiny_cards():
        registry.add(card, loader)
    device = torch.device("cpu")
    return (
        load_generator(registry, "planted-gan", store, device),
        load_backbone(registry, "planted-copy-a", store, device),
    )


@pytest.fixture(scope="session")
def guide() -> Guide:
    """Every unit of the planted generator with its copy in the first backbone."""
    pairs = [
        Pair(
            Unit("planted-gan", layer, channel),
            Unit("planted-copy-a", partner, planted_partner(4, at, channel)),
            1 - 0.001 * channel,
        )
        for at, (layer, partner) in enumerate((("coarse", "first"), ("fine", "second")))
        for channel in range(PLANTED_UNITS)
    ]
    half = np.full(PLANTED_UNITS, 0.5, np.float32)
    third = np.full(PLANTED_UNITS, 0.3, np.float32)
    layers = {"planted-gan": ("coarse", "fine"), "planted-copy-a": ("first", "second")}
    return Guide(
        "planted",
        tuple(pairs),
        {model: dict.fromkeys(names, half) for model, names in layers.items()},
        {model: dict.fromkeys(names, third) for model, names in layers.items()},
    )


@pytest.fixture(scope="session")
def tools(models: tuple[Generator, Backbone]) -> Tools:
    generator, backbone = models
    distance = FeatureDistance.of(backbone)
    making = fill(Drawer(generator, (), True), distance, 256)
    while True:
        try:
            next(making)
        except StopIteration as done:
            bank = done.value
            break
    setup = EditSetup.fit(generator, 1.0, None)
    return Tools(generator, setup, None, distance, distance, bank)


@pytest.fixture(scope="session")
def ask(models: tuple[Generator, Backbone]) -> Ask:
    """A request for the picture of a held-out seed, whose latent is known."""
    generator = models[0]

    def made(seed: int = 5, **changes: object) -> InversionRequest:
        picture = drawn(generator, generator.sample([0], seed))
        values: dict[str, object] = {
            "guidance": Guidance(0, pixels=1.0),
            "settings": InversionSettings("z", 60, 0.1, restarts=4),
            "psi": 1.0,
        }
        return InversionRequest("planted-gan", picture, **{**values, **changes})  # pyright: ignore

    return made
