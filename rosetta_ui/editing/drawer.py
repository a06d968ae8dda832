"""Draws as much of a picture as a loss needs, and no more.

The forward pass goes to the last layer that holds a wanted unit, to the layer that the preview head
reads, or to the full picture of a small generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from rosetta_ui.affine import STILL, Affine
from rosetta_ui.editing.preview_head import PreviewHead
from rosetta_ui.models.generator import Generator
from rosetta_ui.probing.taps import tap
from rosetta_ui.types import LayerSpec, Space


@dataclass(frozen=True)
class Drawer:
    """Draws as much of a picture as the terms need.

    Attributes:
        generator: draws.
        layers: whose maps are wanted.
        pictures: whether pictures are wanted too.
        head: makes them from an early layer; None draws them in full.
        class_index: for class-conditional generators.
        psi: truncation that applies to z.
        check: called inside the forward pass; may raise `Cancelled`.
        moved: how early maps are moved meanwhile: once for the whole batch, or once for each.
    """

    generator: Generator
    layers: tuple[LayerSpec, ...]
    pictures: bool
    head: PreviewHead | None = None
    class_index: int | None = None
    psi: float = 1.0
    check: Callable[[], None] = lambda: None
    moved: tuple[Affine, ...] = (STILL,)

    def draw(self, latents: Tensor, space: Space) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Pictures [n, 3, S, S], or None, and the wanted layers' maps; differentiable."""
        seen = list(self.layers)
        if self.pictures and self.head is not None:
            seen += [s for s in self.generator.layers if s.name == self.head.layer]
        whole = self.pictures and self.head is None
        images: Tensor | None = None
        # A pass to the end is watched at every layer, so that Stop comes inside it.
        watched = self.generator.layers if whole else _once(seen)
        with (
            self.generator.moving(*self.moved),
            tap(
                self.generator.net, watched, stop=not whole, on_output=lambda _: self.check()
            ) as maps,
        ):
            images = self.generator.synthesise_from(
                latents, space, class_index=self.class_index, psi=self.psi
            )
        if self.pictures and self.head is not None:
            images = self.head.colours(maps[self.head.layer])
        return images if self.pictures else None, dict(maps)


def _once(layers: list[LayerSpec]) -> tuple[LayerSpec, ...]:
    return tuple(dict.fromkeys(layers))
