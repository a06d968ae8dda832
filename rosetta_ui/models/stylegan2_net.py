"""The network of StyleGAN2, for any shape. Knows no file: `stylegan2` brings it its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rosetta_ui.models.filters import resample
from rosetta_ui.models.style_layers import Mapping as StyleMapping
from rosetta_ui.models.style_layers import ModulatedConv, StyleNet
from rosetta_ui.types import LayerSpec


@dataclass(frozen=True)
class Shape:
    """What a file's tensors say about its network.

    Attributes:
        channels: (in, out) of every 3×3 convolution in the order they run: one at 4 px, then two
            a resolution, the first of which doubles it.
        colours: channels of the picture.
        z_size, w_size, n_classes: of the mapping; no class is 0.
        embed_size: entries that the class adds to z.
        mapping: outputs of the mapping's layers.
        clamp: largest magnitude that an activation keeps, None for no limit.
        taps: length of the resampling filter.
    """

    channels: tuple[tuple[int, int], ...]
    colours: int
    z_size: int
    w_size: int
    n_classes: int
    embed_size: int
    mapping: tuple[int, ...]
    clamp: float | None
    taps: int

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Shape:
        """Read it back from facts, where tuples have become lists."""
        values = {f.name: facts[f.name] for f in fields(cls)}
        values["channels"] = tuple((int(a), int(b)) for a, b in values["channels"])
        values["mapping"] = tuple(values["mapping"])
        return cls(**values)

    @property
    def blocks(self) -> int:
        """Resolutions after 4 px."""
        return len(self.channels) // 2

    @property
    def resolution(self) -> int:
        """Side of the picture."""
        return 4 << self.blocks

    @property
    def n_ws(self) -> int:
        """Rows of a w+ latent: the convolutions' and the last picture layer's."""
        return 2 * self.blocks + 2

    def layers(self, model: str) -> Iterator[LayerSpec]:
        """The layers whose channels are units, in rosinality's order: maps, then colours."""
        for i, (_, out) in enumerate(self.channels[1:]):
            side = 8 << (i // 2)
            yield LayerSpec(model, f"convs.{i}.activate", out, (side, side))
        for i in range(self.blocks):
            side = 8 << i
            yield LayerSpec(model, f"to_rgbs.{i}.conv", self.colours, (side, side))

    def whole(self, model: str) -> Iterator[LayerSpec]:
        """Where maps and picture of a side are both there, and nothing else is passed on."""
        for i in range(self.blocks):
            side = 8 << i
            yield LayerSpec(model, f"drawn.{i}", self.channels[2 * i + 2][1], (side, side))


class UpConv(ModulatedConv):
    """A modulated 3×3 convolution that doubles the side: transposed, then smoothed.

    Args:
        channels: (in, out).
        w_size: entries of w.
        taps: length of the smoothing filter, which sums to two an axis.
    """

    transposed = True
    filter: Tensor

    def __init__(self, channels: tuple[int, int], w_size: int, taps: int) -> None:
        super().__init__(channels, 3, w_size)
        self.register_buffer("filter", torch.empty(taps))
        self.pad = ((taps - 1) // 2, (taps - 2) // 2)

    def convolve(self, maps: Tensor) -> Tensor:
        """[n, in, h, h] → [n, out, 2h, 2h]."""
        maps = functional.conv_transpose2d(maps, self.weight, stride=2)
        # A square filter in one pass: on two cores faster than two passes of one axis, because
        # four taps are too few to pay for a second round trip through memory.
        return resample(maps, torch.outer(self.filter, self.filter), up=1, down=1, pad=self.pad)


class Activate(nn.Module):
    """Fixed noise and bias, leaky ReLU (√2 is in what comes in), clamp.

    Args:
        channels: of the maps.
        side: of the maps.
        clamp: largest magnitude, or None.
        noise: whether the noise maps are added.
    """

    noise: Tensor

    def __init__(self, channels: int, side: int, clamp: float | None, noise: bool) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(channels))
        self.register_buffer("noise", torch.empty(1, 1, side, side))
        self.clamp = clamp
        self.adds_noise = noise

    def forward(self, maps: Tensor) -> Tensor:
        """[n, channels, side, side] → the same, activated; overwrites its input."""
        if self.adds_noise:
            maps += self.noise
        maps += self.bias[:, None, None]
        maps = functional.leaky_relu_(maps, 0.2)
        return maps if self.clamp is None else maps.clamp(-self.clamp, self.clamp)


class StyledConv(nn.Module):
    """A modulated convolution and its activation.

    Args:
        conv: the convolution.
        activate: what follows it.
    """

    def __init__(self, conv: ModulatedConv, activate: Activate) -> None:
        super().__init__()
        self.conv = conv
        self.activate = activate

    def forward(self, maps: Tensor, w: Tensor) -> Tensor:
        """Maps under styles w [n, w_size]."""
        return self.activate(self.conv(maps, w))


class Colour(nn.Module):
    """Bias and clamp of a picture layer, before the coarser picture is added."""

    def __init__(self, colours: int, clamp: float | None) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(colours))
        self.clamp = clamp

    def forward(self, maps: Tensor) -> Tensor:
        """[n, colours, h, w] → the same."""
        maps = maps + self.bias[:, None, None]
        return maps if self.clamp is None else maps.clamp(-self.clamp, self.clamp)


