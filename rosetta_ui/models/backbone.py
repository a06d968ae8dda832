"""What the engine may ask of a backbone: a discriminative network whose units are compared."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional

from rosetta_ui.types import LayerSpec, ModelCard


class Backbone:
    """A network that looks at images.

    Attributes:
        card: its facts, with input size, mean and deviation.
        net: the module that taps attach to; layer names are module paths in it.
        layers: the layers whose channels are units, in the order they run.
    """

    def __init__(self, card: ModelCard, net: nn.Module, layers: tuple[LayerSpec, ...]) -> None:
        self.card = card
        self.net = net.eval().requires_grad_(False)
        self.layers = layers

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        tensor = next(chain(self.net.parameters(), self.net.buffers()), None)
        return torch.device("cpu") if tensor is None else tensor.device

    def to(self, device: torch.device | str) -> Backbone:
        """Move the weights; returns itself."""
        self.net.to(device)
        return self

    def prepare(self, images: Tensor) -> Tensor:
        """Images in [-1, 1] as this network expects them.

        Args:
            images: [n, 3, H, W], nominally in [-1, 1]; not clamped, as in the published code.

        Returns:
            [n, 3, h, w], scaled to [0, 1], resized and normalised.
        """
        return self.normalise(resize(images, self.card.image_size, self.card.interpolation))

    def normalise(self, images: Tensor) -> Tensor:
        """Already resized images in [-1, 1] → (x + 1) / 2, minus mean, over deviation."""
        mean = images.new_tensor(self.card.mean).view(1, 3, 1, 1)
        std = images.new_tensor(self.card.std).view(1, 3, 1, 1)
        return ((images + 1) / 2 - mean) / std

    def forward(self, prepared: Tensor) -> Tensor:
        """Run the network on prepared images; taps read inside, the output is rarely needed."""
        return self.net(prepared)


def resize(images: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    """Resize [n, 3, H, W] to (height, width); antialiased when made smaller.

    Differs from the published code, which does not antialias: a 1024 px picture shrunk to 224 px
    without it aliases, and every model then sees a pattern that is not in the picture.
    """
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    shrinks = images.shape[-2] > size[0] or images.shape[-1] > size[1]
    return functional.interpolate(
        images, size=size, mode=interpolation, align_corners=False, antialias=shrinks
    )
