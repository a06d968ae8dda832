"""Tiny seeded models: no weights to fetch, milliseconds an image. Registered only on request.

Two kinds. `tiny-*` are small ordinary networks with random weights: layers of different sizes, a
dead unit, a token layer, classes. `planted-*` carry a known answer: the generator's picture is a
mosaic of its own maps, and each backbone reads the mosaic back, permuted and with noise, so a match
must return the permutation (`planted_partner`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.registry import Loader
from rosetta_ui.types import LayerSpec, ModelCard, Role, Space

PLANTED_UNITS = 12
"""Channels in each of the two planted layers."""

_TILE = 8
_GRID = 4  # 4 × 4 tiles in each of 3 colour planes hold 48 maps; 24 are used


def tiny_cards() -> list[tuple[ModelCard, Loader]]:
    """Cards and loaders of every tiny model, for `Registry.add` or `register`."""
    return [
        (_card("tiny-gan", "generator", latent_size=16), _load_generator),
        (_card("tiny-class-gan", "generator", latent_size=16, n_classes=3), _load_generator),
        (_card("planted-gan", "generator", latent_size=64), _load_planted),
        (_card("tiny-net-a", "backbone", options={"seed": 1}), _load_convs),
        (_card("tiny-net-b", "backbone", image_size=(24, 40), options={"seed": 2}), _load_convs),
        (_card("tiny-tokens", "backbone", options={"seed": 3}), _load_tokens),
        (_card("planted-copy-a", "backbone", options={"seed": 4, "noise": 0.1}), _load_copy),
        (_card("planted-copy-b", "backbone", options={"seed": 5, "noise": 0.3}), _load_copy),
    ]


def planted_partner(seed: int, layer: int, channel: int) -> int:
    """The channel of a planted copy's layer that repeats the generator's channel.

    Args:
        seed: in the copy's card (4 for planted-copy-a, 5 for planted-copy-b).
        layer: 0 for coarse, 1 for fine.
        channel: of the generator's layer of the same number.
    """
    return int((_permutation(seed, layer) == channel).nonzero()[0, 0])


def _card(name: str, role: Role, **facts: Any) -> ModelCard:
    base = ModelCard(
        name=name,
        role=role,
        family="tiny",
        title=name,
        about="A tiny network with seeded random weights, for tests and demonstrations.",
        licence="Apache-2.0",
        terms="Made in code; no weights of anybody else.",
        image_size=(32, 32),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bilinear",
        spaces=("z",) if role == "generator" else (),
    )
    return replace(base, **facts)


def _seeded(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    """Build a module with torch's own initialisation, without touching the global stream."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _permutation(seed: int, layer: int) -> Tensor:
    stream = torch.Generator().manual_seed(1000 * seed + layer)
    return torch.randperm(PLANTED_UNITS, generator=stream)


class TinyGenerator(Generator):
    """Three upsampling blocks with ReLU: 8 units at 4 px, 8 at 8 px, 6 at 16 px; 32 px pictures."""

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card, _seeded(0, lambda: _Blocks(card.latent_size, card.n_classes)))
        self.layers = (
            LayerSpec(card.name, "act0", 8, (4, 4)),
            LayerSpec(card.name, "act1", 8, (8, 8)),
            LayerSpec(card.name, "act2", 6, (16, 16)),
        )
        self.movable = self.layers[1:]

    def synthesise_from(
        self, values: Tensor, space: Space, *, class_index: int | None = None, psi: float = 1.0
    ) -> Tensor:
        """Draw [n, 3, 32, 32] pictures; ψ scales z."""
        del space
        return self.net(values * psi, class_index)


class _Blocks(nn.Module):
    def __init__(self, latent: int, n_classes: int) -> None:
        super().__init__()
        self.enter = nn.Linear(latent, 8 * 4 * 4)
        self.classes = nn.Embedding(max(n_classes, 1), latent)
        self.act0 = nn.ReLU()
        self.up1 = nn.ConvTranspose2d(8, 8, 4, 2, 1)
        self.act1 = nn.ReLU()
        self.up2 = nn.ConvTranspose2d(8, 6, 4, 2, 1)
        self.act2 = nn.ReLU()
        self.out = nn.ConvTranspose2d(6, 3, 4, 2, 1)

    def forward(self, z: Tensor, class_index: int | None) -> Tensor:
        if class_index is not None:
            z = z + self.classes.weight[class_index]
        x = self.act0(self.enter(z).view(-1, 8, 4, 4))
        x = self.act2(self.up2(self.act1(self.up1(x))))
        return torch.tanh(6 * self.out(x))


