"""Every model that comes with the project, as cards. Imports no torch."""

from __future__ import annotations

from rosetta_ui.models.cards_embedded import EMBEDDED
from rosetta_ui.models.cards_published_backbones import PUBLISHED_BACKBONES
from rosetta_ui.models.cards_published_generators import PUBLISHED_GENERATORS
from rosetta_ui.types import ModelCard

CARDS: tuple[ModelCard, ...] = (*EMBEDDED, *PUBLISHED_GENERATORS, *PUBLISHED_BACKBONES)
"""The embedded zoo first: what a fresh machine can run comes first in every list."""
