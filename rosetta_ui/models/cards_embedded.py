"""Cards: embedded."""

from __future__ import annotations

from rosetta_ui.types import ModelCard

EMBEDDED: tuple[ModelCard, ...] = ()
