"""The network of Projected GAN's FastGAN generator, for any shape. Knows no file.

Spectral norms and batch norms are folded into the convolutions beforehand. Modules carry the names
of the published network, so `synthesis.feat_8.4` is its output after the first gate at 8 px.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rosetta_ui.models.doubling import DoublingConv
from rosetta_ui.models.style_layers import normalise
from rosetta_ui.types import LayerSpec

# The published network lets the maps of these sides gate those of sixteen times the side.
_GATING = {64: 4, 128: 8, 256: 16, 512: 32}


@dataclass(frozen=True)
class Shape:
    """What a file says about its network.

    Attributes:
        z_size: entries of z.
        widths: channels at 4 px, 8 px and so on.
        deep: for every side from 8 px, whether its block has a second convolution and noise.
        colours: channels of the picture.
    """

    z_size: int
    widths: tuple[int, ...]
    deep: tuple[bool, ...]
    colours: int

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Shape:
        """Read it back from facts, where tuples have become lists."""
        values: dict[str, Any] = {f.name: facts[f.name] for f in fields(cls)}
        values["widths"], values["deep"] = tuple(values["widths"]), tuple(values["deep"])
        return cls(**values)

    @property
    def resolution(self) -> int:
        """Side of the picture."""
        return 4 << len(self.deep)

    def gates(self) -> Iterator[tuple[int, int]]:
        """(side, index of its width) of every side whose maps are gated by smaller ones."""
        for i in range(1, len(self.widths)):
            if 4 << i in _GATING:
                yield 4 << i, i

    def layers(self, model: str) -> Iterator[LayerSpec]:
        """The layers whose channels are units: the outputs of the gated linear units."""
        yield LayerSpec(model, "synthesis.init.init.2", self.widths[0], (4, 4))
        for i, deep in enumerate(self.deep):
            side = 8 << i
            for place in ("4", "8") if deep else ("3",):
                name = f"synthesis.feat_{side}.{place}"
                yield LayerSpec(model, name, self.widths[i + 1], (side, side))

    def whole(self, model: str) -> Iterator[LayerSpec]:
        """The blocks, each of which draws all that there is at its side."""
        for i in range(len(self.deep)):
            side = 8 << i
            yield LayerSpec(model, f"synthesis.feat_{side}", self.widths[i + 1], (side, side))


class FixedNoise(nn.Module):
    """One noise map for every image, times a strength for each channel.

    The published network draws new noise at every call, so that its pictures never repeat.

    Args:
        channels: of the maps.
        side: of the maps.
    """

    noise: Tensor

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.empty(channels))
        self.register_buffer("noise", torch.empty(1, 1, side, side))

    def forward(self, maps: Tensor) -> Tensor:
        """[n, channels, side, side] → the same."""
        return torch.addcmul(maps, self.noise, self.strength[:, None, None])


class Block(nn.Sequential):
    """Doubles the side, convolves and gates, once or twice.

    Args:
        inputs: channels in.
        outputs: channels out.
        side: of the maps that come out.
        deep: twice, with noise.
    """

    def __init__(self, inputs: int, outputs: int, side: int, deep: bool) -> None:
        super().__init__()
        wide = 2 * outputs
        self.add_module("1", DoublingConv(inputs, wide, side // 2))
        if deep:
            self.add_module("2", FixedNoise(wide, side))
            self.add_module("4", nn.GLU(1))
            self.add_module("5", nn.Conv2d(outputs, wide, 3, padding=1))
            self.add_module("6", FixedNoise(wide, side))
        self.add_module("8" if deep else "3", nn.GLU(1))


class Gate(nn.Module):
    """Weights for the channels of large maps, from small maps.

    Args:
        inputs: channels of the small maps.
        outputs: channels of the large maps.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 4, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 1, bias=False)

    def forward(self, small: Tensor, large: Tensor) -> Tensor:
        """Small [n, inputs, h, w] and large maps [n, outputs, H, W] → large maps."""
        pooled = functional.silu(self.first(functional.adaptive_avg_pool2d(small, 4)))
        return large * torch.sigmoid(self.second(pooled))


class First(nn.Module):
    """From z to maps of 4 px.

    Args:
        z_size: entries of z.
        channels: of the maps.
    """

    def __init__(self, z_size: int, channels: int) -> None:
        super().__init__()
        self.init = nn.Sequential()
        self.init.add_module("0", nn.ConvTranspose2d(z_size, 2 * channels, 4))
        self.init.add_module("2", nn.GLU(1))

    def forward(self, z: Tensor) -> Tensor:
        """[n, z_size] → [n, channels, 4, 4]."""
        return self.init(z[:, :, None, None])


class Synthesis(nn.Module):
    """From z to the picture.

    Args:
        shape: of the network.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        widths = shape.widths
        self.n_blocks = len(shape.deep)
        self.init = First(shape.z_size, widths[0])
        for i, deep in enumerate(shape.deep):
            side = 8 << i
            self.add_module(f"feat_{side}", Block(widths[i], widths[i + 1], side, deep))
        for side, i in shape.gates():
            self.add_module(f"se_{side}", Gate(widths[i - 4], widths[i]))
        self.to_big = nn.Conv2d(widths[-1], shape.colours, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Z [n, z_size] → images [n, 3, h, w]."""
        return self.walk(z, lambda block, maps: block(maps))

    def walk(self, z: Tensor, run: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
        """The same with something else in place of calling a block."""
        maps = self.init(normalise(z))
        seen = {4: maps}
        for i in range(self.n_blocks):
            side = 8 << i
            maps = run(self.get_submodule(f"feat_{side}"), maps)
            if side in _GATING:
                maps = self.get_submodule(f"se_{side}")(seen[_GATING[side]], maps)
            seen[side] = maps
        return self.to_big(maps)


class FastGanNet(nn.Module):
    """The network.

    Args:
        shape: of the file.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.synthesis = Synthesis(shape)

    def forward(self, z: Tensor) -> Tensor:
        """Z [n, z_size] → images [n, 3, h, w]."""
        return self.synthesis(z)
