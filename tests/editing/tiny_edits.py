"""Edits of the tiny generators, in a few words."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from rosetta_ui.editing.session import EditBench, edit, ladder
from rosetta_ui.editing.setup import usual_units
from rosetta_ui.edits import EditFrame, EditSettings, EditStep, PictureState
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.registry import Registry
from rosetta_ui.models.tiny import TinyGenerator, tiny_cards
from rosetta_ui.types import Space

SETTINGS = EditSettings("z", 20, 0.2)


def load(name: str) -> Generator:
    registry = Registry()
    for card, loader in tiny_cards():
        registry.add(card, loader)
    model = registry.loader(name)(registry.card(name), {})
    assert isinstance(model, Generator)
    return model


class RowsGenerator(TinyGenerator):
    """The tiny generator with a w+ of four rows, whose mean takes the place of z."""

    n_ws = 4

    def __init__(self) -> None:
        card = load("tiny-gan").card
        super().__init__(replace(card, spaces=("z", "w+")))
        self.w_size = card.latent_size

    def to_w(self, z: Tensor, *, class_index: int | None = None, psi: float = 1.0) -> Tensor:
        del class_index
        return psi * z[:, None].expand(-1, self.n_ws, -1)

    def synthesise_from(
        self, values: Tensor, space: Space, *, class_index: int | None = None, psi: float = 1.0
    ) -> Tensor:
        if space == "w+":
            values, psi = values.mean(1), 1.0
        return super().synthesise_from(values, "z", class_index=class_index, psi=psi)


class SlowGenerator(TinyGenerator):
    """The tiny generator, which says that its pictures are too large to show one every step."""

    def __init__(self) -> None:
        super().__init__(replace(load("tiny-gan").card, image_size=(256, 256)))


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


def climbed(bench: EditBench, state: PictureState, made: EditStep) -> tuple[PictureState, ...]:
    """The states of a ladder's rungs."""
    work = ladder(bench, state, made)
    while True:
        try:
            assert next(work).state is None
        except StopIteration as end:
            return end.value
