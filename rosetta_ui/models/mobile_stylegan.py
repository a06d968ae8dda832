"""MobileStyleGAN: faces at 1024 px on a CPU, from two OpenVINO IR graphs read as data.

Knows the network; `mobile_stylegan_graphs` knows how the files name and order its constants.
The published graph takes one w for everything; here each modulated layer has its own row of w+, in
the order they run: conv0, then up, conv1 and conv2 of every block, then to_img (23 rows for 7
blocks).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rosetta_ui.errors import BadRequestError, WeightsCorruptError
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.mobile_stylegan_graphs import GAIN, SLOPE, read_mapping, read_synthesis
from rosetta_ui.models.moving import first_of_each_side
from rosetta_ui.models.openvino_ir import IrGraph
from rosetta_ui.types import LayerSpec, ModelCard, Space

# Products of one image at a time make a picture the same to the last bit in every batch, and lose
# nothing: each map is large. Larger batches than this are only ever mapped to w, never drawn.
ONE_BY_ONE = 64
W_AVERAGE_SAMPLES = 8192
W_AVERAGE_SEED = 0
MEMBERS = (
    "MappingNetwork.xml",
    "MappingNetwork.bin",
    "SynthesisNetwork.xml",
    "SynthesisNetwork.bin",
)


class MappingNetwork(nn.Module):
    """z → w: normalise, then linear layers with leaky ReLU and a gain of √2.

    Args:
        sizes: (out, in) of each layer.
    """

    def __init__(self, sizes: list[tuple[int, int]]) -> None:
        super().__init__()
        self.linears = nn.ModuleList([nn.Linear(n_in, n_out) for n_out, n_in in sizes])

    def forward(self, z: Tensor) -> Tensor:
        """[n, latent] → [n, w]."""
        if 1 < len(z) <= ONE_BY_ONE:
            return torch.cat([self(row) for row in z.split(1)])
        x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for linear in self.linears:
            x = functional.leaky_relu(linear(x), SLOPE) * GAIN
        return x


class Modulation(nn.Linear):
    """w → one factor a channel, each image on its own."""

    def forward(self, input: Tensor) -> Tensor:
        """[n, w] → [n, channels]."""
        return torch.cat([super(Modulation, self).forward(row) for row in input.split(1)])


class ConstantConv(nn.Module):
    """The first layer: a constant picture, modulated, through one full 3 × 3 convolution."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.modulation = _modulation(shapes)
        self.constant = _parameter(shapes["constant"])
        self.weight = _parameter(shapes["weight"])
        self.noise = _parameter(shapes["noise"])
        self.bias = _parameter(shapes["bias"])

    def forward(self, w: Tensor) -> Tensor:
        """[n, w] → [n, c, 4, 4], after the activation."""
        x = self.constant * self.modulation(w)[:, :, None, None]
        rows = [functional.conv2d(row, self.weight, self.bias, padding=1) for row in x.split(1)]
        y = functional.leaky_relu(torch.cat(rows) + self.noise, SLOPE)
        return y.contiguous(memory_format=torch.channels_last)


class SeparableConv(nn.Module):
    """A depthwise 3 × 3 and a pointwise convolution, stored noise, bias, leaky ReLU."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.modulation = _modulation(shapes)
        self.depthwise = _parameter(shapes["depthwise"])
        self.pointwise = _parameter(shapes["pointwise"])
        self.noise = _parameter(shapes["noise"])
        self.bias = _parameter(shapes["bias"])

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """[n, c, h, w] → [n, width, h, w], after the activation, channels last in memory.

        Args:
            x: the layer's input.
            style: [n, c], this layer's modulation; None where it is already in x.
        """
        n, c = x.shape[:2]
        # Modulate the small weights, not the large map.
        filters = (
            [self.depthwise] * n
            if style is None
            else [self.depthwise * factors.view(-1, 1, 1, 1) for factors in style]
        )
        filtered = (
            functional.conv2d(row, weight, padding=1, groups=c).permute(0, 2, 3, 1)
            for row, weight in zip(x.split(1), filters, strict=True)
        )
        # In place, since each fresh 64 MB map costs more in page faults (24 ms) than the arithmetic
        # on it (2.5 ms).
        y = _products(filtered, [self.pointwise] * n)
        y = y.add_(self.noise.view(*y.shape[1:3], 1)).add_(self.bias)
        return functional.leaky_relu_(y, SLOPE).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Twice the side: modulate, inverse Haar transform, two separable convolutions."""

    def __init__(self, up: nn.Module, conv1: SeparableConv, conv2: SeparableConv) -> None:
        super().__init__()
        self.up = up
        self.conv1 = conv1
        self.conv2 = conv2

    def forward(self, x: Tensor, ws: Tensor) -> Tensor:
        """[n, c, h, w] and [n, 3, w] → [n, width, 2h, 2w]."""
        style = self.conv1.modulation(ws[:, 1])
        # The transform keeps channels apart, so conv1's modulation joins up's before it.
        scale = self.up(ws[:, 0]) * torch.cat([style, style.repeat_interleave(3, 1)], 1)
        x = self.conv1(inverse_haar(x * scale[:, :, None, None]))
        return self.conv2(x, self.conv2.modulation(ws[:, 2]))


