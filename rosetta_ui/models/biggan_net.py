"""The network of BigGAN-deep, for any shape. Knows no file: `biggan` brings it its tensors.

Spectral norms are divided out of the weights beforehand (they never change at evaluation), and the
rows of `gen_z` are in channels-first order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rosetta_ui.models.doubling import DoublingConv
from rosetta_ui.types import LayerSpec


@dataclass(frozen=True)
class Shape:
    """What a file says about its network.

    Attributes:
        blocks: (doubles the side, in, middle, out) of every block in the order they run.
        attention: number of blocks before the attention; -1 for none.
        z_size, n_classes, embed_size: of z and of the class that is embedded beside it.
        n_stats: sets of norm statistics, for truncations from 0 to 1.
        eps: of the norms.
        colours: outputs of the last convolution; the picture is the first three.
    """

    blocks: tuple[tuple[bool, int, int, int], ...]
    attention: int
    z_size: int
    n_classes: int
    embed_size: int
    n_stats: int
    eps: float
    colours: int

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Shape:
        """Read it back from facts, where tuples have become lists."""
        values = {f.name: facts[f.name] for f in fields(cls)}
        values["blocks"] = tuple(
            (bool(up), int(a), int(m), int(b)) for up, a, m, b in values["blocks"]
        )
        return cls(**values)

    @property
    def resolution(self) -> int:
        """Side of the picture."""
        return 4 << sum(up for up, *_ in self.blocks)

    def layers(self, model: str) -> Iterator[LayerSpec]:
        """The layers whose channels are units: every module with "conv" in its name."""
        side, at = 4, 0
        for i, (up, inputs, middle, out) in enumerate(self.blocks):
            if i == self.attention:
                parts = {"theta": inputs // 8, "phi": inputs // 8, "g": inputs // 2}
                for part, channels in {**parts, "o_conv": inputs}.items():
                    name = f"generator.layers.{at}.snconv1x1_{part}"
                    yield LayerSpec(model, name, channels, (side, side))
                at += 1
            for k, channels in enumerate((middle, middle, middle, out)):
                side = 2 * side if up and k == 1 else side
                yield LayerSpec(model, f"generator.layers.{at}.conv_{k}", channels, (side, side))
            at += 1
        yield LayerSpec(model, "generator.conv_to_rgb", self.colours, (side, side))

    def whole(self, model: str) -> Iterator[LayerSpec]:
        """The blocks, each of which draws all that there is at its side."""
        side = 4
        for i, (up, _, _, out) in enumerate(self.blocks):
            side = 2 * side if up else side
            at = i + (0 <= self.attention <= i)
            yield LayerSpec(model, f"generator.layers.{at}", out, (side, side))


class Truncation:
    """Which norm statistics a truncation selects.

    Args:
        truncation: 0 to 1.
        n_stats: how many sets there are.
    """

    def __init__(self, truncation: float, n_stats: int) -> None:
        step = 1.0 / (n_stats - 1)
        self.share, whole = math.modf(truncation / step)
        self.index = int(whole)

    def of(self, stats: Tensor) -> Tensor:
        """[n_stats, c] → [c].

        The weights of the two neighbours look reversed; the published network has them so, and its
        pictures depend on it (0.3 of their deviation).
        """
        if self.share == 0:
            return stats[self.index]
        return stats[self.index] * self.share + stats[self.index + 1] * (1 - self.share)


class Norm(nn.Module):
    """A batch norm with statistics chosen by truncation.

    Args:
        channels: of the maps.
        shape: of the network.
        conditional: scale and offset come from the condition; else they are stored.
    """

    running_means: Tensor
    running_vars: Tensor

    def __init__(self, channels: int, shape: Shape, *, conditional: bool = True) -> None:
        super().__init__()
        self.register_buffer("running_means", torch.empty(shape.n_stats, channels))
        self.register_buffer("running_vars", torch.empty(shape.n_stats, channels))
        self.eps = shape.eps
        self.conditional = conditional
        if conditional:
            size = shape.z_size + shape.embed_size
            self.scale = nn.Linear(size, channels, bias=False)
            self.offset = nn.Linear(size, channels, bias=False)
        else:
            self.weight = nn.Parameter(torch.empty(channels))
            self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, maps: Tensor, condition: Tensor, truncation: Truncation) -> Tensor:
        """Normalise maps [n, channels, h, w] and cut off what is below zero."""
        mean, var = truncation.of(self.running_means), truncation.of(self.running_vars)
        if self.conditional:
            weight, bias = 1 + self.scale(condition), self.offset(condition)
        else:
            weight, bias = self.weight.unsqueeze(0), self.bias.unsqueeze(0)
        factor = weight * torch.rsqrt(var + self.eps)
        shift = bias - mean * factor
        # One pass for scale and shift; the input may be somebody's tapped map: never overwrite it.
        maps = torch.addcmul(shift[:, :, None, None], maps, factor[:, :, None, None])
        return functional.relu_(maps)


class Block(nn.Module):
    """1×1, 3×3, 3×3, 1×1, each after a norm, beside a shortcut that drops channels.

    Args:
        up: double the side before the second convolution.
        channels: (in, middle, out).
        side: of the maps that come in.
        shape: of the network.
    """

    def __init__(self, up: bool, channels: tuple[int, int, int], side: int, shape: Shape) -> None:
        super().__init__()
        inputs, middle, self.out = channels
        self.up = up
        self.bn_0 = Norm(inputs, shape)
        self.conv_0 = nn.Conv2d(inputs, middle, 1)
        self.bn_1 = Norm(middle, shape)
        self.conv_1 = (
            DoublingConv(middle, middle, side) if up else nn.Conv2d(middle, middle, 3, padding=1)
        )
        self.bn_2 = Norm(middle, shape)
        self.conv_2 = nn.Conv2d(middle, middle, 3, padding=1)
        self.bn_3 = Norm(middle, shape)
        self.conv_3 = nn.Conv2d(middle, self.out, 1)

    def forward(self, maps: Tensor, condition: Tensor, truncation: Truncation) -> Tensor:
        """[n, in, h, w] → [n, out, h or 2h, w or 2w]."""
        deep = self.conv_0(self.bn_0(maps, condition, truncation))
        deep = self.conv_1(self.bn_1(deep, condition, truncation))
        deep = self.conv_2(self.bn_2(deep, condition, truncation))
        deep = self.conv_3(self.bn_3(deep, condition, truncation))
        short = maps[:, : self.out]
        if not self.up:
            return deep + short
        n, c, height, width = short.shape
        # Adding each cell to its 2×2 block spares the doubled copy.
        blocks = deep.view(n, c, height, 2, width, 2) + short[:, :, :, None, :, None]
        return blocks.view(deep.shape)


class Attention(nn.Module):
    """Self-attention over positions, with keys and values pooled 2×2.

    Args:
        channels: of the maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.snconv1x1_theta = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.snconv1x1_phi = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.snconv1x1_g = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.snconv1x1_o_conv = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.empty(1))

    def forward(self, maps: Tensor, _condition: Tensor, _truncation: Truncation) -> Tensor:
        """[n, channels, h, w] → the same."""
        queries = self.snconv1x1_theta(maps).flatten(2)
        keys = functional.max_pool2d(self.snconv1x1_phi(maps), 2).flatten(2)
        values = functional.max_pool2d(self.snconv1x1_g(maps), 2).flatten(2)
        weights = torch.softmax(queries.transpose(1, 2) @ keys, 2)
        seen = (values @ weights.transpose(1, 2)).view(len(maps), -1, *maps.shape[2:])
        return maps + self.gamma * self.snconv1x1_o_conv(seen)


