"""Models that are loaded while something is only looked at can be optimised through afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rosetta_ui.engine.residency import Residency
from rosetta_ui.models.registry import Registry, build_registry
from rosetta_ui.models.weights import WeightStore


def tensors(net: torch.nn.Module) -> list[torch.Tensor]:
    return [*net.parameters(), *net.buffers()]


def first_looked_at(models: Residency, name: str, role: str) -> torch.nn.Module:
    """A network that is asked for the first time where no gradient is wanted."""
    with torch.inference_mode():
        return (models.generator if role == "generator" else models.backbone)(name).net


def test_tiny_models_keep_their_gradients(tmp_path: Path, tiny_registry: Registry) -> None:
    models = Residency(tiny_registry, WeightStore(tmp_path), "cpu")
    for card in tiny_registry.cards():
        net = first_looked_at(models, card.name, card.role)
        assert not any(each.is_inference() for each in tensors(net)), card.name


@pytest.mark.weights
def test_embedded_models_keep_their_gradients(zoo: Any) -> None:
    """The Gallery looks through all of them before anybody inverts or edits a picture."""
    registry = build_registry()
    models = Residency(registry, zoo, "cpu")
    for card in registry.cards():
        if not card.embedded:
            continue
        net = first_looked_at(models, card.name, card.role)
        assert not any(each.is_inference() for each in tensors(net)), card.name
        if card.role == "backbone":
            height, width = card.image_size
            image = torch.zeros(1, 3, height, width, requires_grad=True)
            backbone = models.backbone(card.name)
            backbone.forward(backbone.normalise(image)).sum().backward()
            assert image.grad is not None
            assert image.grad.abs().sum() > 0
