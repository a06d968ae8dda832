"""OpenVINO IR (version 10 and 11) read as data: a graph in XML, constants in a blob.

Knows nodes, edges and constants; runs nothing, needs no OpenVINO, and holds no torch.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rosetta_ui.errors import UnsafeFileError, WeightsCorruptError

MAX_XML_BYTES = 8 << 20
MAX_NODES = 20_000
_DTYPES = {"f32": "<f4", "f16": "<f2", "i64": "<i8", "i32": "<i4"}


@dataclass(frozen=True)
class IrNode:
    """One operation.

    Attributes:
        id: its number in the file.
        kind: OpenVINO's name of the operation, like `MatMul`.
        name: the file's own name for it; exporters make up names for constants that had none.
        attributes: of its `data` element, as text.
        inputs: ids of the nodes it reads, by port.
        shape: of its first output; () for a scalar or an operation without one.
    """

    id: int
    kind: str
    name: str
    attributes: Mapping[str, str]
    inputs: tuple[int, ...]
    shape: tuple[int, ...]


class IrGraph:
    """The nodes of one IR file and its constants.

    Args:
        xml: content of the `.xml` file.
        constants: content of the `.bin` file, little-endian.

    Raises:
        WeightsCorruptError: the XML or the graph in it is malformed.
        UnsafeFileError: it is too large or declares entities.
    """

    def __init__(self, xml: bytes, constants: bytes) -> None:
        self._constants = constants
        self.nodes = _read_nodes(_parse(xml))
        self._consumers: dict[int, list[int]] = {}
        for node in self.nodes.values():
            for source in dict.fromkeys(node.inputs):
                self._consumers.setdefault(source, []).append(node.id)

    def named(self, name: str) -> IrNode:
        """The node of this name.

        Raises:
            WeightsCorruptError: there is not exactly one.
        """
        found = [node for node in self.nodes.values() if node.name == name]
        if len(found) != 1:
            raise WeightsCorruptError(f"The graph has {len(found)} nodes named '{name}', not one.")
        return found[0]

    def of_kind(self, kind: str) -> list[IrNode]:
        """Nodes of one kind, in the file's order."""
        return [node for node in self.nodes.values() if node.kind == kind]

    def next(self, node: IrNode, kind: str) -> IrNode:
        """The only node of this kind that reads `node`.

        Raises:
            WeightsCorruptError: there is not exactly one.
        """
        readers = [self.nodes[i] for i in self._consumers.get(node.id, [])]
        found = [reader for reader in readers if reader.kind == kind]
        if len(found) != 1:
            kinds = ", ".join(reader.kind for reader in readers) or "nothing"
            raise WeightsCorruptError(f"After '{node.name}' come {kinds}, not one {kind}.")
        return found[0]

    def operand(self, node: IrNode) -> NDArray[np.generic]:
        """The constant that a node reads beside the data that flows through it.

        Raises:
            WeightsCorruptError: it does not read exactly one constant.
        """
        found = [self.nodes[i] for i in node.inputs if self.nodes[i].kind == "Const"]
        if len(found) != 1:
            raise WeightsCorruptError(f"'{node.name}' reads {len(found)} constants, not one.")
        return self.constant(found[0])

    def constant(self, node: IrNode) -> NDArray[np.generic]:
        """The value of a constant, as a read-only view of the blob.

        Raises:
            WeightsCorruptError: its type is unknown, or it lies outside the blob.
        """
        try:
            dtype = np.dtype(_DTYPES[node.attributes["element_type"]])
            offset, size = int(node.attributes["offset"]), int(node.attributes["size"])
        except (KeyError, ValueError) as error:
            raise WeightsCorruptError(
                f"Constant '{node.name}' is not declared properly."
            ) from error
        count = math.prod(node.shape)
        if offset < 0 or offset + size > len(self._constants) or size != count * dtype.itemsize:
            raise WeightsCorruptError(
                f"Constant '{node.name}' ({size} bytes at {offset}, shape {node.shape}) does not "
                f"lie inside the {len(self._constants)} bytes of constants."
            )
        return np.frombuffer(self._constants, dtype, count, offset).reshape(node.shape)


def _parse(xml: bytes) -> ElementTree.Element:
    if len(xml) > MAX_XML_BYTES:
        raise UnsafeFileError(f"The graph has {len(xml)} bytes; {MAX_XML_BYTES} are allowed.")
    # Entities are how a small XML file grows without bound; IR files declare none.
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        raise UnsafeFileError("The graph declares XML entities, which is not allowed.")
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise WeightsCorruptError(f"The graph is not XML: {error}.") from error


def _read_nodes(root: ElementTree.Element) -> dict[int, IrNode]:
    layers = root.findall("layers/layer")
    if not 0 < len(layers) <= MAX_NODES:
        raise UnsafeFileError(f"The graph has {len(layers)} nodes; 1 to {MAX_NODES} are allowed.")
    try:
        sources: dict[int, dict[int, int]] = {}
        for edge in root.iterfind("edges/edge"):
            ports = sources.setdefault(int(edge.attrib["to-layer"]), {})
            ports[int(edge.attrib["to-port"])] = int(edge.attrib["from-layer"])
        nodes = [_read_node(layer, sources) for layer in layers]
    except (KeyError, ValueError) as error:
        raise WeightsCorruptError(f"The graph has a malformed node or edge: {error}.") from error
    by_id = {node.id: node for node in nodes}
    if len(by_id) != len(nodes):
        raise WeightsCorruptError("Two nodes of the graph have the same id.")
    if dangling := {i for node in nodes for i in node.inputs} - set(by_id):
        raise WeightsCorruptError(f"The graph has edges from missing nodes: {sorted(dangling)}.")
    return by_id


def _read_node(layer: ElementTree.Element, sources: Mapping[int, Mapping[int, int]]) -> IrNode:
    number = int(layer.attrib["id"])
    ports = sources.get(number, {})
    data = layer.find("data")
    port = layer.find("output/port")
    dims = [] if port is None else [int(dim.text or "") for dim in port.findall("dim")]
    if any(dim < 0 for dim in dims):
        raise ValueError(f"node {number} has a negative side")
    return IrNode(
        number,
        layer.attrib["type"],
        layer.attrib["name"],
        {} if data is None else dict(data.attrib),
        tuple(ports[key] for key in sorted(ports)),
        tuple(dims),
    )