class Trunk(nn.Module):
    """From the condition to the picture.

    Args:
        shape: of the network.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        first = shape.blocks[0][1]
        self.gen_z = nn.Linear(shape.z_size + shape.embed_size, first * 16)
        self.layers = nn.ModuleList()
        side = 4
        for i, (up, inputs, middle, out) in enumerate(shape.blocks):
            if i == shape.attention:
                self.layers.append(Attention(inputs))
            self.layers.append(Block(up, (inputs, middle, out), side, shape))
            side = 2 * side if up else side
        last = shape.blocks[-1][3]
        self.bn = Norm(last, shape, conditional=False)
        self.conv_to_rgb = nn.Conv2d(last, shape.colours, 3, padding=1)

    def forward(self, condition: Tensor, truncation: Truncation) -> Tensor:
        """Condition [n, z and embedding] → images [n, 3, h, w] in [-1, 1]."""
        maps = self.gen_z(condition).view(len(condition), -1, 4, 4)
        for layer in self.layers:
            maps = layer(maps, condition, truncation)
        maps = self.bn(maps, condition, truncation)
        conv = self.conv_to_rgb
        if conv._forward_hooks:  # pyright: ignore[reportPrivateUsage]
            return torch.tanh(conv(maps)[:, :3])
        # Nobody reads its other 125 channels: they are two fifths of the whole network's work.
        bias = None if conv.bias is None else conv.bias[:3]
        return torch.tanh(functional.conv2d(maps, conv.weight[:3], bias, padding=1))


class BigGanNet(nn.Module):
    """The network.

    Args:
        shape: of the file.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.n_stats = shape.n_stats
        self.embeddings = nn.Linear(shape.n_classes, shape.embed_size, bias=False)
        self.generator = Trunk(shape)

    def condition(self, z: Tensor, classes: Tensor) -> Tensor:
        """Z [n, z_size] and class weights [n, n_classes] to [n, z_size + embed_size]."""
        return torch.cat([z, self.embeddings(classes)], 1)

    def forward(self, condition: Tensor, truncation: float) -> Tensor:
        """Condition → images [n, 3, h, w] in [-1, 1]."""
        return self.generator(condition, Truncation(truncation, self.n_stats))
