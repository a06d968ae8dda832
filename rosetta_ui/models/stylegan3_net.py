"""The network of StyleGAN3 and StyleGAN-XL, for any shape. Knows no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rosetta_ui.models.filtered import FilteredActivation
from rosetta_ui.models.style_layers import ClassTable, ModulatedConv, StyleNet
from rosetta_ui.models.style_layers import Mapping as StyleMapping
from rosetta_ui.types import LayerSpec


@dataclass(frozen=True)
class LayerShape:
    """One layer after the input.

    Attributes:
        name: as published, such as `L3_52_64`.
        inputs, outputs: channels.
        kernel: side of the convolution's kernel.
        up, down: factors of the resampling around the activation; 1 and 1 for the picture layer.
        up_taps, down_taps: lengths of the filters; 0 for none.
        radial: the filter downwards is one of two axes.
        pad: cells added before and after on the grid that `up` makes.
        clamp: largest magnitude, None for no limit.
        side: of the maps that come out.
        margin: cells a side that lie outside the picture.
    """

    name: str
    inputs: int
    outputs: int
    kernel: int
    up: int
    down: int
    up_taps: int
    down_taps: int
    radial: bool
    pad: tuple[int, int]
    clamp: float | None
    side: int
    margin: int

    @property
    def activates(self) -> bool:
        """Whether it is more than the picture layer, which only mixes channels."""
        return self.up_taps > 0


@dataclass(frozen=True)
class Shape:
    """What a file says about its network.

    Attributes:
        layers: after the input, in the order they run.
        side: of the input's maps.
        rate: sampling rate of the input; the picture spans `rate` of its `side` cells.
        bandwidth: frequencies of the input above it fade out.
        scale: factor on the last layer's output.
        z_size, w_size, n_classes, embed_size: of the mapping; no class is 0.
        mapping: outputs of the mapping's layers.
        class_table: classes are embedded by a table of rows, not by a linear layer.
        means: rows of the mean w: 1, or one a class.
    """

    layers: tuple[LayerShape, ...]
    side: int
    rate: float
    bandwidth: float
    scale: float
    z_size: int
    w_size: int
    n_classes: int
    embed_size: int
    mapping: tuple[int, ...]
    class_table: bool
    means: int

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Shape:
        """Read it back from facts, where tuples have become lists and layers mappings."""
        values: dict[str, Any] = {f.name: facts[f.name] for f in fields(cls)}
        values["mapping"] = tuple(values["mapping"])
        values["layers"] = tuple(
            LayerShape(**dict(layer, pad=tuple(layer["pad"]))) for layer in values["layers"]
        )
        return cls(**values)

    @property
    def resolution(self) -> int:
        """Side of the picture."""
        return self.layers[-1].side

    @property
    def n_ws(self) -> int:
        """Rows of a w+ latent: the input's and one a layer."""
        return len(self.layers) + 1

    def units(self, model: str) -> Iterator[LayerSpec]:
        """The layers whose channels are units: all under `synthesis`, without their margins."""
        margin = round(self.side - self.rate) // 2
        inner = self.side - 2 * margin
        channels = self.layers[0].inputs
        yield LayerSpec(model, "synthesis.input", channels, (inner, inner), margin=margin)
        for layer in self.layers:
            inner = layer.side - 2 * layer.margin
            name = f"synthesis.{layer.name}"
            yield LayerSpec(model, name, layer.outputs, (inner, inner), margin=layer.margin)