class ToImage(nn.Module):
    """The last layer: modulate, 1 × 1 to 12 channels, inverse Haar transform to RGB."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.modulation = _modulation(shapes)
        self.weight = _parameter(shapes["weight"])
        self.bias = _parameter(shapes["bias"])

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[n, c, h, w] and [n, w] → [n, 3, 2h, 2w]."""
        # Modulate the 12 × c weights of each image, not its map, which is the largest of all.
        weights = [self.weight * factors for factors in self.modulation(w)]
        y = _products((row.permute(0, 2, 3, 1) for row in x.split(1)), weights).add_(self.bias)
        return inverse_haar(y.permute(0, 3, 1, 2)).contiguous()


class SynthesisNetwork(nn.Module):
    """w+ → picture. Also carries the mapping network and the mean w.

    Args:
        shapes: tensor name → shape, as `convert` names them.
    """

    w_average: Tensor

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        sizes: list[tuple[int, int]] = []
        while (key := f"mapping.linears.{len(sizes)}.weight") in shapes:
            n_out, n_in = shapes[key]
            sizes.append((n_out, n_in))
        self.mapping = MappingNetwork(sizes)
        self.register_buffer("w_average", torch.empty(shapes["w_average"]))
        self.conv0 = ConstantConv(_under(shapes, "conv0"))
        blocks: list[nn.Module] = []
        while (prefix := f"layers.{len(blocks)}") + ".up.weight" in shapes:
            n_out, n_in = shapes[f"{prefix}.up.weight"]
            convs = [SeparableConv(_under(shapes, f"{prefix}.conv{k}")) for k in (1, 2)]
            blocks.append(Block(Modulation(n_in, n_out), *convs))
        self.layers = nn.ModuleList(blocks)
        self.to_img = ToImage(_under(shapes, "to_img"))

    @property
    def n_ws(self) -> int:
        """Rows of w+: one a modulated layer."""
        return 2 + 3 * len(self.layers)

    def forward(self, ws: Tensor) -> Tensor:
        """[n, n_ws, w] → [n, 3, H, W]."""
        x = self.conv0(ws[:, 0])
        for i, block in enumerate(self.layers):
            x = block(x, ws[:, 1 + 3 * i : 4 + 3 * i])
        return self.to_img(x, ws[:, -1])


