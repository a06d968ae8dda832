"""Backbones of timm: the loader of the families `timm`, `timm_in_order` and `dinov2_onnx`.

`card.options` are
    model: name of the architecture in timm;
    create: keyword arguments for `timm.create_model`;
    layers: module paths whose channels are units (without it the architecture decides);
    random_seed: weights are random, drawn from this seed, and need no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn

from rosetta_ui.errors import WeightsCorruptError
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.timm_layers import find_layers
from rosetta_ui.types import ModelCard


def load(card: ModelCard, tensors: Mapping[str, Tensor]) -> Backbone:
    """Build the network of a card and give it its weights.

    Args:
        card: see this module for its options.
        tensors: the whole state dict, by timm's names.

    Raises:
        WeightsCorruptError: keys are missing or surplus, or a shape differs.
    """
    net = build(card)
    if tensors:
        try:
            net.load_state_dict(dict(tensors), strict=True)
        except RuntimeError as error:
            raise WeightsCorruptError(
                f"The weights of '{card.name}' do not fit: {error}"
            ) from error
    layers = find_layers(net, card.name, card.image_size, card.options.get("layers", ()))
    return Backbone(card, net, layers)


def build(card: ModelCard) -> nn.Module:
    """The network of a card in eval mode, with random weights."""
    options: dict[str, Any] = dict(card.options.get("create", {}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(card.options.get("random_seed", 0)))
        return timm.create_model(card.options["model"], pretrained=False, **options).eval()
