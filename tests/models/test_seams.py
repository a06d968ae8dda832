"""What the engine relies on in every generator and backbone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rosetta_ui.errors import BadRequestError, UnknownModelError
from rosetta_ui.models.backbone import Backbone, resize
from rosetta_ui.models.generator import draw_z
from rosetta_ui.models.registry import FAMILIES, Registry, build_registry, resolve
from rosetta_ui.types import ModelCard


def card(**changes: object) -> ModelCard:
    facts = {"name": "x", "role": "backbone", "family": "timm", "title": "X", "about": "a"}
    return ModelCard(**(facts | {"licence": "MIT", "terms": "any"} | changes))  # type: ignore[arg-type]


def test_an_image_has_the_same_latent_in_every_set_and_another_in_every_seed() -> None:
    assert np.array_equal(draw_z(3, 7, 16, "normal"), draw_z(3, 7, 16, "normal"))
    assert not np.array_equal(draw_z(3, 7, 16, "normal"), draw_z(4, 7, 16, "normal"))
    # Shifting the seed must not shift the images: (3, 8) and (4, 7) are unrelated.
    assert not np.array_equal(draw_z(3, 8, 16, "normal"), draw_z(4, 7, 16, "normal"))


def test_latents_have_the_distribution_that_they_name() -> None:
    normal = np.concatenate([draw_z(0, i, 512, "normal") for i in range(40)])
    cut = np.concatenate([draw_z(0, i, 512, "truncated") for i in range(40)])
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.03
    assert np.abs(cut).max() <= 1
    # Deviation of a standard normal cut at ±1: sqrt(1 - 2 φ(1) / (2 Φ(1) - 1)) = 0.5396.
    assert abs(cut.std() - 0.5396) < 0.01


def test_resizing_keeps_a_constant_and_does_not_alias_when_it_shrinks() -> None:
    stripes = torch.tensor([1.0, -1.0]).repeat(128).expand(1, 3, 256, 256)
    small = resize(stripes, (56, 56), "bicubic")
    assert small[..., 4:-4, 4:-4].abs().max() < 0.2
    assert torch.allclose(
        resize(torch.ones(1, 3, 8, 12), (5, 7), "bicubic"), torch.ones(1, 3, 5, 7)
    )


def test_a_backbone_gets_its_own_normalisation() -> None:
    backbone = Backbone(
        card(image_size=(4, 4), mean=(0.1, 0.2, 0.3), std=(1, 2, 4)), nn.Identity(), ()
    )
    prepared = backbone.prepare(torch.ones(1, 3, 4, 4))
    assert torch.allclose(prepared[0, :, 0, 0], torch.tensor([0.9, 0.4, 0.175]))


def test_every_catalogue_card_states_what_people_and_loaders_need() -> None:
    for entry in build_registry().cards():
        assert entry.family in FAMILIES, entry.name
        assert entry.title and entry.about and entry.licence and entry.terms, entry.name
        assert all(math.isfinite(v) and v > 0 for v in entry.std), entry.name
        assert callable(resolve(FAMILIES[entry.family].load)), entry.name
        if entry.role == "generator":
            assert entry.latent_size > 0 and entry.spaces, entry.name


def test_an_unknown_family_or_name_is_refused() -> None:
    registry = Registry()
    with pytest.raises(BadRequestError, match="unknown family"):
        registry.add(card(family="none"))
    registry.add(card(name="known"))
    with pytest.raises(UnknownModelError):
        registry.card("knwon")
    with pytest.raises(UnknownModelError):
        registry.card("known", "generator")


def test_a_models_file_registers_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from rosetta_ui import ModelCard, register\n"
        "@register(ModelCard('mine', 'backbone', 'own', 'Mine', 'a', 'MIT', 'any'))\n"
        "def load(card, tensors):\n    return card\n"
    )
    registry = build_registry(models_file=str(path))
    assert registry.loader("mine")(registry.card("mine"), {}) is registry.card("mine")
    path.write_text("x = 1\n")
    with pytest.raises(BadRequestError, match="registers no model"):
        build_registry(models_file=str(path))
    with pytest.raises(BadRequestError, match="no models file"):
        build_registry(models_file=str(tmp_path / "gone.py"))
