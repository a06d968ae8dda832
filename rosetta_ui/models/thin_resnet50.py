"""A ResNet-50 of half the width (open_nsfw), its norms folded into its convolutions.

Knows the network and its published ONNX graph; what the graph rates pictures with is dropped. The
file takes BGR, height × width × 3, minus a mean; here the first convolution takes RGB planes, so
the card's mean and deviation are those of every other backbone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rosetta_ui.errors import WeightsCorruptError
from rosetta_ui.models.backbone import Backbone
from rosetta_ui.models.onnx_graph import OnnxGraph, OnnxNode
from rosetta_ui.types import LayerSpec, ModelCard

DEPTHS = (3, 4, 6, 3)
EXPANSION = 4


class Bottleneck(nn.Module):
    """1 × 1, 3 × 3 and 1 × 1 convolutions beside a shortcut; the first one strides, as in Caffe."""

    def __init__(self, n_in: int, width: int, stride: int, *, projects: bool) -> None:
        super().__init__()
        n_out = width * EXPANSION
        self.conv1 = nn.Conv2d(n_in, width, 1, stride)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv3 = nn.Conv2d(width, n_out, 1)
        self.shortcut = nn.Conv2d(n_in, n_out, 1, stride) if projects else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[n, n_in, h, w] → [n, 4 * width, h / stride, w / stride], after the activation."""
        y = functional.relu(self.conv1(x))
        y = functional.relu(self.conv2(y))
        return functional.relu(self.conv3(y) + self.shortcut(x))


class ThinResNet50(nn.Module):
    """Stem and four stages; the output is the last stage's map.

    Args:
        stem: channels after the first convolution.
        width: of the first stage's bottlenecks; doubled at every later stage.
    """

    def __init__(self, stem: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 7, 2, padding=3)
        n_in = stem
        stages: list[nn.Sequential] = []
        for stage, depth in enumerate(DEPTHS):
            size = width << stage
            blocks: list[Bottleneck] = []
            for i in range(depth):
                stride = 2 if stage > 0 and i == 0 else 1
                blocks.append(Bottleneck(n_in, size, stride, projects=i == 0))
                n_in = size * EXPANSION
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, x: Tensor) -> Tensor:
        """[n, 3, h, w], RGB 0 to 255 minus the mean → [n, 32 * width, h / 32, w / 32]."""
        x = functional.relu(self.conv1(x))
        # The file pads one cell at the right and bottom only, by copying the edge.
        x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def convolutions(self) -> Iterator[tuple[str, nn.Conv2d]]:
        """Name and module of every convolution, in the published graph's order."""
        yield "conv1", self.conv1
        for name, module in self.named_modules():
            if isinstance(module, Bottleneck):
                for part in ("conv1", "conv2", "shortcut", "conv3"):
                    child = module.get_submodule(part)
                    if isinstance(child, nn.Conv2d):
                        yield f"{name}.{part}", child


def load(card: ModelCard, tensors: Mapping[str, Tensor]) -> Backbone:
    """Build the backbone; its layers are `layer1` to `layer4`, after their last activation.

    Raises:
        WeightsCorruptError: tensors are missing or surplus, or a shape differs.
    """
    net = _empty(tensors)
    try:
        net.load_state_dict(dict(tensors), strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsCorruptError(f"The weights of '{card.name}' do not fit: {error}") from error
    width = net.layer1.get_submodule("0.conv1").get_parameter("bias").shape[0]
    height, wide = card.image_size
    layers = tuple(
        LayerSpec(
            card.name, f"layer{i}", (width << (i - 1)) * EXPANSION, (height >> i + 1, wide >> i + 1)
        )
        for i in range(1, 5)
    )
    return Backbone(card, net, layers)


def convert(
    files: Mapping[str, bytes], card: ModelCard
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the convolutions out of the graph and fold what follows each into it, in float64.

    Args:
        files: one ONNX file.
        card: of the model, for its name in errors.

    Raises:
        WeightsCorruptError: the graph is not a ResNet-50 of this layout.
    """
    (content,) = files.values()
    graph = OnnxGraph(content)
    nodes = graph.of_kind("Conv")
    folded = [_folded(graph, node) for node in nodes]
    if len(nodes) < 2:
        raise WeightsCorruptError(f"The graph of '{card.name}' has {len(nodes)} convolutions.")
    with torch.device("meta"):
        net = ThinResNet50(len(folded[0][1]), len(folded[1][1]))
    slots = list(net.convolutions())
    if len(slots) != len(nodes):
        raise WeightsCorruptError(
            f"The graph of '{card.name}' has {len(nodes)} convolutions, not {len(slots)}."
        )
    tensors: dict[str, Tensor] = {}
    for (name, conv), node, (weight, bias) in zip(slots, nodes, folded, strict=True):
        if weight.shape != tuple(conv.weight.shape) or node.attributes["strides"] != [*conv.stride]:
            raise WeightsCorruptError(
                f"'{node.name}' of '{card.name}' is {weight.shape} at stride "
                f"{node.attributes['strides']}, but {name} is {tuple(conv.weight.shape)} at "
                f"{[*conv.stride]}."
            )
        tensors[f"{name}.weight"] = torch.from_numpy(weight.astype(np.float32))
        tensors[f"{name}.bias"] = torch.from_numpy(bias.astype(np.float32))
    # BGR → RGB.
    tensors["conv1.weight"] = tensors["conv1.weight"].flip(1).contiguous()
    return tensors, {}


def _empty(tensors: Mapping[str, Tensor]) -> ThinResNet50:
    try:
        stem = tensors["conv1.bias"].shape[0]
        width = tensors["layer1.0.conv1.bias"].shape[0]
    except KeyError as error:
        raise WeightsCorruptError(f"The weights lack {error}.") from error
    with torch.device("meta"):
        return ThinResNet50(stem, width)


def _folded(graph: OnnxGraph, conv: OnnxNode) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weight and bias of a convolution with the bias and norm that follow it, in float64."""
    weight = graph.constant(conv.inputs[1]).astype(np.float64)
    bias = np.zeros(weight.shape[0])
    node = graph.next_active(conv)
    while node is not None and node.kind in ("Add", "Sub", "Mul"):
        if not any(graph.is_constant(name) for name in node.inputs):
            break  # the sum with the shortcut
        operand = graph.operand(node).astype(np.float64).reshape(-1)
        if node.kind == "Mul":
            weight, bias = weight * operand[:, None, None, None], bias * operand
        elif node.kind == "Add":
            bias = bias + operand
        else:
            bias = bias - operand
        node = graph.next_active(node)
    return weight, bias