class PlantedGenerator(Generator):
    """Pictures that are a mosaic of the generator's own maps: 12 units at 4 px, 12 at 8 px."""

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card, _seeded(7, lambda: _Mosaic(card.latent_size)))
        self.layers = (
            LayerSpec(card.name, "coarse", PLANTED_UNITS, (4, 4)),
            LayerSpec(card.name, "fine", PLANTED_UNITS, (_TILE, _TILE)),
        )

    def synthesise_from(
        self, values: Tensor, space: Space, *, class_index: int | None = None, psi: float = 1.0
    ) -> Tensor:
        """Draw [n, 3, 32, 32] mosaics."""
        del space, class_index
        return self.net(values * psi)


class _Mosaic(nn.Module):
    def __init__(self, latent: int) -> None:
        super().__init__()
        self.enter = nn.Linear(latent, 2 * PLANTED_UNITS * 16)
        self.coarse = nn.Identity()
        self.fine = nn.Identity()

    def forward(self, z: Tensor) -> Tensor:
        cells = torch.sigmoid(4 * self.enter(z)).view(-1, 2 * PLANTED_UNITS, 4, 4)
        coarse = self.coarse(cells[:, :PLANTED_UNITS])
        fine = self.fine(
            functional.interpolate(
                cells[:, PLANTED_UNITS:], size=_TILE, mode="bilinear", align_corners=False
            )
        )
        tiles = torch.cat([functional.interpolate(coarse, size=_TILE), fine], 1)
        blank = tiles.new_zeros(len(z), 3 * _GRID * _GRID - tiles.shape[1], _TILE, _TILE)
        planes = torch.cat([tiles, blank], 1).view(-1, 3, _GRID, _GRID, _TILE, _TILE)
        return planes.permute(0, 1, 2, 4, 3, 5).reshape(-1, 3, _GRID * _TILE, _GRID * _TILE) * 2 - 1


class _Copy(nn.Module):
    """Reads the mosaic back: permuted channels, other grids, a little noise."""

    def __init__(self, seed: int, noise: float) -> None:
        super().__init__()
        self.noise = noise
        self.register_buffer("order0", _permutation(seed, 0))
        self.register_buffer("order1", _permutation(seed, 1))
        self.first = nn.Identity()
        self.second = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        tiles = images.reshape(-1, 3, _GRID, _TILE, _GRID, _TILE).permute(0, 1, 2, 4, 3, 5)
        tiles = tiles.reshape(-1, 3 * _GRID * _GRID, _TILE, _TILE)
        coarse = tiles[:, :PLANTED_UNITS][:, self.get_buffer("order0")]
        fine = tiles[:, PLANTED_UNITS : 2 * PLANTED_UNITS][:, self.get_buffer("order1")]
        self.first(self._noisy(coarse))
        return self.second(self._noisy(functional.adaptive_avg_pool2d(fine, 5)))

    def _noisy(self, maps: Tensor) -> Tensor:
        # A steep sine of the value itself: noise to a correlation, yet the same on any batch size.
        return maps + self.noise * torch.sin(97 * maps)


def _copy_layers(name: str) -> tuple[LayerSpec, ...]:
    return (
        LayerSpec(name, "first", PLANTED_UNITS, (_TILE, _TILE)),
        LayerSpec(name, "second", PLANTED_UNITS, (5, 5)),
    )


class _Convs(nn.Module):
    """Two strided convolutions; the last channel of the first is dead."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 10, 3, 2, 1)
        self.relu2 = nn.ReLU()
        if self.conv1.bias is not None:
            self.conv1.bias.data[-1] = -100.0

    def forward(self, images: Tensor) -> Tensor:
        return self.relu2(self.conv2(self.relu1(self.conv1(images))))


class _Tokens(nn.Module):
    """Patches of 8 px, a class token in front, one MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 8, 8)
        self.cls = nn.Parameter(torch.ones(1, 1, 12))
        self.mlp = nn.Linear(12, 16)
        self.act = nn.GELU()

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        return self.act(self.mlp(torch.cat([self.cls.expand(len(tokens), -1, -1), tokens], 1)))


def _load_generator(card: ModelCard, _tensors: Mapping[str, Any]) -> Generator:
    return TinyGenerator(card)


def _load_planted(card: ModelCard, _tensors: Mapping[str, Any]) -> Generator:
    return PlantedGenerator(card)


def _load_copy(card: ModelCard, _tensors: Mapping[str, Any]) -> Backbone:
    net = _Copy(card.options["seed"], card.options["noise"])
    return Backbone(card, net, _copy_layers(card.name))


def _load_convs(card: ModelCard, _tensors: Mapping[str, Any]) -> Backbone:
    height, width = card.image_size
    layers = (
        LayerSpec(card.name, "relu1", 8, (height // 2, width // 2)),
        LayerSpec(card.name, "relu2", 10, (height // 4, width // 4)),
    )
    return Backbone(card, _seeded(card.options["seed"], _Convs), layers)


def _load_tokens(card: ModelCard, _tensors: Mapping[str, Any]) -> Backbone:
    layers = (LayerSpec(card.name, "act", 16, (4, 4), "tokens", prefix_tokens=1),)
    return Backbone(card, _seeded(card.options["seed"], _Tokens), layers)
