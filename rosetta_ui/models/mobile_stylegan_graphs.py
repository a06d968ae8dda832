"""How MobileStyleGAN's two published OpenVINO graphs name, order and scale their constants.

Matrices of modulations and depthwise filters have names; pointwise filters, noise maps and scalars
do not, and are found by walking on from those that do. Scalars are folded into what they scale.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rosetta_ui.errors import WeightsCorruptError
from rosetta_ui.models.openvino_ir import IrGraph, IrNode

SLOPE = 0.2
GAIN = 2**0.5


def read_mapping(graph: IrGraph) -> dict[str, Tensor]:
    """Weights and biases of the mapping network, as `mapping.linears.0.weight` and so on.

    Raises:
        WeightsCorruptError: the graph is not built as expected.
    """
    tensors: dict[str, Tensor] = {}
    for i, product in enumerate(graph.of_kind("MatMul")):
        shifted = graph.next(product, "Add")
        reshaped = next(graph.nodes[j] for j in shifted.inputs if graph.nodes[j].kind == "Reshape")
        bias = graph.nodes[reshaped.inputs[0]]
        tensors[f"mapping.linears.{i}.weight"] = _weight(graph, product)
        tensors[f"mapping.linears.{i}.bias"] = _tensor(graph, bias).reshape(-1)
        activated = _activation(graph, shifted)
        _expect(graph, graph.next(activated, "Multiply"), GAIN)
    return tensors


def read_synthesis(graph: IrGraph) -> dict[str, Tensor]:
    """Tensors of the synthesis network: conv0, layers.0 and so on, to_img.

    Raises:
        WeightsCorruptError: the graph is not built as expected.
    """
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
