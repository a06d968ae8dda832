"""MobileStyleGAN: faces at 1024 px on a CPU, from two OpenVINO IR graphs read as data.

Knows the network and how its published graphs name and order their constants; runs no OpenVINO.
The graph takes one w for everything; here each modulated layer has its own row of w+, in the order
they run: conv0, then up, conv1 and conv2 of every block, then to_img (23 rows for 7 blocks).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rosetta_ui.errors import BadRequestError, WeightsCorruptError
from rosetta_ui.models.generator import Generator
from rosetta_ui.models.openvino_ir import IrGraph, IrNode
from rosetta_ui.types import LayerSpec, ModelCard, Space

SLOPE = 0.2
GAIN = 2**0.5
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
        x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for linear in self.linears:
            x = functional.leaky_relu(linear(x), SLOPE) * GAIN
        return x


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
        y = functional.conv2d(x, self.weight, self.bias, padding=1) + self.noise
        return functional.leaky_relu(y, SLOPE).contiguous(memory_format=torch.channels_last)


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
        weight = self.depthwise
        if style is not None and x.shape[0] == 1:
            # One image: modulate the small weights, not the large map.
            weight = weight * style.view(-1, 1, 1, 1)
        elif style is not None:
            x = x * style[:, :, None, None]
        x = functional.conv2d(x, weight, padding=1, groups=x.shape[1])
        # As a matrix product on channels-last memory; in place, since each fresh 64 MB map costs
        # more in page faults (24 ms) than the arithmetic on it (2.5 ms).
        y = functional.linear(x.permute(0, 2, 3, 1), self.pointwise)
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
        weight = self.weight * self.modulation(w)[:, None]
        rows = x.permute(0, 2, 3, 1).flatten(1, 2)
        y = torch.baddbmm(self.bias, rows, weight.transpose(1, 2))
        return inverse_haar(y.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)).contiguous()


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
            blocks.append(Block(nn.Linear(n_in, n_out), *convs))
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


class MobileStyleGAN(Generator):
    """The generator over `SynthesisNetwork`; takes z, w and w+."""

    net: SynthesisNetwork

    def __init__(self, card: ModelCard, net: SynthesisNetwork) -> None:
        super().__init__(card, net)
        self.n_ws = net.n_ws
        self.w_size = int(net.w_average.shape[0])
        self.layers = _layers(card.name, net)

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
    tensors = _read_mapping(IrGraph(mapping_xml, mapping_bin))
    tensors["w_average"] = _average_w(tensors)
    tensors.update(_read_synthesis(IrGraph(synthesis_xml, synthesis_bin)))
    facts = {"w_average_samples": W_AVERAGE_SAMPLES, "w_average_seed": W_AVERAGE_SEED}
    return tensors, facts


def _read_mapping(graph: IrGraph) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for i, product in enumerate(graph.of_kind("MatMul")):
        shifted = graph.next(product, "Add")
        reshaped = next(graph.nodes[j] for j in shifted.inputs if graph.nodes[j].kind == "Reshape")
        tensors[f"mapping.linears.{i}.weight"] = _weight(graph, product)
        tensors[f"mapping.linears.{i}.bias"] = _tensor(graph, reshaped).reshape(-1)
        activated = _activation(graph, shifted)
        _expect(graph, graph.next(activated, "Multiply"), GAIN)
    return tensors


def _average_w(tensors: Mapping[str, Tensor]) -> Tensor:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    sizes = [shape for name, shape in shapes.items() if name.endswith("weight")]
    mapping = MappingNetwork([(n_out, n_in) for n_out, n_in in sizes])
    mapping.load_state_dict({k.removeprefix("mapping."): v for k, v in tensors.items()})
    rng = np.random.Generator(np.random.PCG64(W_AVERAGE_SEED))
    z = torch.from_numpy(rng.standard_normal((W_AVERAGE_SAMPLES, sizes[0][1])))
    with torch.inference_mode():
        return mapping.double()(z).mean(0).float().clone()


def _read_synthesis(graph: IrGraph) -> dict[str, Tensor]:
    names = {node.name for node in graph.of_kind("Const")}
    tensors, modulated = _read_modulation(graph, "m.conv1.conv", "conv0.modulation")
    tensors["conv0.constant"] = _tensor(graph, graph.named("m.input.input"))
    convolved = graph.next(modulated, "Convolution")
    tensors["conv0.weight"] = _tensor(graph, convolved)
    tensors |= _read_ending(graph, convolved, "conv0")
    last = -1
    while f"m.layers.{last + 1}.up.modulation.weight" in names:
        last += 1
        up, _ = _read_modulation(graph, f"m.layers.{last}.up", f"layers.{last}.up")
        tensors |= up
        for conv in (f"layers.{last}.conv1", f"layers.{last}.conv2"):
            tensors |= _read_separable(graph, conv)
    image, modulated = _read_modulation(graph, f"m.layers.{last}.to_img.conv", "to_img.modulation")
    convolved = graph.next(modulated, "Convolution")
    image["to_img.weight"] = _tensor(graph, convolved).flatten(1)
    image["to_img.bias"] = _tensor(graph, graph.next(convolved, "Add")).reshape(-1)
    return tensors | image


def _read_modulation(graph: IrGraph, there: str, here: str) -> tuple[dict[str, Tensor], IrNode]:
    """The linear layer of one modulation, its scalar folded in, and the product with the map."""
    product = graph.next(graph.named(f"{there}.modulation.weight"), "MatMul")
    shifted = graph.next(product, "Add")
    weight, bias = _weight(graph, product), _tensor(graph, shifted).reshape(-1)
    modulated = graph.next(graph.next(shifted, "Reshape"), "Multiply")
    if any(graph.nodes[i].kind == "Const" for i in modulated.inputs):
        scale = _tensor(graph, modulated).reshape(())
        weight, bias = weight * scale, bias * scale
        modulated = graph.next(modulated, "Multiply")
    return {f"{here}.weight": weight, f"{here}.bias": bias}, modulated


def _read_separable(graph: IrGraph, name: str) -> dict[str, Tensor]:
    tensors, modulated = _read_modulation(graph, f"m.{name}.conv", f"{name}.modulation")
    depthwise = graph.next(modulated, "GroupConvolution")
    pointwise = graph.next(depthwise, "Convolution")
    tensors[f"{name}.depthwise"] = _tensor(graph, depthwise).squeeze(1)
    tensors[f"{name}.pointwise"] = _tensor(graph, pointwise).flatten(1)
    return tensors | _read_ending(graph, pointwise, name)


def _read_ending(graph: IrGraph, convolved: IrNode, name: str) -> dict[str, Tensor]:
    noisy = graph.next(convolved, "Add")
    shifted = graph.next(noisy, "Add")
    _activation(graph, shifted)
    return {
        f"{name}.noise": _tensor(graph, noisy),
        f"{name}.bias": _tensor(graph, shifted).reshape(-1),
    }


def _activation(graph: IrGraph, node: IrNode) -> IrNode:
    activated = graph.next(node, "PReLU")
    _expect(graph, activated, SLOPE)
    return activated


def _expect(graph: IrGraph, node: IrNode, value: float) -> None:
    found = graph.operand(node)
    if found.size != 1 or abs(found.item() - value) > 1e-6:
        raise WeightsCorruptError(f"'{node.name}' does not hold {value:.4f}, as this network must.")


def _weight(graph: IrGraph, product: IrNode) -> Tensor:
    weight = _tensor(graph, product)
    return weight if product.attributes.get("transpose_b") == "true" else weight.T.contiguous()


def _tensor(graph: IrGraph, node: IrNode) -> Tensor:
    value = graph.constant(node) if node.kind == "Const" else graph.operand(node)
    return torch.from_numpy(value.astype(np.float32))


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


def _modulation(shapes: Mapping[str, tuple[int, ...]]) -> nn.Linear:
    n_out, n_in = shapes["modulation.weight"]
    return nn.Linear(n_in, n_out)


def _parameter(shape: tuple[int, ...]) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape))


def _under(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> dict[str, tuple[int, ...]]:
    dotted = prefix + "."
    return {k.removeprefix(dotted): v for k, v in shapes.items() if k.startswith(dotted)}