def inverse_haar(x: Tensor) -> Tensor:
    """Undo one level of the orthonormal Haar transform.

    Args:
        x: [n, 4c, h, w]: the c low-pass channels, then LH, HL, HH of each channel in turn.

    Returns:
        [n, c, 2h, 2w], channels last in memory.
    """
    n, c, h, w = x.shape
    y = x.permute(0, 2, 3, 1)
    low = y[..., : c // 4]
    horizontal, vertical, diagonal = y[..., c // 4 :].unflatten(-1, (c // 4, 3)).unbind(-1)
    low = low * 0.5
    top, bottom = torch.add(low, horizontal, alpha=0.5), torch.sub(low, horizontal, alpha=0.5)
    plus, minus = vertical + diagonal, vertical - diagonal
    rows = [
        torch.stack([torch.add(edge, side, alpha=0.5), torch.sub(edge, side, alpha=0.5)], 3)
        for edge, side in ((top, plus), (bottom, minus))
    ]
    return torch.stack(rows, 2).reshape(n, 2 * h, 2 * w, c // 4).permute(0, 3, 1, 2)


def _products(rows: Iterable[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Each image's [1, h, w, c] times its [width, c] → [n, h, w, width]."""
    if torch.is_grad_enabled():
        return torch.cat([functional.linear(x, w) for x, w in zip(rows, weights, strict=True)])
    out = torch.empty(0)
    for i, (x, weight) in enumerate(zip(rows, weights, strict=True)):
        if i == 0:
            # One tensor for the batch, written image by image: no copy of a map is ever made.
            out = x.new_empty(len(weights), *x.shape[1:3], weight.shape[0])
        torch.mm(x.flatten(0, 2), weight.T, out=out[i].flatten(0, 1))
    return out


class MobileStyleGAN(Generator):
    """The generator over `SynthesisNetwork`; takes z, w and w+."""

    net: SynthesisNetwork

    def __init__(self, card: ModelCard, net: SynthesisNetwork) -> None:
        super().__init__(card, net)
        self.n_ws = net.n_ws
        self.w_size = int(net.w_average.shape[0])
        self.layers = _layers(card.name, net)
        self.movable = first_of_each_side(self.layers, card.image_size[0])

    def to_w(self, z: Tensor, *, class_index: int | None = None, psi: float = 1.0) -> Tensor:
        """Map z [n, latent] to w+ [n, n_ws, w], drawn towards the mean w by psi."""
        self.check_class(class_index)
        w = torch.lerp(self.net.w_average, self.net.mapping(z), psi)
        return w[:, None].expand(-1, self.n_ws, -1)

    def synthesise_from(
        self, values: Tensor, space: Space, *, class_index: int | None = None, psi: float = 1.0
    ) -> Tensor:
        """Draw images; see `Generator.synthesise_from`."""
        self.check_class(class_index)
        if space == "z":
            return self.net(self.to_w(values, psi=psi))
        ws = values[:, None].expand(-1, self.n_ws, -1) if space == "w" else values
        if tuple(ws.shape[1:]) != (self.n_ws, self.w_size):
            raise BadRequestError(
                f"'{self.card.name}' got {space} of shape {tuple(values.shape)}.",
                f"Give w as n × {self.w_size} or w+ as n × {self.n_ws} × {self.w_size}.",
            )
        return self.net(ws)


def load(card: ModelCard, tensors: Mapping[str, Tensor]) -> MobileStyleGAN:
    """Build the generator from converted tensors.

    Raises:
        WeightsCorruptError: tensors are missing or surplus, or a shape differs.
    """
    try:
        with torch.device("meta"):
            net = SynthesisNetwork({name: tuple(tensor.shape) for name, tensor in tensors.items()})
        net.load_state_dict(dict(tensors), strict=True, assign=True)
    except (KeyError, RuntimeError) as error:
        raise WeightsCorruptError(f"The weights of '{card.name}' do not fit: {error}.") from error
    return MobileStyleGAN(card, net)


def convert(
    files: Mapping[str, bytes], card: ModelCard
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the two graphs as data; nothing in them is run.

    Args:
        files: file name, with or without folders → content; `MEMBERS` are used.
        card: of the model, for its name in errors.

    Returns:
        Tensors of `SynthesisNetwork`, and how the mean w was drawn.

    Raises:
        WeightsCorruptError: a file is missing, or a graph is not built as expected.
    """
    content = {PurePosixPath(name).name: data for name, data in files.items()}
    if missing := [name for name in MEMBERS if name not in content]:
        raise WeightsCorruptError(f"The files of '{card.name}' lack {', '.join(missing)}.")
    mapping_xml, mapping_bin, synthesis_xml, synthesis_bin = (content[name] for name in MEMBERS)
    tensors = read_mapping(IrGraph(mapping_xml, mapping_bin))
    tensors["w_average"] = _average_w(tensors)
    tensors.update(read_synthesis(IrGraph(synthesis_xml, synthesis_bin)))
    facts = {"w_average_samples": W_AVERAGE_SAMPLES, "w_average_seed": W_AVERAGE_SEED}
    return tensors, facts


def _average_w(tensors: Mapping[str, Tensor]) -> Tensor:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    sizes = [shape for name, shape in shapes.items() if name.endswith("weight")]
    mapping = MappingNetwork([(n_out, n_in) for n_out, n_in in sizes])
    mapping.load_state_dict({k.removeprefix("mapping."): v for k, v in tensors.items()})
    rng = np.random.Generator(np.random.PCG64(W_AVERAGE_SEED))
    z = torch.from_numpy(rng.standard_normal((W_AVERAGE_SAMPLES, sizes[0][1])))
    with torch.inference_mode():
        return mapping.double()(z).mean(0).float().clone()


def _layers(model: str, net: SynthesisNetwork) -> tuple[LayerSpec, ...]:
    """conv0, then conv1 and conv2 of every block, each after its activation."""
    convs = {"conv0": net.conv0} | {
        f"layers.{i}.{name}": block.get_submodule(name)
        for i, block in enumerate(net.layers)
        for name in ("conv1", "conv2")
    }
    specs: list[LayerSpec] = []
    for name, conv in convs.items():
        height, width = conv.get_parameter("noise").shape[-2:]
        channels = conv.get_parameter("bias").shape[0]
        specs.append(LayerSpec(model, name, int(channels), (int(height), int(width))))
    return tuple(specs)


def _modulation(shapes: Mapping[str, tuple[int, ...]]) -> Modulation:
    n_out, n_in = shapes["modulation.weight"]
    return Modulation(n_in, n_out)


def _parameter(shape: tuple[int, ...]) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape))


def _under(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> dict[str, tuple[int, ...]]:
    dotted = prefix + "."
    return {k.removeprefix(dotted): v for k, v in shapes.items() if k.startswith(dotted)}
