"""OpenVINO IR files as data: what is read, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from rosetta_ui.errors import UnsafeFileError, WeightsCorruptError
from rosetta_ui.models.openvino_ir import MAX_XML_BYTES, IrGraph

_XML = """<?xml version="1.0"?>
<net name="tiny" version="10">
  <layers>
    <layer id="0" name="x" type="Parameter" version="opset1">
      <data shape="1,2" element_type="f32"/>
      <output><port id="0" precision="FP32"><dim>1</dim><dim>2</dim></port></output>
    </layer>
    <layer id="1" name="shift" type="Const" version="opset1">
      <data element_type="{dtype}" shape="1,2" offset="{offset}" size="{size}"/>
      <output><port id="0" precision="FP32"><dim>1</dim><dim>2</dim></port></output>
    </layer>
    <layer id="{last}" name="sum" type="Add" version="opset1">
      <data auto_broadcast="numpy"/>
      <input><port id="0"/><port id="1"/></input>
      <output><port id="2" precision="FP32"><dim>1</dim><dim>2</dim></port></output>
    </layer>
  </layers>
  <edges>
    <edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
    <edge from-layer="{source}" from-port="0" to-layer="2" to-port="0"/>
  </edges>
</net>
"""
_BLOB = b"\0\0\0\0" + np.array([1.5, -2], "<f4").tobytes()


def _graph(blob: bytes = _BLOB, **changed: object) -> IrGraph:
    values = {"dtype": "f32", "offset": 4, "size": 8, "last": 2, "source": 0} | changed
    return IrGraph(_XML.format(**values).encode(), blob)


def test_nodes_edges_and_constants_are_read() -> None:
    graph = _graph()
    total = graph.next(graph.named("shift"), "Add")
    assert (total.name, total.inputs, total.shape) == ("sum", (0, 1), (1, 2))
    assert graph.next(graph.named("x"), "Add") == total
    np.testing.assert_array_equal(graph.operand(total), [[1.5, -2]])
    assert [node.name for node in graph.of_kind("Const")] == ["shift"]


@pytest.mark.parametrize(
    "changed",
    [{"offset": 8}, {"offset": -4}, {"size": 12}, {"size": 4}, {"dtype": "u1"}, {"offset": "four"}],
)
def test_a_constant_outside_the_blob_or_of_another_size_is_refused(
    changed: dict[str, object],
) -> None:
    graph = _graph(**changed)
    with pytest.raises(WeightsCorruptError, match="shift"):
        graph.constant(graph.named("shift"))


def test_a_truncated_blob_is_refused() -> None:
    graph = _graph(blob=_BLOB[:-1])
    with pytest.raises(WeightsCorruptError, match="11 bytes"):
        graph.operand(graph.named("sum"))


@pytest.mark.parametrize("changed", [{"last": 1}, {"source": 7}, {"last": "x"}, {"source": ""}])
def test_a_graph_that_is_not_one_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(WeightsCorruptError):
        _graph(**changed)


def test_text_that_is_not_xml_is_refused() -> None:
    with pytest.raises(WeightsCorruptError, match="not XML"):
        IrGraph(b"<net><layers>", b"")


def test_entities_are_refused_before_they_are_expanded() -> None:
    laughs = b'<!DOCTYPE net [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><net>&b;</net>'
    with pytest.raises(UnsafeFileError, match="entities"):
        IrGraph(laughs, b"")


def test_a_graph_without_nodes_or_of_absurd_size_is_refused() -> None:
    with pytest.raises(UnsafeFileError, match="0 nodes"):
        IrGraph(b"<net><layers/></net>", b"")
    with pytest.raises(UnsafeFileError, match="allowed"):
        IrGraph(b" " * (MAX_XML_BYTES + 1), b"")


def test_asking_for_what_is_not_there_says_what_is() -> None:
    graph = _graph()
    with pytest.raises(WeightsCorruptError, match="0 nodes named 'bias'"):
        graph.named("bias")
    with pytest.raises(WeightsCorruptError, match="come Add, not one MatMul"):
        graph.next(graph.named("x"), "MatMul")
    with pytest.raises(WeightsCorruptError, match="reads 0 constants"):
        graph.operand(graph.named("x"))
