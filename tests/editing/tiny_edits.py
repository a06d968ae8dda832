"""Edits of the tiny generators, in a few words."""

from __future__ import annotations

from dataclasses import replace

from rosetta_ui.editing.session import EditBench, edit
from rosetta_ui.editing.setup import usual_units
from rosetta_ui.edits import EditFrame, EditSettings, EditStep, PictureState
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.registry import Registry
from rosetta_ui.models.tiny import tiny_cards

SETTINGS = EditSettings("z", 20, 0.2)


def load(name: str) -> Generator:
    registry = Registry()
    for card, loader in tiny_cards():
        registry.add(card, loader)
    model = registry.loader(name)(registry.card(name), {})
    assert isinstance(model, Generator)
    return model


def step(bench: EditBench, *edits: object, **changes: object) -> EditStep:
    units = usual_units(bench.generator.layers)
    settings = replace(SETTINGS, **changes) if changes else SETTINGS  # pyright: ignore
    return EditStep(tuple(edits), units, settings)  # pyright: ignore


def last(frames: object) -> EditFrame:
    *_, frame = frames  # pyright: ignore
    assert isinstance(frame, EditFrame)
    return frame


def after(bench: EditBench, state: PictureState, made: EditStep) -> PictureState:
    found = last(edit(bench, state, made)).state
    assert found is not None
    return found