class FourierInput(nn.Module):
    """Maps of sine waves, moved and turned by a transform that the first row of w+ gives.

    Args:
        shape: of the network.
    """

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        channels = shape.layers[0].inputs
        self.side, self.rate, self.bandwidth = shape.side, shape.rate, shape.bandwidth
        self.weight = nn.Parameter(torch.empty(channels, channels))
        self.affine = nn.Linear(shape.w_size, 4)
        self.register_buffer("freqs", torch.empty(channels, 2))
        self.register_buffer("phases", torch.empty(channels))
        self.register_buffer("transform", torch.empty(3, 3))

    def forward(self, w: Tensor) -> Tensor:
        """Styles w [n, w_size] → [n, channels, side, side]."""
        placed = self._placement(self.affine(w))
        phases = self.phases + (self.freqs @ placed[:, :2, 2:]).squeeze(2)
        freqs = self.freqs @ placed[:, :2, :2]
        fade = (freqs.norm(dim=2) - self.bandwidth) / (self.rate / 2 - self.bandwidth)
        line = torch.arange(self.side, device=w.device, dtype=w.dtype)
        line = (line + 0.5 - self.side / 2) / self.rate
        # The phase of a cell is a sum over the axes, so each axis is multiplied on its own.
        across = freqs[:, :, 0, None] * line + phases[:, :, None]
        along = freqs[:, :, 1, None] * line
        turns = along[:, :, :, None] + across[:, :, None, :]
        waves = torch.sin(turns * (2 * torch.pi)) * (1 - fade).clamp(0, 1)[:, :, None, None]
        return functional.conv2d(waves, self.weight[:, :, None, None])

    def _placement(self, given: Tensor) -> Tensor:
        """Rotation and translation [n, 4] → rotation · translation · own transform [n, 3, 3]."""
        c, s, x, y = (given / given[:, :2].norm(dim=1, keepdim=True)).unbind(1)
        zero, one = torch.zeros_like(c), torch.ones_like(c)
        turn = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], 1).view(-1, 3, 3)
        move = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], 1).view(-1, 3, 3)
        return turn @ move @ self.transform


class Layer(nn.Module):
    """A modulated convolution and an activation between two filters, which keeps it free of alias.

    Args:
        shape: of the layer.
        w_size: entries of w.
        before: side of the maps that come in.
    """

    def __init__(self, shape: LayerShape, w_size: int, before: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(
            (shape.inputs, shape.outputs),
            shape.kernel,
            w_size,
            demodulate=shape.activates,
            padding=shape.kernel - 1,
            bias=True,
        )
        self.clamp = shape.clamp
        self.activation = None
        if shape.activates:
            self.activation = FilteredActivation(
                before + shape.kernel - 1,
                (shape.up, shape.down),
                (shape.up_taps, shape.down_taps),
                radial=shape.radial,
                pad=shape.pad,
                clamp=shape.clamp,
            )

    def forward(self, maps: Tensor, w: Tensor) -> Tensor:
        """Maps [n, inputs, h, h] under styles w [n, w_size] → [n, outputs, side, side]."""
        maps = self.conv(maps, w)
        if self.activation is not None:
            # √2 is in what comes in.
            return self.activation(maps)
        return maps if self.clamp is None else maps.clamp(-self.clamp, self.clamp)


class Synthesis(nn.Module):
    """The input, then the layers under their published names.

    Args:
        shape: of the network.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input = FourierInput(shape)
        self.names = tuple(layer.name for layer in shape.layers)
        self.scale = shape.scale
        before = shape.side
        for layer in shape.layers:
            self.add_module(layer.name, Layer(layer, shape.w_size, before))
            before = layer.side

    def forward(self, ws: Tensor) -> Tensor:
        """w+ [n, n_ws, w_size] → images [n, 3, resolution, resolution]."""
        maps = self.input(ws[:, 0])
        for i, name in enumerate(self.names):
            maps = self.get_submodule(name)(maps, ws[:, i + 1])
        return maps * self.scale


class StyleGan3Net(StyleNet):
    """The network.

    Args:
        shape: of the file.
    """

    synthesis: Synthesis

    def __init__(self, shape: Shape) -> None:
        embed = None
        if shape.n_classes:
            kind = ClassTable if shape.class_table else nn.Linear
            embed = kind(shape.n_classes, shape.embed_size)
        super().__init__(
            StyleMapping(shape.z_size, shape.mapping, embed, shape.embed_size),
            (shape.means, shape.w_size),
        )
        self.synthesis = Synthesis(shape)

    def forward(self, ws: Tensor) -> Tensor:
        """w+ [n, n_ws, w_size] → images [n, 3, resolution, resolution]."""
        return self.synthesis(ws)