class ToRgb(nn.Module):
    """Maps to a picture, added to the coarser picture at twice its side.

    Args:
        channels: (in, colours).
        w_size: entries of w.
        clamp: largest magnitude of this layer's share, or None.
        taps: length of the filter that smooths the coarser picture (it sums to two an axis); 0 for
            the first layer, which has none.
    """

    filter: Tensor

    def __init__(
        self, channels: tuple[int, int], w_size: int, clamp: float | None, taps: int
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv(channels, 1, w_size, demodulate=False)
        self.colour = Colour(channels[1], clamp)
        self.pad = ((taps + 1) // 2, (taps - 2) // 2)
        if taps:
            self.register_buffer("filter", torch.empty(taps))

    def forward(self, maps: Tensor, w: Tensor, picture: Tensor | None = None) -> Tensor:
        """Maps [n, in, h, h] and the picture [n, colours, h/2, h/2] → [n, colours, h, h]."""
        own = self.colour(self.conv(maps, w))
        if picture is None:
            return own
        return own + resample(picture, self.filter, up=2, down=1, pad=self.pad)


class Drawn(nn.Module):
    """All that has been drawn at one side, as it is: a module so that hooks find it."""

    def forward(self, maps: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [n, channels, h, h] and the picture [n, colours, h, h]."""
        return maps, picture


class StyleGan2Net(StyleNet):
    """The network, for any shape.

    Args:
        shape: of the file.
        noise: whether the noise maps are added.
    """

    def __init__(self, shape: Shape, *, noise: bool = True) -> None:
        embed = nn.Linear(shape.n_classes, shape.embed_size) if shape.n_classes else None
        super().__init__(
            StyleMapping(shape.z_size, shape.mapping, embed, shape.embed_size), (1, shape.w_size)
        )
        w, clamp, taps = shape.w_size, shape.clamp, shape.taps
        (first, *rest) = shape.channels
        self.const = nn.Parameter(torch.empty(1, first[0], 4, 4))
        self.conv1 = StyledConv(
            ModulatedConv(first, 3, w, padding=1), Activate(first[1], 4, clamp, noise)
        )
        self.to_rgb1 = ToRgb((first[1], shape.colours), w, clamp, 0)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        self.drawn = nn.ModuleList()
        for i, channels in enumerate(rest):
            conv = ModulatedConv(channels, 3, w, padding=1) if i % 2 else UpConv(channels, w, taps)
            self.convs.append(StyledConv(conv, Activate(channels[1], 8 << i // 2, clamp, noise)))
            if i % 2:
                self.to_rgbs.append(ToRgb((channels[1], shape.colours), w, clamp, taps))
                self.drawn.append(Drawn())

    def forward(self, ws: Tensor) -> Tensor:
        """w+ [n, n_ws, w_size] → images [n, colours, resolution, resolution]."""
        maps = self.conv1(self.const.expand(len(ws), -1, -1, -1), ws[:, 0])
        picture = self.to_rgb1(maps, ws[:, 1])
        for i, (to_rgb, drawn) in enumerate(zip(self.to_rgbs, self.drawn, strict=True)):
            maps = self.convs[2 * i](maps, ws[:, 2 * i + 1])
            maps = self.convs[2 * i + 1](maps, ws[:, 2 * i + 2])
            maps, picture = drawn(maps, to_rgb(maps, ws[:, 2 * i + 3], picture))
        return picture
