"""Rosetta UI: mine, see and use the units that a generator and vision backbones share.

Importing this package imports neither torch nor gradio; attributes are resolved on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "Engine": "rosetta_ui.engine.engine",
    "Settings": "rosetta_ui.settings",
    "MatchRequest": "rosetta_ui.types",
    "ModelCard": "rosetta_ui.types",
    "Unit": "rosetta_ui.types",
    "register": "rosetta_ui.models.registry",
    "Backbone": "rosetta_ui.models.backbone",
    "Generator": "rosetta_ui.models.generator",
    "LayerSpec": "rosetta_ui.types",
    "own_card": "rosetta_ui.models.own",
    "generator_from": "rosetta_ui.models.own",
    "backbone_from": "rosetta_ui.models.own",
}

if TYPE_CHECKING:
    from rosetta_ui.engine.engine import Engine as Engine
    from rosetta_ui.models.backbone import Backbone as Backbone
    from rosetta_ui.models.generator import Generator as Generator
    from rosetta_ui.models.own import backbone_from as backbone_from
    from rosetta_ui.models.own import generator_from as generator_from
    from rosetta_ui.models.own import own_card as own_card
    from rosetta_ui.models.registry import register as register
    from rosetta_ui.settings import Settings as Settings
    from rosetta_ui.types import LayerSpec as LayerSpec
    from rosetta_ui.types import MatchRequest as MatchRequest
    from rosetta_ui.types import ModelCard as ModelCard
    from rosetta_ui.types import Unit as Unit


def __getattr__(name: str) -> Any:
    """Resolve a public name on first use (PEP 562)."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'rosetta_ui' has no attribute '{name}'")
