"""Converters of the embedded backbones to timm's names: two CNNs and DINOv2.

They know how each published file names and arranges its numbers; `timm_backbones` builds the
networks. Nothing in the files is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rosetta_ui.errors import WeightsCorruptError
from rosetta_ui.models.onnx_graph import OnnxGraph, OnnxNode
from rosetta_ui.models.timm_backbones import build
from rosetta_ui.models.torch_files import read_state
from rosetta_ui.types import ModelCard

_COUNT = "num_batches_tracked"
_EMBEDDINGS = "backbone.embeddings"
# ONNX's Resize as the file uses it; torch's bicubic without antialiasing is the same function.
_RESIZE = {"mode": "cubic", "coordinate_transformation_mode": "half_pixel", "cubic_coeff_a": -0.75}


def convert_in_order(
    files: Mapping[str, bytes], card: ModelCard
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Give the tensors of a state dict timm's names; both list them in the order they run.

    Args:
        files: one file that `torch.save` wrote.
        card: `options` name the architecture, see `timm_backbones`.

    Raises:
        WeightsCorruptError: the file is damaged, or counts or shapes differ from the architecture.
    """
    ((name, content),) = files.items()
    state = read_state(content, name)
    with torch.device("meta"):
        wanted = build(card).state_dict()
    # Counters of training batches are no weights, and the two sides need not agree on them.
    given = [(key, tensor) for key, tensor in state.items() if not key.endswith(_COUNT)]
    slots = [(key, tensor.shape) for key, tensor in wanted.items() if not key.endswith(_COUNT)]
    if len(given) != len(slots):
        raise WeightsCorruptError(
            f"{name} holds {len(given)} tensors, but '{card.name}' needs {len(slots)}."
        )
    tensors = {key: torch.zeros((), dtype=torch.int64) for key in wanted if key.endswith(_COUNT)}
    for (there, tensor), (here, shape) in zip(given, slots, strict=True):
        if tensor.shape != shape:
            raise WeightsCorruptError(
                f"{there} of {name} is {tuple(tensor.shape)}, but {here} of '{card.name}' is "
                f"{tuple(shape)}."
            )
        tensors[here] = tensor.float()
    return tensors, {}


def convert_dinov2(
    files: Mapping[str, bytes], card: ModelCard
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Take DINOv2's backbone out of an ONNX graph; what follows it there is dropped.

    Args:
        files: one ONNX file whose tensors are named `backbone.…`; matrices have made-up names and
            are found by the biases that follow them.
        card: `image_size` decides the grid that the position embedding is resampled to.

    Raises:
        WeightsCorruptError: the file is damaged or its graph is not built as expected.
    """
    (content,) = files.values()
    graph = OnnxGraph(content)
    tensors = {
        "cls_token": _constant(graph, f"{_EMBEDDINGS}.cls_token"),
        "patch_embed.proj.weight": _constant(
            graph, f"{_EMBEDDINGS}.patch_embeddings.projection.weight"
        ),
        "patch_embed.proj.bias": _constant(
            graph, f"{_EMBEDDINGS}.patch_embeddings.projection.bias"
        ),
        "norm.weight": _constant(graph, "backbone.layernorm.weight"),
        "norm.bias": _constant(graph, "backbone.layernorm.bias"),
    }
    patch = tensors["patch_embed.proj.weight"].shape[-1]
    grid = (card.image_size[0] // patch, card.image_size[1] // patch)
    tensors["pos_embed"] = _position_embedding(graph, grid)
    number = 0
    while graph.is_constant(f"backbone.encoder.layer.{number}.norm1.weight"):
        tensors |= _block(graph, f"backbone.encoder.layer.{number}", f"blocks.{number}")
        number += 1
    return tensors, {}


def _block(graph: OnnxGraph, there: str, here: str) -> dict[str, Tensor]:
    tensors = {
        f"{here}.ls1.gamma": _constant(graph, f"{there}.layer_scale1.lambda1"),
        f"{here}.ls2.gamma": _constant(graph, f"{there}.layer_scale2.lambda1"),
    }
    for norm in ("norm1", "norm2"):
        for part in ("weight", "bias"):
            tensors[f"{here}.{norm}.{part}"] = _constant(graph, f"{there}.{norm}.{part}")
    attention = f"{there}.attention.attention"
    parts = [_linear(graph, f"{attention}.{name}") for name in ("query", "key", "value")]
    weights, biases = zip(*parts, strict=True)
    linears = {
        "attn.qkv": (torch.cat(weights), torch.cat(biases)),
        "attn.proj": _linear(graph, f"{there}.attention.output.dense"),
        "mlp.fc1": _linear(graph, f"{there}.mlp.fc1"),
        "mlp.fc2": _linear(graph, f"{there}.mlp.fc2"),
    }
    for name, (weight, bias) in linears.items():
        tensors[f"{here}.{name}.weight"], tensors[f"{here}.{name}.bias"] = weight, bias
    return tensors


def _linear(graph: OnnxGraph, name: str) -> tuple[Tensor, Tensor]:
    """Weight [out, in] and bias of the matrix product that this bias is added to."""
    added = graph.reader(f"{name}.bias", ("Add",))
    (product,) = [i for i in added.inputs if not graph.is_constant(i)]
    weight = graph.operand(graph.producer(product))
    return torch.from_numpy(weight.T.copy()), _constant(graph, f"{name}.bias")


def _position_embedding(graph: OnnxGraph, grid: tuple[int, int]) -> Tensor:
    """[1, 1 + h*w, c]: the class token's, and the patches' resampled as the graph does it."""
    resizes = graph.of_kind("Resize")
    if not resizes:
        raise WeightsCorruptError("The graph does not resample its position embedding.")
    resize = resizes[0]  # a decoder's come later
    for key, value in _RESIZE.items():
        if resize.attributes.get(key) != value:
            raise WeightsCorruptError(f"'{resize.name}' does not resample with {key} = {value}.")
    stored = graph.constant(_source(graph, resize))
    joined = _reader_downstream(graph, resize, "Concat")
    (token,) = [name for name in joined.inputs if graph.is_constant(name)]
    side = round(stored.shape[1] ** 0.5)
    maps = torch.from_numpy(np.array(stored)).unflatten(1, (side, side)).permute(0, 3, 1, 2)
    # Not timm's own resampling: with its antialiasing the embedding differs by 22 %.
    patches = functional.interpolate(maps, size=grid, mode="bicubic", align_corners=False)
    return torch.cat([_constant(graph, token), patches.flatten(2).transpose(1, 2)], 1).contiguous()


def _source(graph: OnnxGraph, node: OnnxNode) -> str:
    """The constant that a chain of first inputs starts from."""
    name = node.inputs[0]
    while not graph.is_constant(name):
        name = graph.producer(name).inputs[0]
    return name


def _reader_downstream(graph: OnnxGraph, node: OnnxNode, kind: str) -> OnnxNode:
    """The first node of this kind on the only path from a node, past casts and reshapes."""
    while (reader := graph.next_active(node)) is not None:
        if reader.kind == kind:
            return reader
        node = reader
    raise WeightsCorruptError(f"No {kind} follows '{node.name}'.")


def _constant(graph: OnnxGraph, name: str) -> Tensor:
    return torch.from_numpy(np.array(graph.constant(name), dtype=np.float32))
