"""Cards: published backbones."""

from __future__ import annotations

from rosetta_ui.types import ModelCard

PUBLISHED_BACKBONES: tuple[ModelCard, ...] = ()
