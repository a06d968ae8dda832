"""What the engine may ask of a generator. Knows latents and images, no file and no cache."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from rosetta_ui.affine import STILL, Affine
from rosetta_ui.errors import BadRequestError
from rosetta_ui.models.moving import moving
from rosetta_ui.types import Latents, LayerSpec, ModelCard, Space

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Generator(ABC):
    """A network that draws images from latents.

    A subclass sets `layers` and implements `synthesise_from`; one with a w space also implements
    `to_w`. Images are [n, 3, H, W], nominally in [-1, 1] and never clamped before display.

    Attributes:
        card: its facts.
        net: the module that taps attach to; layer names are module paths in it.
        layers: the layers whose channels are units, in the order they run.
        n_ws: rows of a w+ latent; 0 without a w space.
        w_size: entries of w; 0 without a w space.
        movable: modules whose output holds all that has been drawn so far, at 16 to 64 px and in
            the order they run: there early maps can be moved. Empty where nothing is known of it.
    """

    layers: tuple[LayerSpec, ...]
    movable: tuple[LayerSpec, ...] = ()
    n_ws: int = 0
    w_size: int = 0

    def __init__(self, card: ModelCard, net: nn.Module) -> None:
        self.card = card
        self.net = net.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        tensor = next(chain(self.net.parameters(), self.net.buffers()), None)
        return torch.device("cpu") if tensor is None else tensor.device

    def to(self, device: torch.device | str) -> Generator:
        """Move the weights; returns itself."""
        self.net.to(device)
        return self

    def sample(
        self,
        indices: Sequence[int],
        seed: int,
        class_index: int | None = None,
        psi: float | None = None,
    ) -> Latents:
        """Draw z for the images with these numbers.

        Image i of seed s is the same whatever the batch: each has its own CPU generator.

        Args:
            indices: image numbers, each at least 0.
            seed: of the set.
            class_index: for class-conditional generators only.
            psi: truncation; None takes the card's.

        Raises:
            BadRequestError: a class for an unconditional generator, or one out of range.
        """
        index = self.check_class(class_index)
        values = np.stack(
            [draw_z(seed, i, self.card.latent_size, self.card.latent_distribution) for i in indices]
        )
        return Latents("z", values, index, self.card.psi if psi is None else psi)

    def check_class(self, class_index: int | None) -> int | None:
        """The class to use: None for unconditional generators, 0 where none is given.

        Raises:
            BadRequestError: a class for an unconditional generator, or one out of range.
        """
        n_classes = self.card.n_classes
        if n_classes == 0:
            if class_index is not None:
                raise BadRequestError(
                    f"'{self.card.name}' has no classes, but class {class_index} was asked for.",
                    "Leave the class out.",
                )
            return None
        chosen = 0 if class_index is None else class_index
        if not 0 <= chosen < n_classes:
            raise BadRequestError(
                f"'{self.card.name}' has no class {chosen}.",
                f"Give a class from 0 to {n_classes - 1}.",
            )
        return chosen

    def synthesise(self, latents: Latents) -> Tensor:
        """Draw images without gradients: [n, 3, H, W] on the generator's device."""
        values = torch.from_numpy(np.ascontiguousarray(latents.values)).to(self.device)
        with torch.inference_mode(), self.moving(latents.moved):
            return self.synthesise_from(
                values, latents.space, class_index=latents.class_index, psi=latents.psi
            )

    def moving(self, *moved: Affine) -> AbstractContextManager[None]:
        """Move early maps in what this thread draws inside a `with`; see `models.moving`.

        Args:
            moved: one move for the whole batch, or one for each of its images.

        Raises:
            BadRequestError: a move, but this generator's early maps cannot be moved.
        """
        if not self.movable and any(each != STILL for each in moved):
            raise BadRequestError(
                f"The early maps of '{self.card.name}' cannot be moved.",
                "Edit its latent alone.",
            )
        return moving(self.net, self.movable, moved)

    def to_w(self, z: Tensor, *, class_index: int | None = None, psi: float = 1.0) -> Tensor:
        """Map z [n, latent] to truncated w+ [n, n_ws, w_size], differentiably.

        Raises:
            BadRequestError: this generator has no w space.
        """
        raise BadRequestError(f"'{self.card.name}' has no w space.", "Use z.")

    @abstractmethod
    def synthesise_from(
        self, values: Tensor, space: Space, *, class_index: int | None = None, psi: float = 1.0
    ) -> Tensor:
        """Draw images from latent values, differentiably.

        Args:
            values: z [n, latent], w [n, w_size] or w+ [n, n_ws, w_size], on the net's device.
            space: which of these.
            class_index: one class for the whole batch.
            psi: truncation, applied to z only (w and w+ are taken as they are).

        Returns:
            [n, 3, H, W], nominally in [-1, 1].
        """


def draw_z(seed: int, index: int, size: int, distribution: str) -> NDArray[np.float32]:
    """Draw z of one image: [size] float32, from a CPU generator of its own.

    Args:
        seed: of the set.
        index: image number in the set.
        size: entries.
        distribution: "normal", or "truncated" (redrawn until inside [-1, 1]).
    """
    # A SeedSequence mixes (seed, index), so neighbouring seeds share no image; numpy's stream is
    # the same on every platform and never depends on the torch version or device.
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index))))
    values = rng.standard_normal(size)
    if distribution == "truncated":
        while (outside := np.abs(values) > 1).any():
            values[outside] = rng.standard_normal(int(outside.sum()))
    return values.astype(np.float32)
