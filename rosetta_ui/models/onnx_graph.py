"""ONNX files read as data: nodes, edges and constants.

Runs nothing, reads no other file, and holds no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper

from rosetta_ui.errors import UnsafeFileError, WeightsCorruptError

# Exporters leave these between a layer and its bias or norm; they change no value.
PASSIVE = ("Cast", "Transpose", "Identity")


@dataclass(frozen=True)
class OnnxNode:
    """One operation.

    Attributes:
        kind: ONNX's name of the operation, like `MatMul`.
        name: the file's own name for it.
        inputs, outputs: names of tensors; an input left out is "".
        attributes: numbers, text, lists and arrays.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


class OnnxGraph:
    """The nodes of one ONNX file and its constants.

    Args:
        content: of the file.

    Raises:
        WeightsCorruptError: the file is not ONNX.
        UnsafeFileError: it wants tensors from other files.
    """

    def __init__(self, content: bytes) -> None:
        try:
            model = onnx.load_model_from_string(content)
        except DecodeError as error:
            raise WeightsCorruptError(f"The file is no readable ONNX graph: {error}.") from error
        self._initialisers = {tensor.name: tensor for tensor in model.graph.initializer}
        self.nodes = tuple(_read(node) for node in model.graph.node)
        self._producers = {name: node for node in self.nodes for name in node.outputs}
        self._readers: dict[str, list[OnnxNode]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                self._readers.setdefault(name, []).append(node)

    def of_kind(self, kind: str) -> list[OnnxNode]:
        """Nodes of one kind, in the order they run."""
        return [node for node in self.nodes if node.kind == kind]

    def producer(self, name: str) -> OnnxNode:
        """The node that makes a tensor.

        Raises:
            WeightsCorruptError: no node does.
        """
        if name not in self._producers:
            raise WeightsCorruptError(f"No node of the graph makes '{name}'.")
        return self._producers[name]

    def reader(self, name: str, kinds: Sequence[str]) -> OnnxNode:
        """The only node of these kinds that reads a tensor.

        Raises:
            WeightsCorruptError: there is not exactly one.
        """
        readers = self._readers.get(name, [])
        found = [node for node in readers if node.kind in kinds]
        if len(found) != 1:
            seen = ", ".join(node.kind for node in readers) or "nothing"
            raise WeightsCorruptError(f"'{name}' is read by {seen}, not by one {'/'.join(kinds)}.")
        return found[0]

    def next_active(self, node: OnnxNode) -> OnnxNode | None:
        """The only node that computes with this output, past casts and transposes, or None."""
        while len(readers := self._readers.get(node.outputs[0], [])) == 1:
            node = readers[0]
            if node.kind not in PASSIVE:
                return node
        return None

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is known without running the graph."""
        if name in self._initialisers:
            return True
        node = self._producers.get(name)
        if node is None or node.kind not in ("Constant", "Identity"):
            return False
        return node.kind == "Constant" or self.is_constant(node.inputs[0])

    def constant(self, name: str) -> NDArray[Any]:
        """The value of a constant tensor.

        Raises:
            WeightsCorruptError: it is not a constant.
            UnsafeFileError: it lies in another file.
        """
        if name in self._initialisers:
            return _array(self._initialisers[name])
        if not self.is_constant(name):
            raise WeightsCorruptError(f"'{name}' is not a constant of the graph.")
        node = self._producers[name]
        if node.kind == "Constant":
            return np.asarray(node.attributes["value"])
        return self.constant(node.inputs[0])

    def operand(self, node: OnnxNode) -> NDArray[Any]:
        """The constant that a node reads beside the data that flows through it.

        Raises:
            WeightsCorruptError: it does not read exactly one constant.
        """
        found = [name for name in node.inputs if self.is_constant(name)]
        if len(found) != 1:
            raise WeightsCorruptError(f"'{node.name}' reads {len(found)} constants, not one.")
        return self.constant(found[0])


def _read(node: onnx.NodeProto) -> OnnxNode:
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        value: Any = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, onnx.TensorProto):
            value = _array(value)
        attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return OnnxNode(node.op_type, node.name, tuple(node.input), tuple(node.output), attributes)


def _array(tensor: onnx.TensorProto) -> NDArray[Any]:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise UnsafeFileError(f"The graph wants '{tensor.name}' from another file.")
    try:
        return numpy_helper.to_array(tensor)
    except (TypeError, ValueError) as error:
        raise WeightsCorruptError(f"Tensor '{tensor.name}' cannot be read: {error}.") from error
