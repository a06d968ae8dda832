"""Cards: published generators."""

from __future__ import annotations

from rosetta_ui.types import ModelCard

PUBLISHED_GENERATORS: tuple[ModelCard, ...] = ()
